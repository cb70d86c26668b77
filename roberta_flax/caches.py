"""What a decoder keeps of the tokens that it has read, in Flax.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from roberta_core.outputs import FixedCache

Cache = tuple[tuple[Array, ...], ...]


def unpack_cache(past_key_values: Any) -> tuple[Cache | None, Any]:
    """The cache as a tuple a layer, and how much of it is filled if its length is fixed.

    Also from the reference's cache objects; an absent cross pair may be None.
    """
    if isinstance(past_key_values, FixedCache):
        return past_key_values
    if hasattr(past_key_values, "to_legacy_cache"):
        past_key_values = past_key_values.to_legacy_cache()
    if not past_key_values:
        return None, None
    return tuple(tuple(part for part in layer if part is not None) for layer in past_key_values), None


def make_cache(model: Any, batch: int, length: int) -> FixedCache:
    """A cache of a Model with room for `length` tokens: L of (key, value), each [B, N, T, H]."""
    heads = [layer.attention.self.heads for layer in model.encoder.layer]
    shapes = [(batch, count, length, model.config.head_size) for count in heads]
    layers = tuple((jnp.zeros(shape, model.dtype), jnp.zeros(shape, model.dtype)) for shape in shapes)
    return FixedCache(layers, np.int32(0))  # of the type that calls return, so that a jitted step is traced once


def count_real_tokens(attention_mask: Array | None, past_length: Array | int) -> Array | int:
    """How many tokens of the past count for positions, for each row [B, 1] if the mask [B, T] tells: pads do not."""
    none = isinstance(past_length, int) and past_length == 0
    if none or attention_mask is None or attention_mask.ndim != 2:
        return past_length
    before = (jnp.arange(attention_mask.shape[1]) < past_length)[None]
    return jnp.sum((attention_mask > 0) & before, axis=1, keepdims=True, dtype=jnp.int32)
