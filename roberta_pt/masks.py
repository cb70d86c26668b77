"""Masks as the encoder takes them, in PyTorch: what is added to the scores.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
"""

import numpy as np
import torch
from torch import Tensor

from roberta_core.config import RobertaConfig
from roberta_pt.weights import as_concrete


def to_additive_mask(mask: Tensor, embedded: Tensor) -> Tensor:
    """[B, T], [B, S, T] or [B, 1, S, T] of what to attend, as [B, 1, S or 1, T]: 0, or the minimum where it is 0."""
    if mask.ndim < 4:
        mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
    minimum = torch.finfo(embedded.dtype).min
    return torch.zeros(mask.shape, dtype=embedded.dtype, device=embedded.device).masked_fill(mask == 0, minimum)


def combine_masks(
    config: RobertaConfig, mask: Tensor | None, embedded: Tensor, past_length: Tensor | int, key_length: int
) -> Tensor | None:
    """The caller's mask, and for a decoder the causal one, as [B, 1, S or 1, T]; None where all is attended."""
    mask = None if is_all_visible(mask) else mask
    if not config.is_decoder:
        return None if mask is None else to_additive_mask(mask, embedded)
    queries, keys = (torch.arange(size, device=embedded.device) for size in (embedded.shape[1], key_length))
    causal = keys <= queries[:, None] + past_length  # [S, T]
    if mask is None:
        return to_additive_mask(causal[None], embedded)
    return to_additive_mask(mask, embedded).masked_fill(~causal, torch.finfo(embedded.dtype).min)


def is_all_visible(mask: Tensor | None) -> bool:
    """Whether a mask is known to hide nothing, without waiting for a device: the fused kernel is quicker without."""
    values = as_concrete(mask)
    return isinstance(values, np.ndarray) and bool(values.all())


def expand_head_mask(config: RobertaConfig, head_mask: Tensor | None, embedded: Tensor) -> Tensor | None:
    """[N] or [L, N] as [L, 1, N, 1, 1]."""
    if head_mask is None:
        return None
    shape = (config.num_hidden_layers, config.num_attention_heads)
    return head_mask.to(embedded.dtype).expand(shape)[:, None, :, None, None]
