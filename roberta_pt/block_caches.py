"""The caches of building blocks in PyTorch, which each block extends in place, as the published ones do.

Shapes: B batch, S sequence, T cached tokens, N heads, H head. Caches of transformers are accepted in their place.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from torch import Tensor

from roberta_pt.encoder import append_kv


class CachedLayer:
    """The keys and values [B, N, T, H] of one attention; None before the first call."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values


class DynamicCache:
    """Cache of building blocks, to which each layer appends its keys and values [B, N, T, H].

    Args:
        layers: The (key, value) of each layer to start with.
    """

    def __init__(self, layers: Iterable[tuple[Tensor, Tensor]] = ()):
        self.layers = [CachedLayer(*layer) for layer in layers]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, layer_idx: int) -> tuple[Tensor, Tensor]:
        keys, values = self.layers[layer_idx].keys, self.layers[layer_idx].values
        if keys is None or values is None:
            raise IndexError(f"the cache has no keys of layer {layer_idx}")
        return keys, values

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (self[index] for index in range(len(self)))

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values of a layer and return all of its keys and values.

        Args:
            key_states: [B, N, S, H].
            value_states: [B, N, S, H].
            layer_idx: The number of the layer.
            cache_kwargs: Part of the published signature, and ignored.
        """
        self.layers += [CachedLayer() for _ in range(layer_idx + 1 - len(self))]
        layer = self.layers[layer_idx]
        if layer.keys is None or layer.values is None:
            layer.keys, layer.values = key_states, value_states
        else:
            layer.keys, layer.values = append_kv((layer.keys, layer.values, None), key_states, value_states)
        return layer.keys, layer.values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of cached tokens of a layer."""
        keys = self.layers[layer_idx].keys if layer_idx < len(self) else None
        return 0 if keys is None else keys.shape[2]

    def to_legacy_cache(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return (key, value) of each layer."""
        return tuple(self)


class EncoderDecoderCache:
    """Cache of building blocks with cross-attention, whose keys are computed once.

    Args:
        self_attention_cache: The cache of the tokens.
        cross_attention_cache: The cache of the states of the encoder.
    """

    def __init__(self, self_attention_cache: DynamicCache, cross_attention_cache: DynamicCache):
        self.self_attention_cache, self.cross_attention_cache = self_attention_cache, cross_attention_cache
        self.is_updated = dict.fromkeys(range(len(cross_attention_cache)), True)

    @classmethod
    def from_legacy_cache(cls, past_key_values: Iterable[tuple[Tensor, ...]]) -> Self:
        """Return the cache of (key, value), or with the cross pair, of each layer."""
        layers: list[Any] = [tuple(layer) for layer in past_key_values]
        return cls(
            DynamicCache(layer[:2] for layer in layers), DynamicCache(layer[2:] for layer in layers if layer[2:])
        )

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __getitem__(self, layer_idx: int) -> tuple[Tensor, ...]:
        cross: Any = self.cross_attention_cache
        return self.self_attention_cache[layer_idx] + (cross[layer_idx] if layer_idx < len(cross) else ())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (self[index] for index in range(len(self)))

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of cached tokens of a layer."""
        return self.self_attention_cache.get_seq_length(layer_idx)

    def to_legacy_cache(self) -> tuple[tuple[Tensor, ...], ...]:
        """Return (key, value), or with the cross pair, of each layer."""
        return tuple(self)


def update_cache(
    cache: Any,
    layer_idx: int | None,
    is_cross_attention: bool,
    compute: Callable[[], tuple[Tensor, Tensor]],
    cache_position: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return all keys and values [B, N, T, H] of an attention of a building block, whose new ones are cached.

    Args:
        cache: A `DynamicCache` or `EncoderDecoderCache`, or one of transformers.
        layer_idx: The number of the layer.
        is_cross_attention: Whether the keys are those of an encoder, which are computed once.
        compute: Computes the keys and values to cache.
        cache_position: Passed on to caches of transformers.

    Raises:
        ValueError: The block has no `layer_idx`, or the cache is of another type.
    """
    if layer_idx is None:
        raise ValueError(
            "past_key_values requires a block with layer_idx: give its constructor the number of the layer"
        )
    part: Any = getattr(cache, "cross_attention_cache" if is_cross_attention else "self_attention_cache", None)
    if part is None and not is_cross_attention:
        part = cache
    if part is None or not hasattr(part, "update") or not hasattr(part, "get_seq_length"):
        wanted = "an EncoderDecoderCache" if is_cross_attention else "a DynamicCache or an EncoderDecoderCache"
        raise ValueError(f"past_key_values of this block must be {wanted}, not {type(cache).__name__}")
    if is_cross_attention and cache.is_updated.get(layer_idx):
        stored = part.layers[layer_idx]
        return stored.keys, stored.values
    position = None if is_cross_attention else cache_position
    keys, values = part.update(*compute(), layer_idx, {"cache_position": position})
    if is_cross_attention:
        cache.is_updated[layer_idx] = True
    return keys, values
