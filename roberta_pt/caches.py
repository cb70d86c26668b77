"""What a decoder keeps of the tokens that it has read, in PyTorch.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import torch
from torch import Tensor

from roberta_core.outputs import FixedCache

Cache = tuple[tuple[Tensor, ...], ...]


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
    kind = {"dtype": model.dtype, "device": model.device}
    return FixedCache(tuple((torch.zeros(shape, **kind), torch.zeros(shape, **kind)) for shape in shapes), 0)


def count_real_tokens(attention_mask: Tensor | None, past_length: Any) -> Tensor | int:
    """How many tokens of the past count for positions, for each row [B, 1] if the mask [B, T] tells: pads do not."""
    if not past_length or attention_mask is None or attention_mask.ndim != 2:
        return past_length
    before = torch.arange(attention_mask.shape[1], device=attention_mask.device) < past_length
    return ((attention_mask != 0) & before).sum(dim=1, keepdim=True)
