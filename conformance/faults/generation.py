"""Faults of generation: float64 decoders that do one step wrong, and ignored arguments.

Shapes: R rows, S tokens of a step, T tokens so far, V vocabulary, L layers, N heads, H head.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..oracle import Stages
from ..suite.generation import Float64Decoder, GenerationCase, generate_in_float64


class CacheOneStepLate(Float64Decoder):
    """Writes the previous token's key and value into the newest slot of the cache."""

    def update_cache(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """Return the cache with the newest slot written one step late."""

        def late(part: np.ndarray) -> np.ndarray:
            return np.concatenate([part[:, :, :-1], part[:, :, -2:-1]], axis=2)

        return [tuple(late(part) for part in layer) for layer in super().update_cache(stages, cache)]


class BeamsNotReordered(Float64Decoder):
    """Does not reorder the cache for the beams that continue."""

    def reorder(self, cache: Any, rows: np.ndarray) -> Any:
        """Return the cache unchanged."""
        return cache


class PaddingAttended(Float64Decoder):
    """Attends to left padding."""

    def mask(self, attention_mask: np.ndarray) -> np.ndarray:
        """Return a mask of ones."""
        return np.ones_like(attention_mask)


class PaddingCounted(Float64Decoder):
    """Counts left padding in the position ids."""

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """Return positions counted from the start of the row."""
        first = length - position_ids.shape[1] + 1 + self.model.config.pad_token_id
        return np.broadcast_to(np.arange(position_ids.shape[1]) + first, position_ids.shape)


class PositionsConstant(Float64Decoder):
    """Gives every new token the position of the prompt's last token."""

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """Return the last position of the prompt."""
        if position_ids.shape[1] > 1:
            self.last = position_ids[:, -1:]
            return position_ids
        return self.last


class KeysAsValues(Float64Decoder):
    """Stores keys in the place of values."""

    def update_cache(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """Return the cache with keys as values."""
        return [(key, key) for key, _ in super().update_cache(stages, cache)]


Generate = Callable[[GenerationCase], Stages | None]  # None if the fault changes nothing in the case


def decode_with(decoder: type[Float64Decoder]) -> Generate:
    """Generate with a cache, by a decoder that does one step wrong."""
    return lambda case: generate_in_float64(case, decoder(case), use_cache=True)


def set_argument(**changed: Any) -> Generate:
    """Generate with another value of an argument."""
    name = next(iter(changed))

    def generate(case: GenerationCase) -> Stages | None:
        if name not in case.arguments:
            return None
        return generate_in_float64(case, Float64Decoder(case), use_cache=True, **changed)

    return generate


GENERATION_FAULTS: dict[str, Generate] = {
    "cache written one step late": decode_with(CacheOneStepLate),
    "keys stored as values in the cache": decode_with(KeysAsValues),
    "cache not reordered for beams": decode_with(BeamsNotReordered),
    "left padding attended": decode_with(PaddingAttended),
    "left padding counted in positions": decode_with(PaddingCounted),
    "positions constant after the prompt": decode_with(PositionsConstant),
    "another seed": set_argument(seed=1),
    "temperature ignored": set_argument(temperature=1.0),
    "top_k ignored": set_argument(top_k=0),
    "top_p ignored": set_argument(top_p=1.0),
    "repetition_penalty ignored": set_argument(repetition_penalty=1.0),
    "no_repeat_ngram_size ignored": set_argument(no_repeat_ngram_size=0),
    "min_new_tokens ignored": set_argument(min_new_tokens=0),
}
