"""The configuration of a RoBERTa model, read and written as the published config.json."""

import copy
import json
import os
import warnings
from pathlib import Path
from typing import Any, Self

CONFIG_NAME = "config.json"

# Model types that share RoBERTa's layers and tensor names. Files of 2019 name none.
MODEL_TYPES = ("roberta", "camembert", "xlm-roberta")

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh")
POSITION_TYPES = ("absolute", "relative_key", "relative_key_query")
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")

# Fields that every published configuration has; config.json holds one only where it differs from this.
INHERITED: dict[str, Any] = {
    "is_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "is_encoder_decoder": False,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "chunk_size_feed_forward": 0,
    "output_hidden_states": False,
    "output_attentions": False,
    "return_dict": True,
    "torchscript": False,
    "pruned_heads": {},
    "problem_type": None,
    "tf_legacy_loss": False,
    "use_bfloat16": False,
    "dtype": None,
    "finetuning_task": None,
    "architectures": None,
    "tokenizer_class": None,
    "prefix": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
    "task_specific_params": None,
    "_name_or_path": "",
}
DEFAULT_LABELS = {0: "LABEL_0", 1: "LABEL_1"}

COUNTS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
          "max_position_embeddings", "type_vocab_size")  # fmt: skip
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
RELEASED: dict[str, Any] = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}


