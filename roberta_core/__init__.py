"""The core of triberta: configuration, tokenizer and weights, without a framework."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roberta_core.config import RobertaConfig as RobertaConfig
    from roberta_core.data.collators import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
    from roberta_core.data.collators import DataCollatorForMultipleChoice as DataCollatorForMultipleChoice
    from roberta_core.data.collators import DataCollatorForTokenClassification as DataCollatorForTokenClassification
    from roberta_core.data.collators import DataCollatorWithPadding as DataCollatorWithPadding
    from roberta_core.generation_config import GenerationConfig as GenerationConfig
    from roberta_core.pipelines import pipeline as pipeline
    from roberta_core.tokenization import RobertaTokenizer as RobertaTokenizer
    from roberta_core.tokenization import RobertaTokenizerFast as RobertaTokenizerFast
    from roberta_core.tokenization import TokenizerFast as TokenizerFast
    from roberta_core.tokenization import load_tokenizer as load_tokenizer
    from roberta_core.training.python_interface import evaluate as evaluate
    from roberta_core.training.python_interface import finetune as finetune

__version__ = "0.1.0"

# Public names and their homes, imported on first use: a bare `import roberta_core` costs next to nothing.
HOMES = {
    "DataCollatorForLanguageModeling": "roberta_core.data.collators",
    "DataCollatorForMultipleChoice": "roberta_core.data.collators",
    "DataCollatorForTokenClassification": "roberta_core.data.collators",
    "DataCollatorWithPadding": "roberta_core.data.collators",
    "GenerationConfig": "roberta_core.generation_config",
    "RobertaConfig": "roberta_core.config",
    "RobertaTokenizer": "roberta_core.tokenization",
    "RobertaTokenizerFast": "roberta_core.tokenization",
    "TokenizerFast": "roberta_core.tokenization",
    "evaluate": "roberta_core.training.python_interface",
    "finetune": "roberta_core.training.python_interface",
    "load_tokenizer": "roberta_core.tokenization",
    "pipeline": "roberta_core.pipelines",
}

__all__ = [
    "DataCollatorForLanguageModeling", "DataCollatorForMultipleChoice", "DataCollatorForTokenClassification",
    "DataCollatorWithPadding", "GenerationConfig", "RobertaConfig", "RobertaTokenizer", "RobertaTokenizerFast",
    "TokenizerFast", "__version__", "evaluate", "finetune", "load_tokenizer", "pipeline",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
