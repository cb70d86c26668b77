"""The table: every tensor of every RoBERTa class, its published name, its kind and its sizes.

It determines the shapes that a checkpoint is checked against, the names in the three dialects of checkpoint files, the
initialisation and the parameter groups of the optimizer. A new layer is a new row here and nothing else outside the
models.
"""

import math
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from roberta_core.config import RobertaConfig

BASE_PREFIX = "roberta."  # before the body's names in every class but Model


class Kind(StrEnum):
    """The type of module that a tensor belongs to."""

    LINEAR = "linear"  # weight [out, in] and bias [out]
    PROJECTION = "projection"  # a linear layer without a bias
    NORM = "norm"
    EMBEDDING = "embedding"
    BIAS = "bias"  # a bias without a weight
    OTHER = "other"  # a tensor of a user's class that no row describes; every dialect stores it as it is


LEAVES = {
    Kind.LINEAR: ("weight", "bias"),
    Kind.PROJECTION: ("weight",),
    Kind.NORM: ("weight", "bias"),
    Kind.EMBEDDING: ("weight",),
    Kind.BIAS: ("bias",),
}


class Row(NamedTuple):
    """A module of the model: its published path, its kind, and the configuration fields of its sizes."""

    path: str
    kind: Kind
    sizes: tuple[str, ...]


EMBEDDINGS = (
    Row("embeddings.word_embeddings", Kind.EMBEDDING, ("vocab_size", "hidden_size")),
    Row("embeddings.position_embeddings", Kind.EMBEDDING, ("max_position_embeddings", "hidden_size")),
    Row("embeddings.token_type_embeddings", Kind.EMBEDDING, ("type_vocab_size", "hidden_size")),
    Row("embeddings.LayerNorm", Kind.NORM, ("hidden_size",)),
)
# `attention_size` is hidden_size without the heads pruned from that layer.
ATTENTION = (
    Row("self.query", Kind.LINEAR, ("attention_size", "hidden_size")),
    Row("self.key", Kind.LINEAR, ("attention_size", "hidden_size")),
    Row("self.value", Kind.LINEAR, ("attention_size", "hidden_size")),
    Row("output.dense", Kind.LINEAR, ("hidden_size", "attention_size")),
    Row("output.LayerNorm", Kind.NORM, ("hidden_size",)),
)
FEED_FORWARD = (
    Row("intermediate.dense", Kind.LINEAR, ("intermediate_size", "hidden_size")),
    Row("output.dense", Kind.LINEAR, ("hidden_size", "intermediate_size")),
    Row("output.LayerNorm", Kind.NORM, ("hidden_size",)),
)
POOLER = (Row("pooler.dense", Kind.LINEAR, ("hidden_size", "hidden_size")),)
LM_HEAD = (
    Row("lm_head", Kind.BIAS, ("vocab_size",)),
    Row("lm_head.dense", Kind.LINEAR, ("hidden_size", "hidden_size")),
    Row("lm_head.layer_norm", Kind.NORM, ("hidden_size",)),
)
DECODER = (Row("lm_head.decoder", Kind.PROJECTION, ("vocab_size", "hidden_size")),)  # only if it is not tied
HEADS: dict[str, tuple[Row, ...]] = {
    "Model": (),
    "ForCausalLM": LM_HEAD,
    "ForMaskedLM": LM_HEAD,
    "ForSequenceClassification": (
        Row("classifier.dense", Kind.LINEAR, ("hidden_size", "hidden_size")),
        Row("classifier.out_proj", Kind.LINEAR, ("num_labels", "hidden_size")),
    ),
    "ForMultipleChoice": (Row("classifier", Kind.LINEAR, ("one", "hidden_size")),),
    "ForTokenClassification": (Row("classifier", Kind.LINEAR, ("num_labels", "hidden_size")),),
    "ForQuestionAnswering": (Row("qa_outputs", Kind.LINEAR, ("num_labels", "hidden_size")),),
}
ARCHITECTURES = tuple(HEADS)
BODY = "PreTrainedModel"  # a user's class: the body in `roberta`, and layers that no row describes
WITH_POOLER = ("Model", "ForMultipleChoice")