class RobertaConfig:
    """The sizes and settings of a RoBERTa model.

    Field names and defaults are those of transformers 4.57.6, which are BERT's: the released RoBERTa models have 514
    positions, one token type and a LayerNorm eps of 1e-5. `RobertaConfig.base()` and `RobertaConfig.large()` are
    those shapes (Liu et al. 2019, Table 9). Fields of the wrong kind or size raise `ValueError`; unknown ones are
    kept and written back.
    """

    model_type: str = "roberta"
    id2label: dict[int, str]
    label2id: dict[str, int]
    # The inherited fields that the models read; INHERITED has them all.
    is_decoder: bool
    add_cross_attention: bool
    tie_word_embeddings: bool
    return_dict: bool
    output_attentions: bool
    output_hidden_states: bool
    pruned_heads: dict[int, list[int]]
    problem_type: str | None
    architectures: list[str] | None
    dtype: str | None
    _name_or_path: str

    def __init__(
        self,
        vocab_size: int = 50265,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        **kwargs: Any,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.pad_token_id = pad_token_id
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.position_embedding_type = position_embedding_type
        self.use_cache = use_cache
        self.classifier_dropout = classifier_dropout
        self._read_inherited(kwargs)
        self._read_labels(kwargs)
        for name, value in kwargs.items():
            setattr(self, name, value)
        self.validate()

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """The shape of roberta-base: 12 layers of 768, 125 M parameters (Liu et al. 2019, Table 9)."""
        return cls(**{**RELEASED, **changes})

    @classmethod
    def large(cls, **changes: Any) -> Self:
        """The shape of roberta-large: 24 layers of 1024, 355 M parameters (Liu et al. 2019, Table 9)."""
        sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
        return cls(**{**RELEASED, **sizes, **changes})

    def _read_inherited(self, kwargs: dict[str, Any]) -> None:
        """Take the inherited fields out of `kwargs`, `torch_dtype` being the older name of `dtype`."""
        if "torch_dtype" in kwargs:
            kwargs.setdefault("dtype", kwargs.pop("torch_dtype"))
        for name, default in INHERITED.items():
            setattr(self, name, copy.copy(kwargs.pop(name, default)))
        if self.dtype is not None:
            self.dtype = str(self.dtype).removeprefix("torch.")
        self.pruned_heads = {int(layer): list(heads) for layer, heads in (self.pruned_heads or {}).items()}
        self.model_type = kwargs.pop("model_type", None) or self.model_type

    def _read_labels(self, kwargs: dict[str, Any]) -> None:
        """Take the label names out of `kwargs`: `id2label` first, else `label2id`, else `num_labels` of them."""
        count, id2label, label2id = (kwargs.pop(name, None) for name in ("num_labels", "id2label", "label2id"))
        if id2label is None and label2id is not None and sorted(label2id.values()) == list(range(len(label2id))):
            id2label = {number: label for label, number in label2id.items()}
        if id2label is None:
            self.num_labels = 2 if count is None else count
            return
        if count is not None and count != len(id2label):
            warnings.warn(f"num_labels {count} gives way to the {len(id2label)} names in id2label", stacklevel=4)
        self.id2label = {int(number): label for number, label in id2label.items()}
        self.label2id = dict(label2id) if label2id else {label: number for number, label in self.id2label.items()}

    @property
    def num_labels(self) -> int:
        """How many labels the heads have; setting it names them LABEL_0, LABEL_1, ..."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"num_labels is {count!r}; it must be a whole number of at least 1")
        self.id2label = {number: f"LABEL_{number}" for number in range(count)}
        self.label2id = {label: number for number, label in self.id2label.items()}

    @property
    def torch_dtype(self) -> str | None:
        """The older name of `dtype`."""
        return self.dtype

    @property
    def use_return_dict(self) -> bool:
        """Whether calls return the named output rather than a tuple, unless they say otherwise."""
        return bool(self.return_dict)

    @property
    def head_size(self) -> int:
        """The width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_sequence_length(self) -> int:
        """The longest sequence, in tokens: the rows of the position table less those up to the pad's."""
        return self.max_position_embeddings - self.pad_token_id - 1

    def validate(self) -> None:
        """Raise `ValueError` for a field that no model can be built with, naming the numbers."""
        for name in COUNTS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < (name != "num_hidden_layers"):
                raise ValueError(f"{name} is {value!r}; it must be a positive whole number")
        for name in RATES:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} is {value!r}; it must be at least 0 and below 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size {self.hidden_size} does not split into {self.num_attention_heads} heads")
        for name in ("layer_norm_eps", "initializer_range"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must not be negative")
        self._validate_ids()
        self._validate_choices()

    def _validate_ids(self) -> None:
        pad = self.pad_token_id
        if isinstance(pad, bool) or not isinstance(pad, int) or not 0 <= pad < self.vocab_size:
            raise ValueError(f"pad_token_id is {pad!r}; it must be a token id below vocab_size {self.vocab_size}")
        if self.max_sequence_length < 1:
            raise ValueError(
                f"max_position_embeddings {self.max_position_embeddings} leaves no position after pad_token_id {pad}"
            )
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError(f"id2label has the ids {sorted(self.id2label)}; they must run from 0 without a gap")

    def _validate_choices(self) -> None:
        choices = {
            "hidden_act": ACTIVATIONS,
            "position_embedding_type": POSITION_TYPES,
            "problem_type": PROBLEM_TYPES,
            "model_type": MODEL_TYPES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; known are {', '.join(map(str, known))}")
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError("add_cross_attention needs is_decoder=True")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """The configuration of a dict such as a parsed config.json.

        Keyword arguments that name a field override it. The others are returned beside the configuration if
        `return_unused_kwargs`, else refused with a `TypeError`.
        """
        labels = ("num_labels", "id2label", "label2id")
        fields = {**config_dict}
        known = {*vars(cls()), *labels, "torch_dtype", *fields}
        if any(kwargs.get(name) is not None for name in labels):
            fields = {name: value for name, value in fields.items() if name not in labels}
        fields.update({name: value for name, value in kwargs.items() if name in known})
        unused = {name: value for name, value in kwargs.items() if name not in known}
        if return_unused_kwargs:
            return cls(**fields), unused
        if unused:
            raise TypeError(f"RobertaConfig has no field {', '.join(sorted(unused))}")
        return cls(**fields)

    @classmethod
    def from_json_file(cls, path: str | os.PathLike[str]) -> Self:
        """The configuration in a JSON file; `ValueError` if it is not a JSON object."""
        return cls.from_dict(_read_json(Path(path)))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """The configuration of a checkpoint: a folder, a config.json, the name of an embedded model, or one on the Hub.

        A folder with fairseq's `model.pt` and no config.json is read too. `revision`, `token` and the like say how to
        come by a repository, as in `checkpoints.resolve`. Other keyword arguments override fields, as in `from_dict`.
        `OSError` if there is no such checkpoint.
        """
        from roberta_core.checkpoints import fairseq_file, hub
        from roberta_core.checkpoints.source import resolve

        path, where = Path(pretrained_model_name_or_path), hub.options(kwargs)
        path = path if path.is_file() else resolve(pretrained_model_name_or_path, ("config",), **where) / CONFIG_NAME
        if not path.exists() and (path.parent / fairseq_file.FILE).exists():
            fields = fairseq_file.config(path.parent).to_dict()
        else:
            fields = _read_json(path)
        return cls.from_dict({**fields, "_name_or_path": str(pretrained_model_name_or_path)}, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Every field, for the eye and for comparison; `from_dict` gives an equal configuration."""
        return {**copy.deepcopy(vars(self)), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that config.json holds: the published ones, and others where they differ from the default."""
        defaults = {**INHERITED, "id2label": DEFAULT_LABELS, "_name_or_path": self._name_or_path}
        defaults["label2id"] = {label: number for number, label in DEFAULT_LABELS.items()}
        return {
            name: value for name, value in self.to_dict().items() if name not in defaults or value != defaults[name]
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The text of config.json: keys sorted, indent 2."""
        return json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` to a file."""
        Path(path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json into a folder, which is made if it is not there."""
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        self.to_json_file(Path(save_directory) / CONFIG_NAME)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RobertaConfig) and _comparable(self) == _comparable(other)

    __hash__ = None  # type: ignore[assignment]  # fields can be set, so a hash would go stale

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _comparable(config: RobertaConfig) -> dict[str, Any]:
    """All that makes two configurations one: not where they were read from."""
    return {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} has no {path.name}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError(f"{path} holds a JSON {type(fields).__name__}, not an object")
    return fields
