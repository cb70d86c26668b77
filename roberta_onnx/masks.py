"""Masks as the encoder takes them, in ONNX: what is added to the scores.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
"""

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_onnx.graph import MINIMUM, Graph, Tensor, arange


def to_additive_mask(mask: Tensor, embedded: Tensor) -> Tensor:
    """[B, T], [B, S, T] or [B, 1, S, T] of what to attend, as [B, 1, S or 1, T]: 0, or the minimum where it is 0."""
    return _add_minimum(_expand(mask), embedded.graph)


def combine_masks(
    config: RobertaConfig, mask: Tensor | None, embedded: Tensor, past_length: Tensor | None, key_length: Tensor
) -> Tensor | None:
    """The caller's mask, and for a decoder the causal one, as [B, 1, S or 1, T]; None where all is attended."""
    if not config.is_decoder:
        return None if mask is None else to_additive_mask(mask, embedded)
    queries, keys = arange(embedded.count(1)).insert_axes(1), arange(key_length)
    causal = keys.is_at_most(queries if past_length is None else queries + past_length).insert_axes(0, 1)
    return _add_minimum(causal if mask is None else _expand(mask) & causal, embedded.graph)


def expand_head_mask(config: RobertaConfig, head_mask: Tensor | None, embedded: Tensor) -> list[Tensor] | None:
    """[N] or [L, N] as L of [1, N, 1, 1]."""
    if head_mask is None:
        return None
    values, shape = head_mask.cast(embedded.dtype), [1, config.num_attention_heads, 1, 1]
    layers = range(config.num_hidden_layers)
    return [(values if head_mask.rank == 1 else values.take(index, axis=0)).reshape(shape) for index in layers]


def _expand(mask: Tensor) -> Tensor:
    """Return what to attend as booleans [B, 1, S or 1, T]."""
    visible = mask.cast(np.bool_)
    return {2: lambda: visible.insert_axes(1, 2), 3: lambda: visible.insert_axes(1), 4: lambda: visible}[
        mask.rank or 2
    ]()


def _add_minimum(visible: Tensor, graph: Graph) -> Tensor:
    return visible.where(graph.constant(0, graph.dtype), MINIMUM[graph.dtype.name])
