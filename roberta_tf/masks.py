"""Masks as the encoder takes them, in TensorFlow: what is added to the scores.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
"""

import tensorflow as tf

from roberta_core.config import RobertaConfig


def to_additive_mask(mask: tf.Tensor, embedded: tf.Tensor) -> tf.Tensor:
    """[B, T], [B, S, T] or [B, 1, S, T] of what to attend, as [B, 1, S or 1, T]: 0, or the minimum where it is 0."""
    if mask.shape.rank < 4:
        mask = tf.expand_dims(tf.expand_dims(mask, 1) if mask.shape.rank == 2 else mask, 1)
    return tf.where(tf.equal(mask, 0), embedded.dtype.min, tf.zeros((), embedded.dtype))


def combine_masks(
    config: RobertaConfig,
    mask: tf.Tensor | None,
    embedded: tf.Tensor,
    past_length: tf.Tensor | int,
    key_length: tf.Tensor | int,
) -> tf.Tensor | None:
    """The caller's mask, and for a decoder the causal one, as [B, 1, S or 1, T]; None where all is attended."""
    if not config.is_decoder:
        return None if mask is None else to_additive_mask(mask, embedded)
    queries, keys = (tf.range(size) for size in (tf.shape(embedded)[1], key_length))
    causal = keys <= queries[:, None] + past_length  # [S, T]
    if mask is None:
        return to_additive_mask(tf.cast(causal, tf.int32)[None], embedded)
    return tf.where(causal, to_additive_mask(mask, embedded), embedded.dtype.min)


def expand_head_mask(config: RobertaConfig, head_mask: tf.Tensor | None, embedded: tf.Tensor) -> tf.Tensor | None:
    """[N] or [L, N] as [L, 1, N, 1, 1]."""
    if head_mask is None:
        return None
    shape = (config.num_hidden_layers, config.num_attention_heads)
    return tf.broadcast_to(tf.cast(head_mask, embedded.dtype), shape)[:, None, :, None, None]
