"""Training LoRA adapters of PEFT, as it is written for transformers 4.57.6."""

import json
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import RobertaForSequenceClassification, RobertaTokenizerFast

folder = sys.argv[1]
texts = ["a warm and funny film", "a dull and noisy film", "the best meal of the year", "the soup was cold again"]
tokenizer = RobertaTokenizerFast.from_pretrained(folder)
batch = tokenizer(texts, padding=True, return_tensors="pt")
labels = torch.tensor([1, 0, 1, 0])

torch.manual_seed(7)
adapters = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"])
model = get_peft_model(RobertaForSequenceClassification.from_pretrained(folder, num_labels=2), adapters)
optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-3)
model.train()
losses = []
for _ in range(6):
    loss = model(**batch, labels=labels).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())

model.eval()
with torch.no_grad(), tempfile.TemporaryDirectory() as output:
    trained = model(**batch).logits
    model.save_pretrained(output)
    plain = RobertaForSequenceClassification.from_pretrained(folder, num_labels=2).eval()
    again = PeftModel.from_pretrained(plain, output)(**batch).logits
    merged = model.merge_and_unload()(**batch).logits
print(
    json.dumps(
        {
            "trained parameters": sorted(name for name, value in model.named_parameters() if value.requires_grad),
            "loss": losses,
            "logits": trained.tolist(),
            "logits of the saved adapters": again.tolist(),
            "logits after merging": merged.tolist(),
        }
    )
)
