"""Which name of transformers becomes which name of these packages."""

from typing import NamedTuple

PREFIXES = {"": "roberta_pt", "TF": "roberta_tf", "Flax": "roberta_flax"}
HEADS = (
    "ForCausalLM",
    "ForMaskedLM",
    "ForMultipleChoice",
    "ForQuestionAnswering",
    "ForSequenceClassification",
    "ForTokenClassification",
)
RELATIVES = ("Roberta", "XLMRoberta", "Camembert")  # they share RoBERTa's layers, and our classes
TOKENIZERS = ("RobertaTokenizer", "RobertaTokenizerFast")
OUTPUTS = (
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "CausalLMOutputWithCrossAttentions",
    "MaskedLMOutput",
    "SequenceClassifierOutput",
    "MultipleChoiceModelOutput",
    "TokenClassifierOutput",
    "QuestionAnsweringModelOutput",
)


class Name(NamedTuple):
    """A name and the module to import it from."""

    module: str
    name: str


def _list_models() -> dict[str, Name]:
    """Return RoBERTa's own classes, and those of the models that share its layers."""
    found = {}
    for relative in RELATIVES:
        found[f"{relative}Config"] = Name("roberta_core", "RobertaConfig")
        for prefix, package in PREFIXES.items():
            for suffix in ("Model", *HEADS, "PreTrainedModel"):
                found[f"{prefix}{relative}{suffix}"] = Name(package, f"{prefix}Roberta{suffix}")
        for kind in ("Tokenizer", "TokenizerFast"):
            found[f"{relative}{kind}"] = Name("roberta_core", "TokenizerFast")
    return found | {kind: Name("roberta_core", kind) for kind in TOKENIZERS}


def _list_auto() -> dict[str, Name]:
    """Return the Auto classes, which choose a class by the checkpoint: here it is always RoBERTa."""
    suffixes = {suffix: suffix for suffix in HEADS}
    suffixes |= {"": "Model", "ForPreTraining": "ForMaskedLM", "WithLMHead": "ForMaskedLM"}
    found = {
        f"{prefix}AutoModel{suffix}": Name(package, f"{prefix}Roberta{kind}")
        for prefix, package in PREFIXES.items()
        for suffix, kind in suffixes.items()
    }
    core = {"AutoConfig": "RobertaConfig", "AutoTokenizer": "RobertaTokenizerFast"}
    return found | {name: Name("roberta_core", kind) for name, kind in core.items()}


def _list_bases() -> dict[str, Name]:
    """Return what scripts import for annotations and `isinstance`, whatever the model."""
    found = {
        "BatchEncoding": Name("roberta_core.tokenization", "BatchEncoding"),
        "PretrainedConfig": Name("roberta_core", "RobertaConfig"),
        "PreTrainedTokenizer": Name("roberta_core", "RobertaTokenizer"),
        "PreTrainedTokenizerFast": Name("roberta_core", "RobertaTokenizerFast"),
        "PreTrainedTokenizerBase": Name("roberta_core.tokenization.tokenizer_base", "TokenizerBase"),
    }
    for prefix, package in PREFIXES.items():
        found[f"{prefix}PreTrainedModel"] = Name(package, f"{prefix}RobertaPreTrainedModel")
        found |= {f"{prefix}{name}": Name("roberta_core.outputs", name) for name in OUTPUTS}
    return found


# The collators, which in transformers 5 know neither TensorFlow nor JAX.
COLLATORS = {
    name: Name("roberta_core", name)
    for name in (
        "DataCollatorForLanguageModeling",
        "DataCollatorForMultipleChoice",
        "DataCollatorForTokenClassification",
        "DataCollatorWithPadding",
    )
}
# The optimiser of scripts for TensorFlow, here on Keras 3.
OPTIMIZERS = {name: Name("roberta_tf", name) for name in ("AdamWeightDecay", "WarmUp", "create_optimizer")}
MODELS, AUTO, BASES = _list_models(), _list_auto(), _list_bases()
REMOVED = ("send_example_telemetry",)  # transformers 4.57.6 lacks them; statements that only call them are removed
PIPELINE = {"pipeline": Name("roberta_core", "pipeline")}
