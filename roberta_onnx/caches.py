"""The key/value cache of a decoder, in ONNX.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import numpy as np

from roberta_onnx.graph import Tensor, arange

Cache = tuple[tuple[Tensor, ...], ...]  # L of (key, value), or with the cross pair, each [B, N, T, H]


def count_real_tokens(real: Tensor | None, attention_mask: Tensor | None, past_length: Tensor) -> Tensor:
    """Return the number of cached tokens that are not padding, [B, 1] where it differs between rows.

    `real` is what the cache counted by ids; without it a mask [B, T] decides.
    """
    if real is not None:
        return real
    if attention_mask is None or attention_mask.rank != 2:
        return past_length
    before = arange(attention_mask.count(1)).is_at_most(past_length - 1)
    return (attention_mask.cast(np.bool_) & before).cast(np.int64).sum(axis=1, keepdims=True)


def count_new_tokens(past: Any, attention_mask: np.ndarray | None, new: np.ndarray) -> np.ndarray:
    """Return what the cache of a call counts: `new` [B, S] tells which of the tokens that it added are not padding."""
    real, length = getattr(past, "real", None), past[0][0].shape[2] if past else 0
    if real is None and length and attention_mask is not None and attention_mask.ndim == 2:
        real = (attention_mask[:, :length] != 0).sum(axis=1, keepdims=True)
    return new.sum(axis=1, keepdims=True) + (length if real is None else real)
