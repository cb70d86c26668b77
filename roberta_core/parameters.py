"""The table: every tensor of every RoBERTa class, its published name, its kind and its sizes.

From it come the shapes that a load is checked against, the names in the three dialects of checkpoint files, the
initialisation and the groups of the optimiser. A new layer is a new row here and nothing else outside the models.
"""

import re
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from roberta_core.config import RobertaConfig

BASE_PREFIX = "roberta."  # before the body's names in every class but Model


class Kind(StrEnum):
    """What a tensor belongs to."""

    LINEAR = "linear"  # weight [out, in] and bias [out]
    PROJECTION = "projection"  # a linear without a bias of its own
    NORM = "norm"
    EMBEDDING = "embedding"
    BIAS = "bias"  # a bias that stands alone


LEAVES = {
    Kind.LINEAR: ("weight", "bias"),
    Kind.PROJECTION: ("weight",),
    Kind.NORM: ("weight", "bias"),
    Kind.EMBEDDING: ("weight",),
    Kind.BIAS: ("bias",),
}


class Row(NamedTuple):
    """A module of the model: its published path, its kind, and its sizes by their names in the configuration."""

    path: str
    kind: Kind
    sizes: tuple[str, ...]


EMBEDDINGS = (
    Row("embeddings.word_embeddings", Kind.EMBEDDING, ("vocab_size", "hidden_size")),
    Row("embeddings.position_embeddings", Kind.EMBEDDING, ("max_position_embeddings", "hidden_size")),
    Row("embeddings.token_type_embeddings", Kind.EMBEDDING, ("type_vocab_size", "hidden_size")),
    Row("embeddings.LayerNorm", Kind.NORM, ("hidden_size",)),
)
# `attention_size` is hidden_size less the heads pruned from that layer.
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
DECODER = (Row("lm_head.decoder", Kind.PROJECTION, ("vocab_size", "hidden_size")),)  # only where it is not tied
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
WITH_POOLER = ("Model", "ForMultipleChoice")

# How each dialect spells a leaf; one that is not listed keeps its name.
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
TURNED = (Kind.LINEAR, Kind.PROJECTION)  # kept [in, out] by TensorFlow and Flax
WORD_TABLE = "embeddings.word_embeddings.weight"
POSITION_TABLE = "embeddings.position_embeddings.weight"


@dataclass(frozen=True)
class Parameter:
    """A tensor of a model: its published name, its kind, and its shape as PyTorch keeps it."""

    name: str
    kind: Kind
    shape: tuple[int, ...]

    @property
    def leaf(self) -> str:
        """The last part of the name: weight or bias."""
        return self.name.rpartition(".")[2]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape))


def parameters(config: RobertaConfig, architecture: str, pooler: bool | None = None) -> dict[str, Parameter]:
    """Every stored tensor of a class by its published name, in the model's order.

    `architecture` is the class name without its prefix, such as `"ForMaskedLM"`. `pooler` says whether the body has
    a pooler; None means as published. `ValueError` for a class or a configuration that cannot be built.
    """
    _check(config, architecture)
    prefix = "" if architecture == "Model" else BASE_PREFIX
    with_pooler = architecture in WITH_POOLER if pooler is None else pooler
    rows = [(prefix, row, None) for row in EMBEDDINGS]
    for layer in range(config.num_hidden_layers):
        rows += [(f"{prefix}encoder.layer.{layer}.", row, layer) for row in _layer_rows(config)]
    rows += [(prefix, row, None) for row in POOLER if with_pooler]
    rows += [("", row, None) for row in HEADS[architecture]]
    rows += [("", row, None) for row in DECODER if _has_lm_head(architecture) and not config.tie_word_embeddings]
    return {tensor.name: tensor for where, row, layer in rows for tensor in _tensors(row, where, _sizes(config, layer))}


def aliases(config: RobertaConfig, architecture: str) -> dict[str, str]:
    """The second names of stored tensors: what a full PyTorch state dict also calls them."""
    if not _has_lm_head(architecture):
        return {}
    bias = {"lm_head.decoder.bias": "lm_head.bias"}
    return {"lm_head.decoder.weight": BASE_PREFIX + WORD_TABLE, **bias} if config.tie_word_embeddings else bias


def spell(parameter: Parameter, dialect: str) -> str:
    """A tensor's name inside a dialect's safetensors file (docs/checkpoints.md has the three side by side).

    TensorFlow's files put `roberta/` before the body of every class; the caller of a Model adds it.
    """
    path, _, leaf = parameter.name.rpartition(".")
    leaf = SPELLING[dialect].get((parameter.kind, leaf), leaf)
    if dialect != "tf":
        return f"{path}.{leaf}"
    if path.endswith("word_embeddings"):
        leaf = "weight"  # the one table that the published TensorFlow classes made by hand
    return re.sub(r"layer/(\d+)", r"layer_._\1", path.replace(".", "/")) + f"/{leaf}:0"


def is_turned(parameter: Parameter, dialect: str) -> bool:
    """Whether a dialect keeps the matrix as [in, out], PyTorch's being [out, in]."""
    return dialect != "pt" and parameter.kind in TURNED and parameter.leaf == "weight"


def decays(parameter: Parameter) -> bool:
    """Whether weight decay applies: to matrices and tables, not to biases and norms (Liu et al. 2019, section 5)."""
    return parameter.leaf == "weight" and parameter.kind is not Kind.NORM


def draw(
    config: RobertaConfig,
    architecture: str,
    seed: int = 0,
    pooler: bool | None = None,
    only: Collection[str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """The initial values of a model, as (published name, float32 array), the same in every framework.

    Matrices and tables are normal(0, initializer_range) with the pad's rows zero, biases 0, norms 1. Each tensor has a
    generator of its own, from the seed and its name in the body, so `only` draws some without changing them.
    """
    for name, parameter in parameters(config, architecture, pooler).items():
        if only is None or name in only:
            yield name, _initial(parameter, config, seed)


def _initial(parameter: Parameter, config: RobertaConfig, seed: int) -> np.ndarray:
    if not decays(parameter):
        fill = float(parameter.leaf == "weight")  # a norm starts as the identity
        return np.full(parameter.shape, fill, np.float32)
    name = parameter.name.removeprefix(BASE_PREFIX)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    values = generator.standard_normal(parameter.shape, np.float32)
    values *= np.float32(config.initializer_range)
    if name in (WORD_TABLE, POSITION_TABLE):
        values[config.pad_token_id] = 0
    return values


def _check(config: RobertaConfig, architecture: str) -> None:
    if architecture not in HEADS:
        raise ValueError(f"{architecture!r} is no RoBERTa class; there are {', '.join(HEADS)}")
    if config.position_embedding_type != "absolute":
        raise ValueError(
            f"position_embedding_type {config.position_embedding_type!r} is not supported: "
            "the positions of RoBERTa are absolute"
        )
    if architecture == "ForQuestionAnswering" and config.num_labels != 2:
        raise ValueError(f"question answering has a start and an end: num_labels must be 2, not {config.num_labels}")


def _has_lm_head(architecture: str) -> bool:
    return HEADS[architecture] is LM_HEAD


def _layer_rows(config: RobertaConfig) -> Iterator[Row]:
    for part in ("attention", "crossattention") if config.add_cross_attention else ("attention",):
        sizes = {"attention_size": "hidden_size"} if part == "crossattention" else {}  # pruning leaves it whole
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
