"""The key/value cache of a decoder, in Flax.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from roberta_core.outputs import FixedCache, KeyValueCache

Cache = tuple[tuple[Array, ...], ...]


def unpack_cache(past_key_values: Any) -> tuple[Cache | None, Any, Any]:
    """Return the cache as a tuple for each layer, the filled length if it is fixed, and the real tokens of each row.

    Cache objects of transformers are accepted too, and an absent cross pair may be None.
    """
    if isinstance(past_key_values, FixedCache):
        return past_key_values
    real = past_key_values.real if isinstance(past_key_values, KeyValueCache) else None
    convert: Any = getattr(past_key_values, "to_legacy_cache", None)
    if convert is not None:
        past_key_values = convert()
    if not past_key_values:
        return None, None, None
    return tuple(tuple(part for part in layer if part is not None) for layer in past_key_values), None, real


def make_cache(model: Any, batch: int, length: int) -> FixedCache:
    """A cache of a Model with room for `length` tokens: L of (key, value), each [B, N, T, H]."""
    heads = [layer.attention.self.heads for layer in model.encoder.layer]
    shapes = [(batch, count, length, model.config.head_size) for count in heads]
    layers = tuple((jnp.zeros(shape, model.dtype), jnp.zeros(shape, model.dtype)) for shape in shapes)
    real = np.zeros((batch, 1), np.int32)
    return FixedCache(layers, np.int32(0), real)  # of the type that calls return, so that a jitted step is traced once


def count_real_tokens(real: Array | None, attention_mask: Array | None, past_length: Array | int) -> Array | int:
    """Return the number of cached tokens that are not padding, [B, 1] where it differs between rows.

    `real` is what the cache counted by ids; without it a mask [B, T] decides.
    """
    if real is not None:
        return real
    none = isinstance(past_length, int) and past_length == 0
    if none or attention_mask is None or attention_mask.ndim != 2:
        return past_length
    before = (jnp.arange(attention_mask.shape[1]) < past_length)[None]
    attended = attention_mask.astype(jnp.float32) > 0  # it may be boolean
    return jnp.sum(attended & before, axis=1, keepdims=True, dtype=jnp.int32)


def pack_cache(layers: Cache, filled: Any, real: Array | int, new: Array) -> KeyValueCache | FixedCache:
    """Return the cache of a call that added tokens; `new` [B, S] tells which of them are not padding."""
    real = jnp.sum(new, axis=1, keepdims=True, dtype=jnp.int32) + real
    return KeyValueCache(layers, real) if filled is None else FixedCache(layers, filled + new.shape[1], real)
