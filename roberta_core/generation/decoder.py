"""A `Decoder` over a framework's forward pass: prompts, masks and positions kept in NumPy.

Shapes: R rows, S tokens at a time, T room for all tokens, V vocabulary.
"""

from typing import Any, Protocol

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.generation.search import generate
from roberta_core.generation.settings import Settings
from roberta_core.outputs import GenerateOutput


class Forward(Protocol):
    """A framework's forward pass, which can continue from a cache of fixed length."""

    def init_cache(self, rows: int, length: int) -> Any:
        """Return an empty cache with room for `length` tokens."""
        ...

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """Return the last token's logits [R, V] and the cache with the new tokens, or None without a cache."""
        ...

    def reorder(self, cache: Any, rows: np.ndarray) -> Any:
        """Return these rows [R] of a cache."""
        ...


class CachedDecoder:
    """A decoder with a key/value cache: it reads each token once."""

    def __init__(self, forward: Forward, pad_token_id: int):
        self.forward, self.pad = forward, pad_token_id

    def start(self, input_ids: np.ndarray, attention_mask: np.ndarray, new_tokens: int) -> np.ndarray:
        """Read the prompts."""
        rows, length = input_ids.shape
        self.mask = np.ones((rows, length + new_tokens), attention_mask.dtype)
        self.mask[:, :length] = attention_mask
        positions = _positions(attention_mask, self.pad)
        self.next = positions[:, -1:] + 1
        return self._read(input_ids, positions, self.forward.init_cache(rows, length + new_tokens))

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Read one more token."""
        self.next, positions = self.next + 1, self.next
        return self._read(tokens[:, None], positions, self.cache)

    def reorder(self, rows: np.ndarray) -> None:
        """Continue with these rows; masks and positions are those of their prompt, which all its rows share."""
        self.cache = self.forward.reorder(self.cache, rows)

    def _read(self, input_ids: np.ndarray, positions: np.ndarray, cache: Any) -> np.ndarray:
        logits, self.cache = self.forward(input_ids, self.mask, positions, cache)
        return logits


class PlainDecoder:
    """A decoder without a cache: slow, and the reference for the other one."""

    def __init__(self, forward: Forward, pad_token_id: int):
        self.forward, self.pad = forward, pad_token_id

    def start(self, input_ids: np.ndarray, attention_mask: np.ndarray, new_tokens: int) -> np.ndarray:
        """Read the prompts."""
        self.ids, self.mask = input_ids, attention_mask
        return self.forward(self.ids, self.mask, _positions(self.mask, self.pad), None)[0]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Read all tokens and one more."""
        self.ids = np.concatenate([self.ids, tokens[:, None].astype(self.ids.dtype)], axis=1)
        self.mask = np.pad(self.mask, ((0, 0), (0, 1)), constant_values=1)
        return self.forward(self.ids, self.mask, _positions(self.mask, self.pad), None)[0]

    def reorder(self, rows: np.ndarray) -> None:
        """Continue with these rows."""
        self.ids = self.ids[rows]


def _positions(mask: np.ndarray, pad: int) -> np.ndarray:
    """Return positions: attended tokens count from pad + 1, the others have the pad's own position."""
    real = (mask != 0).astype(np.int64)
    return np.cumsum(real, axis=1) * real + pad


def choose_prompt(inputs: Any, input_ids: Any) -> Any:
    """Return the prompts, which have two published names; raise `ValueError` if both are given."""
    if inputs is not None and input_ids is not None:
        raise ValueError("specify inputs or input_ids, not both: they are two names of the prompts")
    return input_ids if inputs is None else inputs


def run(
    config: RobertaConfig,
    forward: Forward,
    input_ids: np.ndarray | None,
    attention_mask: np.ndarray | None,
    arguments: dict[str, Any],
) -> GenerateOutput:
    """Do what `generate` of every framework does: turn prompts [B, S] and its arguments into sequences.

    Without prompts, the beginning-of-sequence token is the prompt; without a mask, pads are not attended.

    Raises:
        ValueError: the model is not a decoder, or the options cannot be satisfied.
    """
    if not config.is_decoder:
        raise ValueError("generate needs a decoder: set is_decoder=True in the configuration")
    settings = Settings.from_arguments(config, arguments)
    if input_ids is None:
        if settings.bos_token_id is None:
            raise ValueError("generate needs a prompt: the configuration has no bos_token_id to start with")
        input_ids = np.array([[settings.bos_token_id]])
    mask = (input_ids != config.pad_token_id).astype(np.int64) if attention_mask is None else attention_mask
    decoder = (CachedDecoder if settings.use_cache else PlainDecoder)(forward, config.pad_token_id)
    return generate(decoder, input_ids, mask, settings, config.max_sequence_length)
