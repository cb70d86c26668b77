"""What a decoder keeps of the tokens that it has read, in TensorFlow.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import tensorflow as tf

from roberta_core.outputs import FixedCache

Cache = tuple[tuple[tf.Tensor, ...], ...]


def unpack_cache(past_key_values: Any) -> tuple[Cache | None, Any]:
    """The cache as a tuple a layer, and how much of it is filled if its length is fixed."""
    if isinstance(past_key_values, FixedCache):
        return past_key_values
    return past_key_values or None, None


def make_cache(model: Any, batch: int, length: int) -> FixedCache:
    """A cache of a Model with room for `length` tokens: L of (key, value), each [B, N, T, H]."""
    heads = [layer.attention.self.heads for layer in model.encoder.layer]
    shapes = [(batch, count, length, model.config.head_size) for count in heads]
    zeros = tuple(tf.zeros(shape, model.compute_dtype) for shape in shapes)
    return FixedCache(tuple(zip(zeros, zeros, strict=True)), tf.constant(0))


def count_real_tokens(attention_mask: tf.Tensor | None, past_length: tf.Tensor | int) -> tf.Tensor | int:
    """How many tokens of the past count for positions, for each row [B, 1] if the mask [B, T] tells: pads do not."""
    if attention_mask is None or attention_mask.shape.rank != 2:
        return past_length
    before = tf.range(tf.shape(attention_mask)[1]) < past_length
    seen = tf.not_equal(attention_mask, 0) & before
    return tf.reduce_sum(tf.cast(seen, tf.int32), axis=1, keepdims=True)
