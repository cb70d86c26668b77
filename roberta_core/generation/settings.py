"""How to decode: the published arguments of `generate`, checked on construction."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig

DEFAULT_MAX_LENGTH = 20  # tokens, the prompt's included, where neither limit is given


@dataclass(frozen=True)
class Settings:
    """The arguments of `generate`; names and defaults are those of transformers 4.57.6.

    `max_length` counts the prompt, `max_new_tokens` does not and wins. `seed` makes sampling repeatable: the same
    seed gives the same text in every framework. `streamer` is called with the tokens [rows] of each step.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    num_return_sequences: int = 1
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    eos_token_id: int | None = None
    pad_token_id: int = 1
    seed: int = 0
    output_scores: bool = False
    return_dict_in_generate: bool = False
    use_cache: bool = True
    streamer: Callable[[np.ndarray], Any] | None = None

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")
        for name in ("temperature", "repetition_penalty"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p!r}; it must be above 0 and at most 1")
        if self.do_sample and self.num_beams > 1:
            raise ValueError(f"num_beams is {self.num_beams} and do_sample is set: beam search does not sample")
        rows = self.num_return_sequences
        if rows > 1 and not self.do_sample and rows > self.num_beams:
            raise ValueError(f"num_return_sequences is {rows}, which needs do_sample or as many num_beams")
        if self.streamer is not None and self.num_beams > 1:
            raise ValueError("a streamer cannot be used with beams, which are known only at the end")

    @classmethod
    def from_arguments(cls, config: RobertaConfig, arguments: dict[str, Any]) -> "Settings":
        """Return the settings of a call: its arguments, by default with the model's special tokens.

        Raises:
            TypeError: an argument does not exist.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(arguments) - known)
        if unknown:
            raise TypeError(f"generate has no argument {', '.join(unknown)}")
        special = {"eos_token_id": config.eos_token_id, "pad_token_id": config.pad_token_id}
        return cls(**{**special, **arguments})

    def count_new_tokens(self, prompt: int, longest: int) -> int:
        """Return how many tokens to add to a prompt of that length; raise `ValueError` if the model has no room."""
        if self.max_new_tokens is not None:
            made = self.max_new_tokens
        else:
            length = DEFAULT_MAX_LENGTH if self.max_length is None else self.max_length
            made = length - prompt
            if made < 1:
                raise ValueError(f"the prompt has {prompt} tokens and max_length is {length}: no room for a new token")
        if prompt + made > longest:
            raise ValueError(
                f"a prompt of {prompt} tokens and {made} new ones exceed the {longest} tokens that this model accepts"
            )
        return made


LEAST = {
    "max_length": 1,
    "max_new_tokens": 1,
    "min_new_tokens": 0,
    "top_k": 0,
    "num_beams": 1,
    "num_return_sequences": 1,
    "no_repeat_ngram_size": 0,
    "seed": 0,
}