# The name of a leaf in each dialect; a leaf that is not listed keeps its name.
SPELLING = {
    "pt": {},
    "tf": {
        (Kind.LINEAR, "weight"): "kernel",
        (Kind.PROJECTION, "weight"): "kernel",
        (Kind.NORM, "weight"): "gamma",
        (Kind.NORM, "bias"): "beta",
        (Kind.EMBEDDING, "weight"): "embeddings",
    },
    "flax": {
        (Kind.LINEAR, "weight"): "kernel",
        (Kind.PROJECTION, "weight"): "kernel",
        (Kind.NORM, "weight"): "scale",
        (Kind.EMBEDDING, "weight"): "embedding",
    },
}
DIALECTS = tuple(SPELLING)
TRANSPOSED = (Kind.LINEAR, Kind.PROJECTION)  # stored as [in, out] by TensorFlow and Flax
WORD_TABLE = "embeddings.word_embeddings.weight"
POSITION_TABLE = "embeddings.position_embeddings.weight"


@dataclass(frozen=True)
class Parameter:
    """A tensor of a model: its published name, its kind, and its shape in PyTorch."""

    name: str
    kind: Kind
    shape: tuple[int, ...]

    @property
    def leaf(self) -> str:
        """The last part of the name: weight or bias."""
        return self.name.rpartition(".")[2]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def parameters(config: RobertaConfig, architecture: str, pooler: bool | None = None) -> dict[str, Parameter]:
    """Return every stored tensor of a class by its published name, in the model's order.

    Args:
        config: The configuration of the model.
        architecture: The class without its prefix, such as `"ForMaskedLM"`.
        pooler: Whether the body has a pooler; None means as published for the class.

    Raises:
        ValueError: There is no such class, or it cannot be built with this configuration.
    """
    check_class(config, architecture)
    prefix = "" if architecture == "Model" else BASE_PREFIX
    with_pooler = architecture in WITH_POOLER if pooler is None else pooler
    rows = [(prefix, row, None) for row in EMBEDDINGS]
    for layer in range(config.num_hidden_layers):
        rows += [(f"{prefix}encoder.layer.{layer}.", row, layer) for row in _layer_rows(config)]
    rows += [(prefix, row, None) for row in POOLER if with_pooler]
    rows += [("", row, None) for row in HEADS.get(architecture, ())]
    rows += [("", row, None) for row in DECODER if _has_lm_head(architecture) and not config.tie_word_embeddings]
    return {tensor.name: tensor for where, row, layer in rows for tensor in _tensors(row, where, _sizes(config, layer))}


def aliases(config: RobertaConfig, architecture: str) -> dict[str, str]:
    """Return the second names of stored tensors in a full PyTorch state dict: alias -> stored name."""
    if not _has_lm_head(architecture):
        return {}
    bias = {"lm_head.decoder.bias": "lm_head.bias"}
    return {"lm_head.decoder.weight": BASE_PREFIX + WORD_TABLE, **bias} if config.tie_word_embeddings else bias


def spell(parameter: Parameter, dialect: str) -> str:
    """Return a tensor's name in the safetensors file of a dialect (docs/checkpoints.md compares the three).

    TensorFlow's files put `roberta/` before the body of every class; for a Model the caller adds it.
    """
    path, dot, leaf = parameter.name.rpartition(".")
    leaf = SPELLING[dialect].get((parameter.kind, leaf), leaf)
    if dialect != "tf":
        return path + dot + leaf
    if path.endswith("word_embeddings"):
        leaf = "weight"  # the published TensorFlow classes do not use a Keras embedding here
    return re.sub(r"layer/(\d+)", r"layer_._\1", path.replace(".", "/")) + dot.replace(".", "/") + f"{leaf}:0"


def is_transposed(parameter: Parameter, dialect: str) -> bool:
    """Return whether a dialect stores the tensor as [in, out]; PyTorch stores [out, in]."""
    return dialect != "pt" and parameter.kind in TRANSPOSED and parameter.leaf == "weight"


