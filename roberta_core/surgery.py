"""Changing the sizes of a model that has its values: another vocabulary, more token types, fewer attention heads.

Each function takes the configuration and the tensors of a class by their published names, and gives the new
configuration and the tensors that change; a framework puts them into its model.
"""

import copy
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, draw, parameters


class Surgery(NamedTuple):
    """What a model becomes: its new configuration, and the tensors that are not as they were."""

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
    """A vocabulary of `size` words, rounded up to a multiple: the first rows stay, new ones are drawn, new biases 0.

    `ValueError` for a size that is no positive number, or that would cut off the pad.
    """
    if pad_to_multiple_of is not None:
        if pad_to_multiple_of < 1:
            raise ValueError(f"pad_to_multiple_of is {pad_to_multiple_of}; it must be at least 1")
        size = math.ceil(size / pad_to_multiple_of) * pad_to_multiple_of
    return _resized(config, architecture, tensors, {"vocab_size": size}, seed)


def resize_token_types(
    config: RobertaConfig, architecture: str, tensors: Mapping[str, np.ndarray], size: int
) -> Surgery:
    """A table of `size` token types: the first rows stay, new ones begin as copies of row 0."""
    config, changed = _resized(config, architecture, tensors, {"type_vocab_size": size}, 0)
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
    """Without some self-attention heads, {layer: [head, ...]} counted as in the whole model (Michel et al. 2019).

    `ValueError` for a layer or a head that does not exist, or for a layer that would lose all of its heads.
    """
    new = copy.deepcopy(config)
    changed = {}
    for layer, unwanted in heads.items():
        gone = set(config.pruned_heads.get(layer, ()))
        everyone = range(config.num_attention_heads)
        if layer not in range(config.num_hidden_layers) or not set(unwanted) <= set(everyone):
            raise ValueError(f"layer {layer} has no heads {sorted(unwanted)}: {_extent(config)}")
        before = [head for head in everyone if head not in gone]
        after = [head for head in before if head not in set(unwanted)]
        if not after:
            raise ValueError(f"layer {layer} would lose all of its {config.num_attention_heads} heads")
        new.pruned_heads[layer] = sorted(set(everyone) - set(after))
        rows = np.concatenate([np.arange(config.head_size) + before.index(head) * config.head_size for head in after])
        changed.update(_without(tensors, f"encoder.layer.{layer}.attention.", rows))
    return Surgery(new, changed)


def _extent(config: RobertaConfig) -> str:
    return f"there are {config.num_hidden_layers} layers of {config.num_attention_heads} heads"


def _without(tensors: Mapping[str, np.ndarray], path: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """An attention's tensors with only those of its inner rows."""
    prefix = "" if f"{path}self.query.weight" in tensors else BASE_PREFIX
    path = prefix + path
    kept = {
        f"{path}self.{part}.{leaf}": tensors[f"{path}self.{part}.{leaf}"][rows]
        for part in ("query", "key", "value")
        for leaf in ("weight", "bias")
    }
    name = f"{path}output.dense.weight"
    return {**kept, name: np.ascontiguousarray(tensors[name][:, rows])}


def _resized(
    config: RobertaConfig, architecture: str, tensors: Mapping[str, np.ndarray], sizes: Mapping[str, int], seed: int
) -> Surgery:
    """The tensors whose shapes follow `sizes`: drawn, then what was there put back."""
    new = copy.deepcopy(config)
    for name, size in sizes.items():
        setattr(new, name, size)
    new.validate()
    pooler = any(name.endswith("pooler.dense.weight") for name in tensors)
    table = parameters(new, architecture, pooler)
    names = [name for name, parameter in table.items() if parameter.shape != tensors[name].shape]
    changed = {}
    for name, values in draw(new, architecture, seed, pooler, only=names):
        old = tensors[name]
        kept = min(len(old), len(values))
        changed[name] = values.astype(old.dtype)
        changed[name][:kept] = old[:kept]
    return Surgery(new, changed)
