"""The configuration of a RoBERTa model, read and written as the published config.json."""

import copy
import json
import logging
import math
import os
import reprlib
import warnings
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Self

from roberta_core.config_methods import ConfigMethods, check_field_name, load_config_file, to_dtype_name
from roberta_core.safe_files import read_json_object

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"

# Model types that share RoBERTa's layers and tensor names. Files of 2019 name none.
MODEL_TYPES = ("roberta", "camembert", "xlm-roberta")

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish", "tanh")
POSITION_TYPES = ("absolute", "relative_key", "relative_key_query")
PROBLEM_TYPES = (None, "regression", "single_label_classification", "multi_label_classification")

# Fields that every published configuration has; config.json holds one only where it differs from this default.
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
MAX_LABELS = 200_000

# Keys by which transformers loads code or kernels from a repository (CVE-2026-4372), or another weights file. They are
# dropped when a configuration is read, at any depth, and are never written.
DROPPED_KEYS = frozenset({
    "_attn_implementation", "_attn_implementation_internal", "attn_implementation",
    "_experts_implementation", "_experts_implementation_internal", "experts_implementation",
    "auto_map", "custom_pipelines", "quantization_config", "transformers_weights", "trust_remote_code",
})  # fmt: skip

COUNTS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
          "max_position_embeddings", "type_vocab_size")  # fmt: skip
RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
SCALES = ("layer_norm_eps", "initializer_range")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")
DEFAULT_TOKEN_IDS = {"bos_token_id": 0, "eos_token_id": 2}
FLAGS = ("use_cache", *(name for name, default in INHERITED.items() if isinstance(default, bool)))
TEXTS = ("dtype", "finetuning_task", "tokenizer_class", "prefix", "_name_or_path")
LABEL_FIELDS = ("num_labels", "id2label", "label2id")
RELEASED: dict[str, Any] = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
SHORT = reprlib.Repr()  # values in messages can be large and deeply nested
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 3, 80, 80
SHOWN_LABELS = 8  # `repr` gives only the number of labels if there are more


