"""Masks as the encoder takes them, in PyTorch: what is added to the scores.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
"""

import numpy as np
import torch
from torch import Tensor

from roberta_core.config import RobertaConfig
from roberta_pt.weights import readable


def additive(mask: Tensor, embedded: Tensor) -> Tensor:
    """[B, T], [B, S, T] or [B, 1, S, T] of what to attend, as [B, 1, S or 1, T]: 0, or the minimum where it is 0."""
    if mask.ndim < 4:
        mask = mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]
    minimum = torch.finfo(embedded.dtype).min
    return torch.zeros(mask.shape, dtype=embedded.dtype, device=embedded.device).masked_fill(mask == 0, minimum)


def combined(
    config: RobertaConfig, mask: Tensor | None, embedded: Tensor, past_length: Tensor | int, key_length: int
) -> Tensor | None:
    """The caller's mask, and for a decoder the causal one, as [B, 1, S or 1, T]; None where all is attended."""
    mask = None if hides_nothing(mask) else mask
    if not config.is_decoder:
        return None if mask is None else additive(mask, embedded)
    queries, keys = (torch.arange(size, device=embedded.device) for size in (embedded.shape[1], key_length))
    causal = keys <= queries[:, None] + past_length  # [S, T]
    if mask is None:
        return additive(causal[None], embedded)
    return additive(mask, embedded).masked_fill(~causal, torch.finfo(embedded.dtype).min)


def hides_nothing(mask: Tensor | None) -> bool:
    """Whether a mask is known to hide nothing, without waiting for a device: the fused kernel is quicker without."""
    values = readable(mask)
    return isinstance(values, np.ndarray) and bool(values.all())


def head_masks(config: RobertaConfig, head_mask: Tensor | None, embedded: Tensor) -> Tensor | None:
    """[N] or [L, N] as [L, 1, N, 1, 1]."""
    if head_mask is None:
        return None
    shape = (config.num_hidden_layers, config.num_attention_heads)
    return head_mask.to(embedded.dtype).expand(shape)[:, None, :, None, None]
