"""Fine-tuning with Trainer, as it is written for transformers 4.57.6."""

import json
import sys
import tempfile

import torch
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

# isort: split
from transformers import RobertaForSequenceClassification, RobertaTokenizerFast

folder = sys.argv[1]
good = ["a warm and funny film", "the best meal of the year", "she sang beautifully", "what a lovely walk"]
bad = ["a dull and noisy film", "the soup was cold again", "he forgot every line", "it rained on all of us"]
texts = [text for pair in zip(good, bad, strict=True) for text in pair]

tokenizer = RobertaTokenizerFast.from_pretrained(folder)
model = RobertaForSequenceClassification.from_pretrained(folder, num_labels=2)
rows = [{**tokenizer(text), "labels": number % 2} for number, text in enumerate(texts)]

with tempfile.TemporaryDirectory() as output:
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=output,
            max_steps=6,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            gradient_checkpointing=True,
            learning_rate=1e-4,
            weight_decay=0.1,
            warmup_steps=2,
            logging_steps=1,
            save_steps=3,
            seed=7,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=rows,
        eval_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda result: {"accuracy": float((result.predictions.argmax(1) == result.label_ids).mean())},
    )
    trainer.train()
    scores = trainer.evaluate()
    predictions = trainer.predict(rows).predictions
    trainer.model.save_pretrained(f"{output}/best")
    again = RobertaForSequenceClassification.from_pretrained(f"{output}/best").eval()

with torch.no_grad():
    logits = again(**tokenizer(texts, padding=True, return_tensors="pt")).logits
log = [entry for entry in trainer.state.log_history if "loss" in entry]
print(
    json.dumps(
        {
            "loss": [entry["loss"] for entry in log],
            "gradient norm": [float(entry["grad_norm"]) for entry in log],
            "learning rate": [entry["learning_rate"] for entry in log],
            "loss of evaluate": scores["eval_loss"],
            "accuracy": scores["eval_accuracy"],
            "logits of predict": predictions.tolist(),
            "logits of the saved model": logits.tolist(),
        }
    )
)