class RobertaConfig(ConfigMethods):
    """The sizes and settings of a RoBERTa model.

    Field names and defaults are those of transformers 4.57.6, which are BERT's: the released RoBERTa models have 514
    positions, one token type and a LayerNorm eps of 1e-5. `RobertaConfig.base()` and `RobertaConfig.large()` are
    those shapes (Liu et al. 2019, Table 9). Unknown fields are kept and written back, except those by which
    transformers would load code (`DROPPED_KEYS`), which are dropped with a warning.

    Args:
        vocab_size: Number of rows in the word embedding table.
        hidden_size: Width of the hidden states.
        num_hidden_layers: Number of layers.
        num_attention_heads: Number of attention heads; must divide `hidden_size`.
        intermediate_size: Width of the feed-forward layers.
        hidden_act: Activation of the feed-forward layers, one of `ACTIVATIONS`.
        hidden_dropout_prob: Dropout rate after embeddings and layers.
        attention_probs_dropout_prob: Dropout rate of the attention weights.
        max_position_embeddings: Number of rows in the position table: the longest sequence plus `pad_token_id` + 1.
        type_vocab_size: Number of token types.
        initializer_range: Standard deviation of newly initialised weights.
        layer_norm_eps: Epsilon of the layer normalisations.
        pad_token_id: Id of the padding token, from which positions are counted.
        bos_token_id: Id of the first token of a sequence.
        eos_token_id: Id of the last token of a sequence.
        position_embedding_type: Must be "absolute" for a model to be built.
        use_cache: Whether a decoder returns its key/value cache.
        classifier_dropout: Dropout rate of a classification head; None means `hidden_dropout_prob`.
        **kwargs: Inherited fields (`INHERITED`), `num_labels`, `id2label`, `label2id`, `torch_dtype`, unknown fields.

    Raises:
        ValueError: A field has the wrong type or an impossible value.

    Example:
        >>> RobertaConfig(vocab_size=101, hidden_size=12, num_attention_heads=3, num_labels=3).head_size
        4
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
    task_specific_params: dict[str, Any] | None
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
        self._drop_keys(kwargs)
        self._read_inherited(kwargs)
        self._read_labels(kwargs)
        for name, value in kwargs.items():
            check_field_name(type(self), name)
            setattr(self, name, value)
        self.validate()

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """Return the shape of roberta-base: 12 layers of 768, 125 M parameters (Liu et al. 2019, Table 9)."""
        return cls(**{**RELEASED, **changes})

    @classmethod
    def large(cls, **changes: Any) -> Self:
        """Return the shape of roberta-large: 24 layers of 1024, 355 M parameters (Liu et al. 2019, Table 9)."""
        sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
        return cls(**{**RELEASED, **sizes, **changes})

    def _drop_keys(self, kwargs: dict[str, Any]) -> None:
        """Remove `DROPPED_KEYS` from `kwargs` at any depth, and log those that were set."""
        dropped: set[str] = set()
        for name in [*kwargs]:
            if name in DROPPED_KEYS:
                dropped |= {name} if kwargs.pop(name) is not None else set()
            else:
                kwargs[name] = _without_dropped_keys(kwargs[name], dropped)
        if dropped:
            logger.warning(
                "Dropped %s from the configuration: such keys make other libraries load code, kernels or other weights",
                ", ".join(sorted(dropped)),
            )

    def _read_inherited(self, kwargs: dict[str, Any]) -> None:
        """Take the inherited fields out of `kwargs`; `torch_dtype` is the older name of `dtype`."""
        if "torch_dtype" in kwargs:
            kwargs.setdefault("dtype", kwargs.pop("torch_dtype"))
            kwargs.pop("torch_dtype", None)
        if "name_or_path" in kwargs:
            kwargs["_name_or_path"] = str(kwargs.pop("name_or_path"))
        for name, default in INHERITED.items():
            setattr(self, name, copy.copy(kwargs.pop(name, default)))
        self.dtype = to_dtype_name(self.dtype)
        self.pruned_heads = _read_pruned_heads(self.pruned_heads, self.num_hidden_layers)
        model_type = kwargs.pop("model_type", None)
        self.model_type = self.model_type if model_type is None else model_type

    def _read_labels(self, kwargs: dict[str, Any]) -> None:
        """Take the label names out of `kwargs`: `id2label` first, else `label2id`, else `num_labels` default names."""
        count, id2label, label2id = (kwargs.pop(name, None) for name in LABEL_FIELDS)
        label2id = None if label2id is None else _read_label2id(label2id)
        if id2label is None and label2id and sorted(label2id.values()) == list(range(len(label2id))):
            id2label = {number: label for label, number in label2id.items()}
        if id2label is None:
            self.num_labels = 2 if count is None else count
            return
        self.id2label = _read_id2label(id2label)
        if count is not None and count != len(id2label):
            warnings.warn(f"num_labels {count} is ignored: id2label has {len(id2label)} names", stacklevel=4)
        self.label2id = label2id or {label: number for number, label in self.id2label.items()}

    @property
    def num_labels(self) -> int:
        """The number of labels of the heads; setting another one names them LABEL_0, LABEL_1, ..."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if not _is_integer(count) or not 1 <= count <= MAX_LABELS:
            raise ValueError(f"num_labels is {_show(count)}; it must be an integer from 1 to {MAX_LABELS:,}")
        if len(getattr(self, "id2label", ())) == count:
            return
        self.id2label = {number: f"LABEL_{number}" for number in range(count)}
        self.label2id = {label: number for number, label in self.id2label.items()}

    @property
    def head_size(self) -> int:
        """The width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_sequence_length(self) -> int:
        """The longest sequence, in tokens: the rows of the position table less those up to the padding token's."""
        return self.max_position_embeddings - self.pad_token_id - 1

    def validate(self) -> None:
        """Check every field.

        Raises:
            ValueError: A field has the wrong type, or no model can be built with its value.
        """
        for name in COUNTS:
            value = getattr(self, name)
            if not _is_integer(value) or value < (name != "num_hidden_layers"):
                raise ValueError(f"{name} is {_show(value)}; it must be a positive integer")
        for name in RATES:
            value = getattr(self, name)
            allowed = _is_number(value) and 0 <= value < 1
            if not allowed and not (value is None and name == "classifier_dropout"):
                raise ValueError(f"{name} is {_show(value)}; it must be a number of at least 0 and below 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {self.num_attention_heads}"
            )
        for name in SCALES:
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value < math.inf):
                raise ValueError(f"{name} is {_show(value)}; it must be a finite number of at least 0")
        self._validate_ids()
        self._validate_labels()
        self._validate_choices()
        self._validate_types()
        self._validate_pruned_heads()

    def _validate_ids(self) -> None:
        pad, limit = self.pad_token_id, self.vocab_size
        if not _is_integer(pad) or not 0 <= pad < limit:
            raise ValueError(f"pad_token_id is {_show(pad)}; it must be a token id below vocab_size {limit}")
        for name in TOKEN_IDS:
            value = getattr(self, name)
            default = value == DEFAULT_TOKEN_IDS.get(name)  # a vocabulary of one or two words lacks </s>
            if value is not None and not (_is_integer(value) and (0 <= value < limit or default)):
                raise ValueError(f"{name} is {_show(value)}; it must be None or a token id below vocab_size {limit}")
        if self.max_sequence_length < 1:
            raise ValueError(
                f"max_position_embeddings {self.max_position_embeddings} leaves no position after pad_token_id {pad}"
            )

    def _validate_labels(self) -> None:
        if not isinstance(self.id2label, dict) or not isinstance(self.label2id, dict):
            raise ValueError("id2label and label2id must be dicts")
        if any(number not in self.id2label for number in range(len(self.id2label))):
            ids = _show(list(self.id2label))
            raise ValueError(f"id2label has the ids {ids}; they must run from 0 without a gap")

    def _validate_choices(self) -> None:
        choices = {
            "hidden_act": ACTIVATIONS,
            "position_embedding_type": POSITION_TYPES,
            "problem_type": PROBLEM_TYPES,
            "model_type": MODEL_TYPES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} is {_show(getattr(self, name))}; it must be one of {', '.join(map(str, known))}"
                )
        if self.add_cross_attention and not self.is_decoder:
            raise ValueError("add_cross_attention requires is_decoder=True")

    def _validate_types(self) -> None:
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {_show(getattr(self, name))}; it must be true or false")
        for name in TEXTS:
            if not isinstance(getattr(self, name), (str, type(None))):
                raise ValueError(f"{name} is {_show(getattr(self, name))}; it must be a string or None")
        if not isinstance(self.task_specific_params, (dict, type(None))):
            raise ValueError(f"task_specific_params is {_show(self.task_specific_params)}; it must be a dict or None")
        for name in ("chunk_size_feed_forward", "cross_attention_hidden_size"):
            value = getattr(self, name)
            if value is not None and not (_is_integer(value) and value >= 0):
                raise ValueError(f"{name} is {_show(value)}; it must be an integer of at least 0")
        names = self.architectures
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError(f"architectures is {_show(names)}; it must be a list of class names or None")

    def _validate_pruned_heads(self) -> None:
        for layer, heads in self.pruned_heads.items():
            everyone = range(self.num_attention_heads)
            if layer not in range(self.num_hidden_layers) or not set(heads) < set(everyone):
                raise ValueError(
                    f"pruned_heads has the heads {_show(heads)} for layer {layer}; the model has "
                    f"{self.num_hidden_layers} layers of {len(everyone)} heads, and each layer must keep one"
                )

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Return the configuration of a dict such as a parsed config.json.

        Args:
            config_dict: The fields; missing ones have their default.
            return_unused_kwargs: Whether to return keyword arguments that name no field instead of refusing them.
            **kwargs: Fields that override those of `config_dict`.

        Returns:
            The configuration, or the pair of it and the unused keyword arguments.

        Raises:
            ValueError: A field has the wrong type or an impossible value.
            TypeError: A keyword argument names no field, and `return_unused_kwargs` is False.
        """
        fields = {**config_dict}
        for name in fields:
            check_field_name(cls, name)
        known = {*vars(cls()), *LABEL_FIELDS, "torch_dtype", *fields}
        if any(kwargs.get(name) is not None for name in LABEL_FIELDS):
            fields = {name: value for name, value in fields.items() if name not in LABEL_FIELDS}
        fields.update({name: value for name, value in kwargs.items() if name in known})
        unused = {name: value for name, value in kwargs.items() if name not in known}
        if unused and not return_unused_kwargs:
            raise TypeError(f"RobertaConfig has no field {', '.join(sorted(unused))}")
        config = cls(**fields)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """Return the configuration in a JSON file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a JSON object of valid fields.
        """
        return cls.from_dict(read_json_object(json_file))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Return the configuration of a checkpoint.

        Args:
            pretrained_model_name_or_path: A folder, a config.json, the name of an embedded model, or one on the Hub.
                A folder with fairseq's `model.pt` and no config.json is read too.
            **kwargs: `revision`, `token` and other options of `checkpoints.resolve` select the repository;
                `strip_prefix` "encoder." or "decoder." selects a half of an encoder-decoder; the others override
                fields, as in `from_dict`.

        Raises:
            OSError: There is no such checkpoint.
            ValueError: A field has the wrong type or an impossible value.
        """
        source = os.fspath(pretrained_model_name_or_path)
        fields = load_config_file().read_fields(source, kwargs)
        made = cls.from_dict(fields, **kwargs)
        load_config_file().check_against_weights(source, made[0] if isinstance(made, tuple) else made)
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return every field; `from_dict` makes an equal configuration of them."""
        fields = {name: value for name, value in vars(self).items() if name not in DROPPED_KEYS}
        return {**copy.deepcopy(fields), "model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the fields that config.json holds: the published ones, and others that differ from the default."""
        defaults = {**INHERITED, "id2label": DEFAULT_LABELS, "_name_or_path": self._name_or_path}
        defaults["label2id"] = {label: number for number, label in DEFAULT_LABELS.items()}
        return {
            name: value for name, value in self.to_dict().items() if name not in defaults or value != defaults[name]
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of config.json: keys sorted, indent 2; with every field unless `use_diff`."""
        return json.dumps(self.to_diff_dict() if use_diff else self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` to a file; a file that exists stays valid until the new one is complete."""
        path = Path(json_file_path)
        load_config_file().write_file(path.parent, path.name, self.to_json_string(use_diff))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RobertaConfig) and _comparable_fields(self) == _comparable_fields(other)

    __hash__ = None  # type: ignore[assignment]  # fields can be set, so a hash would go stale

    def __repr__(self) -> str:
        defaults = {**vars(RobertaConfig()), "model_type": RobertaConfig.model_type}
        fields = {
            name: value
            for name, value in self.to_dict().items()
            if name in COUNTS or name not in defaults or value != defaults[name]
        }
        fields.pop("label2id", None)
        labels = fields.pop("id2label", DEFAULT_LABELS)
        if labels != DEFAULT_LABELS:
            plain = labels == {number: f"LABEL_{number}" for number in range(len(labels))}
            shown = {"num_labels": len(labels)} if plain or len(labels) > SHOWN_LABELS else {"id2label": labels}
            fields.update(shown)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


