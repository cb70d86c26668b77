"""The key/value cache of a decoder, in TensorFlow.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import tensorflow as tf

from roberta_core.outputs import FixedCache, KeyValueCache
from roberta_tf.layers import get_shape

Cache = tuple[tuple[tf.Tensor, ...], ...]


def unpack_cache(past_key_values: Any) -> tuple[Cache | None, Any, Any]:
    """Return the cache as a tuple for each layer, the filled length if it is fixed, and the real tokens of each row.

    Cache objects of transformers are accepted too, and an absent cross pair may be None.
    """
    if isinstance(past_key_values, FixedCache):
        return past_key_values
    real = past_key_values.real if isinstance(past_key_values, KeyValueCache) else None
    if not past_key_values:
        return None, None, None
    return tuple(tuple(part for part in layer if part is not None) for layer in past_key_values), None, real


def make_cache(model: Any, batch: int, length: int) -> FixedCache:
    """A cache of a Model with room for `length` tokens: L of (key, value), each [B, N, T, H]."""
    heads = [layer.attention.self.heads for layer in model.encoder.layer]
    shapes = [(batch, count, length, model.config.head_size) for count in heads]
    zeros = tuple(tf.zeros(shape, model.compute_dtype) for shape in shapes)
    return FixedCache(tuple(zip(zeros, zeros, strict=True)), tf.constant(0), tf.zeros((batch, 1), tf.int32))


def count_real_tokens(
    real: tf.Tensor | None, attention_mask: tf.Tensor | None, past_length: tf.Tensor | int
) -> tf.Tensor | int:
    """Return the number of cached tokens that are not padding, [B, 1] where it differs between rows.

    `real` is what the cache counted by ids; without it a mask [B, T] decides.
    """
    if real is not None:
        return real
    if attention_mask is None or attention_mask.shape.rank != 2:
        return past_length
    before = tf.range(tf.shape(attention_mask)[1]) < past_length
    seen = tf.not_equal(attention_mask, 0) & before
    return tf.reduce_sum(tf.cast(seen, tf.int32), axis=1, keepdims=True)


def pack_cache(layers: Cache, filled: Any, real: tf.Tensor | int, new: tf.Tensor) -> KeyValueCache | FixedCache:
    """Return the cache of a call that added tokens; `new` [B, S] tells which of them are not padding."""
    real = tf.reduce_sum(tf.cast(new, tf.int32), axis=1, keepdims=True) + real
    return KeyValueCache(layers, real) if filled is None else FixedCache(layers, filled + get_shape(new)[1], real)
