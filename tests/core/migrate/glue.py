"""A script of the shape of the published run_glue.py: Auto classes and Trainer."""

import sys
from dataclasses import dataclass, field

import numpy as np
import transformers
from datasets import load_dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EvalPrediction,
    HfArgumentParser,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import check_min_version

check_min_version("4.57.0")


@dataclass
class ModelArguments:
    model_name_or_path: str = field(metadata={"help": "The checkpoint."})
    use_fast_tokenizer: bool = field(default=True)


def main():
    parser = HfArgumentParser((ModelArguments, TrainingArguments))
    model_args, training_args = parser.parse_args_into_dataclasses()
    transformers.utils.logging.set_verbosity_info()
    set_seed(training_args.seed)
    data = load_dataset("csv", data_files={"train": sys.argv[1]})
    config = AutoConfig.from_pretrained(model_args.model_name_or_path, num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path, use_fast=model_args.use_fast_tokenizer)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError("a fast tokenizer is required")
    model = AutoModelForSequenceClassification.from_pretrained(
        model_args.model_name_or_path, config=config, load_in_8bit=True
    )
    if model.config.label2id != PretrainedConfig(num_labels=2).label2id:
        print("the labels have names")

    def compute_metrics(result: EvalPrediction):
        return {"accuracy": float((np.argmax(result.predictions, axis=1) == result.label_ids).mean())}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=data["train"],
        compute_metrics=compute_metrics,
        data_collator=default_data_collator,
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(training_args.output_dir))


if __name__ == "__main__":
    main()
