"""The README.md of a checkpoint that goes to the Hub."""

import json
from collections.abc import Iterable

from roberta_core.config import RobertaConfig

CARD = "README.md"

# The Hub's name for the task of each class.
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
- roberta{tags}
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

Please describe here the training data, the intended use, the limitations and the licence of this model.
"""


def build_card(
    name: str, config: RobertaConfig, architecture: str, numbers: int, format: str, tags: Iterable[str] = ()
) -> str:
    """Return the text of a model card: the facts in the files, and a place for what only the authors know.

    Args:
        name: The name of the repository.
        config: The configuration of the model.
        architecture: The class without its prefix.
        numbers: The number of parameters.
        format: The format of the weights.
        tags: Tags of the model besides "roberta".
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
        tags="".join(f"\n- {json.dumps(tag)}" for tag in tags if tag != "roberta"),
        words=task.replace("-", " "),
        title=name.rpartition("/")[2],
        name=name,
        architecture=architecture,
        rows="\n".join(f"| {what} | {value} |" for what, value in facts.items()),
    )
