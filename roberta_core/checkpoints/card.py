"""The README.md of a checkpoint that goes to the Hub."""

from roberta_core.config import RobertaConfig

CARD = "README.md"

# What the Hub calls the task of each class.
TASKS = {
    "Model": "feature-extraction",
    "ForCausalLM": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForMultipleChoice": "multiple-choice",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
}

TEXT = """\
---
library_name: triberta
pipeline_tag: {task}
tags:
- roberta
---

# {title}

A RoBERTa for {words}, saved as Roberta{architecture}.

| | |
|---|---|
{rows}

PyTorch, TensorFlow and JAX read the same files:

```python
from roberta_pt import Roberta{architecture}
from roberta_tf import TFRoberta{architecture}
from roberta_flax import FlaxRoberta{architecture}

model = Roberta{architecture}.from_pretrained("{name}")
```

What it was trained on, what it is good for, where it fails and under which licence it may be used
is for its authors to say here.
"""


def card(name: str, config: RobertaConfig, architecture: str, numbers: int, format: str) -> str:
    """The text of a card: what the files say of the model, and room for what only its authors know.

    `name` is that of the repository, `numbers` how many parameters there are, `format` of the weights.
    """
    facts = {
        "layers": config.num_hidden_layers,
        "hidden size": config.hidden_size,
        "attention heads": config.num_attention_heads,
        "vocabulary": f"{config.vocab_size:,}",
        "longest sequence": f"{config.max_sequence_length} tokens",
        "parameters": f"{numbers:,}",
        "format": format,
    }
    if architecture in ("ForSequenceClassification", "ForTokenClassification"):
        facts["labels"] = ", ".join(str(config.id2label[number]) for number in range(config.num_labels))
    task = TASKS[architecture]
    return TEXT.format(
        task=task,
        words=task.replace("-", " "),
        title=name.rpartition("/")[2],
        name=name,
        architecture=architecture,
        rows="\n".join(f"| {what} | {value} |" for what, value in facts.items()),
    )