def has_weight_decay(parameter: Parameter) -> bool:
    """Return whether weight decay applies: to matrices and tables, not to biases and norms (Liu et al. 2019)."""
    return parameter.leaf == "weight" and parameter.kind is not Kind.NORM


def draw(
    config: RobertaConfig,
    architecture: str,
    seed: int = 0,
    pooler: bool | None = None,
    only: Collection[str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Draw the initial values of a model, the same in every framework.

    Matrices and tables are normal(0, initializer_range) with zeros in the padding token's rows, biases 0, norms 1.
    Each tensor has a separate generator, seeded by `seed` and its name in the body, so `only` does not change values.

    Args:
        config: The configuration of the model.
        architecture: The class without its prefix, such as `"ForMaskedLM"`.
        seed: Seed of the generators.
        pooler: Whether the body has a pooler; None means as published for the class.
        only: The names to draw; None means all.

    Yields:
        Published name and float32 array.
    """
    for name, parameter in parameters(config, architecture, pooler).items():
        if only is None or name in only:
            yield name, draw_one(parameter, config, seed)


def draw_one(parameter: Parameter, config: RobertaConfig, seed: int) -> np.ndarray:
    """Draw the initial value of one tensor, as `draw` does."""
    if not has_weight_decay(parameter):
        fill = float(parameter.leaf == "weight")  # a norm starts as the identity
        return np.full(parameter.shape, fill, np.float32)
    name = parameter.name.removeprefix(BASE_PREFIX)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(parameter.shape, np.float32)
    values *= np.float32(config.initializer_range)
    if name in (WORD_TABLE, POSITION_TABLE):
        values[config.pad_token_id] = 0
    return values


def check_class(config: RobertaConfig, architecture: str) -> None:
    """Raise `ValueError` if there is no such class, or if it cannot be built with this configuration."""
    if architecture not in (*HEADS, BODY):
        raise ValueError(f"{architecture!r} is not a RoBERTa class; the classes are {', '.join(HEADS)}")
    if config.position_embedding_type != "absolute":
        raise ValueError(
            f"position_embedding_type {config.position_embedding_type!r} is not supported: "
            "RoBERTa has absolute positions"
        )
    if architecture == "ForQuestionAnswering" and config.num_labels != 2:
        raise ValueError(f"question answering has a start and an end: num_labels must be 2, got {config.num_labels}")


def has_pooler(names: Iterable[str]) -> bool:
    """Return whether tensors with these published names include the pooler of the body."""
    return not {"pooler.dense.weight", f"{BASE_PREFIX}pooler.dense.weight"}.isdisjoint(names)


def _has_lm_head(architecture: str) -> bool:
    return HEADS.get(architecture) is LM_HEAD


def _layer_rows(config: RobertaConfig) -> Iterator[Row]:
    for part in ("attention", "crossattention") if config.add_cross_attention else ("attention",):
        sizes = {"attention_size": "hidden_size"} if part == "crossattention" else {}  # pruning does not change it
        for path, kind, names in ATTENTION:
            yield Row(f"{part}.{path}", kind, tuple(sizes.get(name, name) for name in names))
    yield from FEED_FORWARD


def _sizes(config: RobertaConfig, layer: int | None) -> dict[str, int]:
    names = {name for rows in (EMBEDDINGS, FEED_FORWARD) for row in rows for name in row.sizes}
    pruned = len(config.pruned_heads.get(layer, ())) if layer is not None else 0
    attention = (config.num_attention_heads - pruned) * config.head_size
    return {name: getattr(config, name) for name in names} | {
        "attention_size": attention,
        "num_labels": config.num_labels,
        "one": 1,
    }


def _tensors(row: Row, prefix: str, sizes: dict[str, int]) -> Iterator[Parameter]:
    shape = tuple(sizes[name] for name in row.sizes)
    for leaf in LEAVES[row.kind]:
        yield Parameter(f"{prefix}{row.path}.{leaf}", row.kind, shape if leaf == "weight" else shape[:1])
