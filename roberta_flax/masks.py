"""Masks as the encoder takes them, in Flax: what is added to the scores.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
"""

import jax.numpy as jnp
from jax import Array

from roberta_core.config import RobertaConfig

NEVER = -1  # in a mask: a key that is not the caller's, from rounding sizes up (`compiled`); even a masked row skips it


def to_additive_mask(mask: Array, embedded: Array) -> Array:
    """[B, T], [B, S, T] or [B, 1, S, T] of what to attend, as [B, 1, S or 1, T]: 0, or the minimum where it is 0."""
    if mask.ndim < 4:
        mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
    minimum = jnp.finfo(embedded.dtype).min
    mask = mask.astype(jnp.int8)
    return jnp.where(mask == NEVER, -jnp.inf, jnp.where(mask == 0, minimum, 0)).astype(embedded.dtype)


def combine_masks(
    config: RobertaConfig, mask: Array | None, embedded: Array, past_length: Array | int, key_length: int
) -> Array | None:
    """The caller's mask, and for a decoder the causal one, as [B, 1, S or 1, T]; None where all is attended."""
    if not config.is_decoder:
        return None if mask is None else to_additive_mask(mask, embedded)
    queries, keys = jnp.arange(embedded.shape[1]), jnp.arange(key_length)
    causal = keys[None] <= queries[:, None] + past_length  # [S, T]
    if mask is None:
        return to_additive_mask(causal[None], embedded)
    return jnp.minimum(to_additive_mask(mask, embedded), to_additive_mask(causal[None], embedded))


def expand_head_mask(config: RobertaConfig, head_mask: Array | None, embedded: Array) -> Array | None:
    """[N] or [L, N] as [L, 1, N, 1, 1]."""
    if head_mask is None:
        return None
    shape = (config.num_hidden_layers, config.num_attention_heads)
    head_mask = head_mask if head_mask.ndim == 2 else head_mask[None]
    return jnp.broadcast_to(head_mask.astype(embedded.dtype), shape)[:, None, :, None, None]