def _comparable_fields(config: RobertaConfig) -> dict[str, Any]:
    """Return all that two equal configurations share: not where they were read from."""
    return {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}


def _without_dropped_keys(value: Any, dropped: set[str]) -> Any:
    """Return JSON data without `DROPPED_KEYS`; the names of those that were set are added to `dropped`."""
    if isinstance(value, list):
        return [_without_dropped_keys(one, dropped) for one in value]
    if not isinstance(value, dict):
        return value
    dropped |= {name for name in DROPPED_KEYS if value.get(name) is not None}
    return {name: _without_dropped_keys(one, dropped) for name, one in value.items() if name not in DROPPED_KEYS}


def _read_pruned_heads(value: Any, layers: Any) -> dict[int, list[int]]:
    """Return {layer: [head, ...]}; layers below 0 count from the last."""
    heads = {} if value is None else value
    if isinstance(heads, dict):
        found = {_to_integer(layer): heads[layer] for layer in heads}
        if None not in found and all(_is_list_of_integers(one) for one in found.values()):
            merged: dict[int, list[int]] = {}
            for layer, one in found.items():
                place = layer + layers if layer is not None and layer < 0 and _is_integer(layers) else layer
                merged.setdefault(place, []).extend(one)  # pyright: ignore[reportArgumentType]
            return merged
    raise ValueError(f"pruned_heads is {_show(value)}; it must map layers to lists of heads")


def _read_id2label(value: Any) -> dict[int, str]:
    if isinstance(value, dict) and value:
        found = {_to_integer(number): label for number, label in value.items()}
        if None not in found and not any(isinstance(label, (dict, list)) for label in found.values()):
            return {number: str(label) for number, label in found.items() if number is not None}
    raise ValueError(f"id2label is {_show(value)}; it must map ids to names")


def _read_label2id(value: Any) -> dict[str, int]:
    if isinstance(value, dict):
        found = {str(label): _to_integer(number) for label, number in value.items()}
        if None not in found.values():
            return {label: number for label, number in found.items() if number is not None}
    raise ValueError(f"label2id is {_show(value)}; it must map names to ids")


def _to_integer(value: Any) -> int | None:
    """Return an integer, or the integer that a string spells as JSON keys do; None otherwise."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_list_of_integers(value: Any) -> bool:
    return isinstance(value, (list, tuple, set)) and all(_is_integer(one) for one in value)


def _show(value: Any) -> str:
    """Return a short representation for a message."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length():,} bits"
    try:
        text = SHORT.repr(value)
    except ValueError:  # an integer inside has more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}..."
