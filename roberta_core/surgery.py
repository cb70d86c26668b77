"""Changing the sizes of an existing model: vocabulary, token types, attention heads.

Each function takes the configuration and the tensors of a class by their published names, and returns the new
configuration and the tensors that change; a framework assigns them to its model.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, draw, has_pooler, parameters


class Surgery(NamedTuple):
    """The result of a change of size: the new configuration, and the tensors that changed."""

    config: RobertaConfig
    tensors: dict[str, np.ndarray]


def resize_vocabulary(
    config: RobertaConfig,
    architecture: str,
    tensors: Mapping[str, np.ndarray],
    size: int,
    pad_to_multiple_of: int | None = None,
    seed: int = 0,
) -> Surgery:
    """Resize the vocabulary: the first rows are kept, new rows are drawn, new biases are 0.

    Args:
        config: The configuration of the model.
        architecture: The class without its prefix, such as `"ForMaskedLM"`.
        tensors: The model's tensors by their published names.
        size: The new number of words.
        pad_to_multiple_of: If given, `size` is rounded up to a multiple of it.
        seed: Seed of the new rows.

    Raises:
        ValueError: A size is not positive, or would remove the row of the padding token.
    """
    if pad_to_multiple_of is not None:
        if pad_to_multiple_of < 1:
            raise ValueError(f"pad_to_multiple_of is {pad_to_multiple_of}; it must be at least 1")
        size = math.ceil(size / pad_to_multiple_of) * pad_to_multiple_of
    return _resize(config, architecture, tensors, {"vocab_size": size}, seed)


def resize_token_types(
    config: RobertaConfig, architecture: str, tensors: Mapping[str, np.ndarray], size: int
) -> Surgery:
    """Resize the table of token types: the first rows are kept, new ones are copies of row 0."""
    config, changed = _resize(config, architecture, tensors, {"type_vocab_size": size}, 0)
    for name, table in changed.items():
        old = tensors[name]
        table[len(old) :] = old[0]
    return Surgery(config, changed)


def prune_heads(
    config: RobertaConfig,
    architecture: str,
    tensors: Mapping[str, np.ndarray],
    heads: Mapping[int, Iterable[int]],
) -> Surgery:
    """Remove self-attention heads (Michel et al. 2019).

    Args:
        config: The configuration of the model.
        architecture: The class without its prefix, such as `"ForMaskedLM"`.
        tensors: The model's tensors by their published names.
        heads: {layer: [head, ...]}, numbered as in the unpruned model; layers below 0 count from the last.

    Raises:
        ValueError: A layer or a head does not exist, or a layer would lose all of its heads.
    """
    new = copy.deepcopy(config)
    changed = {}
    for layer, removed in _count_layers(config, heads).items():
        gone = set(config.pruned_heads.get(layer, ()))
        everyone = range(config.num_attention_heads)
        if layer not in range(config.num_hidden_layers) or not set(removed) <= set(everyone):
            raise ValueError(f"layer {layer} has no heads {sorted(removed)}: {_describe_size(config)}")
        pruned = gone | set(removed)
        if pruned == set(everyone):
            raise ValueError(f"layer {layer} would lose all of its {config.num_attention_heads} heads")
        new.pruned_heads[layer] = sorted(pruned)
        rows = list_kept_rows(len(everyone), config.head_size, gone, removed)
        changed.update(_select_rows(tensors, f"encoder.layer.{layer}.attention.", rows))
    return Surgery(new, changed)


def list_kept_rows(heads: int, head_size: int, pruned: Iterable[int], removed: Iterable[int]) -> np.ndarray:
    """Return the rows of a projection that remain after removing heads, numbered as in the unpruned model.

    Args:
        heads: The number of heads of the unpruned model.
        head_size: The rows of each head.
        pruned: The heads that were removed before: the projection has no rows for them.
        removed: The heads to remove.

    Raises:
        ValueError: A head does not exist, or none would remain.
    """
    gone, removed = set(pruned), set(removed)
    if not removed <= set(range(heads)):
        raise ValueError(f"there are no heads {sorted(removed - set(range(heads)))}: the heads are 0 to {heads - 1}")
    before = [head for head in range(heads) if head not in gone]
    after = [head for head in before if head not in removed]
    if not after:
        raise ValueError(f"pruning {sorted(removed)} would leave none of the {heads} heads")
    return np.concatenate([np.arange(head_size) + before.index(head) * head_size for head in after])


def _count_layers(config: RobertaConfig, heads: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
    """Return the heads by layers counted from the first."""
    counted: dict[int, list[int]] = {}
    for layer, removed in heads.items():
        counted.setdefault(layer + config.num_hidden_layers if layer < 0 else layer, []).extend(removed)
    return counted


def _describe_size(config: RobertaConfig) -> str:
    return f"the model has {config.num_hidden_layers} layers of {config.num_attention_heads} heads"


def _select_rows(tensors: Mapping[str, np.ndarray], path: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tensors of an attention with only the given rows of its inner dimension."""
    prefix = "" if f"{path}self.query.weight" in tensors else BASE_PREFIX
    path = prefix + path
    kept = {
        f"{path}self.{part}.{leaf}": tensors[f"{path}self.{part}.{leaf}"][rows]
        for part in ("query", "key", "value")
        for leaf in ("weight", "bias")
    }
    name = f"{path}output.dense.weight"
    return {**kept, name: np.ascontiguousarray(tensors[name][:, rows])}


def _resize(
    config: RobertaConfig, architecture: str, tensors: Mapping[str, np.ndarray], sizes: Mapping[str, int], seed: int
) -> Surgery:
    """Draw the tensors whose shapes depend on `sizes`, then copy the old values into them."""
    new = copy.deepcopy(config)
    for name, size in sizes.items():
        setattr(new, name, size)
    new.validate()
    pooler = has_pooler(tensors)
    table = parameters(new, architecture, pooler)
    names = [name for name, parameter in table.items() if parameter.shape != tensors[name].shape]
    changed = {}
    for name, values in draw(new, architecture, seed, pooler, only=names):
        old = tensors[name]
        kept = min(len(old), len(values))
        changed[name] = values.astype(old.dtype)
        changed[name][:kept] = old[:kept]
    return Surgery(new, changed)
