"""The key/value cache of a decoder, in PyTorch.

Shapes: B batch, S sequence, T cached tokens, N heads, H head.
"""

from typing import Any

import torch
from torch import Tensor

from roberta_core.outputs import FixedCache, KeyValueCache

Cache = tuple[tuple[Tensor, ...], ...]


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
    kind = {"dtype": model.dtype, "device": model.device}
    real = torch.zeros((batch, 1), dtype=torch.long, device=model.device)
    return FixedCache(tuple((torch.zeros(shape, **kind), torch.zeros(shape, **kind)) for shape in shapes), 0, real)


def count_real_tokens(real: Any, attention_mask: Tensor | None, past_length: Any) -> Tensor | int:
    """Return the number of cached tokens that are not padding, [B, 1] where it differs between rows.

    `real` is what the cache counted by ids; without it a mask [B, T] decides.
    """
    if real is not None:
        return real
    if not past_length or attention_mask is None or attention_mask.ndim != 2:
        return past_length
    before = torch.arange(attention_mask.shape[1], device=attention_mask.device) < past_length
    return ((attention_mask != 0) & before).sum(dim=1, keepdim=True)


def pack_cache(layers: Cache, filled: Any, real: Tensor | int, new: Tensor) -> KeyValueCache | FixedCache:
    """Return the cache of a call that added tokens; `new` [B, S] tells which of them are not padding."""
    real = new.sum(dim=1, keepdim=True) + real
    return KeyValueCache(layers, real) if filled is None else FixedCache(layers, filled + new.shape[1], real)
