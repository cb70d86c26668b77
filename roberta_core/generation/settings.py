"""How to decode: the published arguments of `generate`, checked on construction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig

# Arguments of the published classes that would change the text -> what to do instead.
UNSUPPORTED = {
    "assistant_model": "generate without it, which gives the same text",
    "custom_generate": "call your function with the model",
    "negative_prompt_ids": "combine the scores of both prompts in a logits_processor",
    "negative_prompt_attention_mask": "combine the scores of both prompts in a logits_processor",
    "synced_gpus": "call generate in each process, without waiting for the others",
    "use_model_defaults": "pass the options as arguments",
}
IGNORED = ("trace",)  # whether the published Flax classes compile the search
# Fields of a GenerationConfig that are no options of the search.
DESCRIPTIVE = ("decoder_start_token_id", "transformers_version", "_from_model_config", "_commit_hash")
DEFAULTED = ("min_new_tokens", "pad_token_id", "bos_token_id", "temperature", "top_p")  # None stands for the default
NUMBERS = ("temperature", "repetition_penalty", "top_p", "length_penalty")
FLAGS = ("do_sample", "early_stopping", "output_scores", "return_dict_in_generate", "use_cache")
DEFAULT_MAX_LENGTH = 20  # tokens, the prompt's included, where neither limit is given


@dataclass(frozen=True)
class Settings:
    """The arguments of `generate`; names and defaults are those of transformers 4.57.6.

    `max_length` counts the prompt, `max_new_tokens` does not and wins. `seed` makes sampling repeatable: the same
    seed gives the same text in every framework. `streamer` is called with the tokens [rows] of each step.
    `eos_token_id` may be several ids; `top_k` None or 0 keeps every token; a text without a prompt starts with
    `bos_token_id`. The last three are the caller's functions
    as `callbacks.wrap_callbacks` returns them.
    """

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = 50
    top_p: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    num_return_sequences: int = 1
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int = 1
    bos_token_id: int | None = None
    seed: int | Sequence[int] = 0
    output_scores: bool = False
    return_dict_in_generate: bool = False
    use_cache: bool = True
    streamer: Callable[[np.ndarray], Any] | None = None
    logits_processor: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    stopping_criteria: Callable[[np.ndarray, Any], np.ndarray] | None = None
    prefix_allowed_tokens_fn: Callable[[int, np.ndarray], Any] | None = None

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if name == "seed" and isinstance(value, list | tuple):
                value = min(value, default=-1)  # several numbers, as in the published TensorFlow classes
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")
        for name in NUMBERS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
                raise ValueError(f"{name} is {value!r:.80}; it must be a finite number")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool | int | np.bool_):
                raise ValueError(f"{name} is {getattr(self, name)!r:.80}; it must be True or False")
        for name in ("pad_token_id", "bos_token_id"):
            token = getattr(self, name)
            if token is not None and (isinstance(token, bool) or not isinstance(token, int | np.integer) or token < 0):
                raise ValueError(f"{name} is {token!r:.80}; it must be a token id")
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
        if self.stopping_criteria is not None and self.num_beams > 1:
            raise ValueError("stopping_criteria cannot be used with beams, which are compared when they have ended")
        for token in self.ends:
            if isinstance(token, bool) or not isinstance(token, int) or token < 0:
                raise ValueError(f"eos_token_id is {self.eos_token_id!r}; it must be one or several token ids, or None")

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text."""
        given: Any = self.eos_token_id
        if given is None:
            return ()
        given = given.tolist() if hasattr(given, "tolist") else given
        return tuple(given) if isinstance(given, Sequence) else (given,)

    def count_copies(self) -> int:
        """Return the rows of each prompt."""
        return self.num_beams if self.num_beams > 1 else self.num_return_sequences

    @classmethod
    def from_arguments(cls, config: RobertaConfig, arguments: dict[str, Any]) -> "Settings":
        """Return the settings of a call: its arguments, by default with the model's special tokens.

        Raises:
            TypeError: an argument does not exist.
        """
        known = {field.name for field in fields(cls)}
        given = read_options(arguments.get("generation_config"))
        check_options(given, "generation_config")
        given |= {name: value for name, value in arguments.items() if name not in ("generation_config", *IGNORED)}
        for name in UNSUPPORTED.keys() & given.keys():
            value = given.pop(name)
            if value is not None and value is not False:
                raise ValueError(f"{name}={value!r:.60} is not supported: {UNSUPPORTED[name]}.")
        unknown = sorted(set(given) - known)
        if unknown:
            raise TypeError(f"generate has no argument {', '.join(unknown)}")
        given = {name: value for name, value in given.items() if value is not None or name not in DEFAULTED}
        special = {name: getattr(config, name) for name in ("eos_token_id", "pad_token_id", "bos_token_id")}
        return cls(**{**special, **given})

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


def is_output_requested(arguments: Mapping[str, Any]) -> bool:
    """Return whether the arguments of `generate` request a `GenerateOutput` rather than the sequences."""
    name = "return_dict_in_generate"
    if name in arguments:
        return bool(arguments[name])
    config = arguments.get("generation_config")
    return bool(config.get(name) if isinstance(config, Mapping) else getattr(config, name, False))


def add_model_defaults(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of `generate`, with the model's defaults in its `generation_config`.

    Raises:
        TypeError: A generation configuration is of another type.
        ValueError: One has an option that `generate` lacks.
    """
    stored = model.generation_config
    own = read_options(stored)
    if stored is not None:
        # Also None, which means that no token ends a text; a missing padding token is that of the configuration.
        own["eos_token_id"] = stored.get("eos_token_id") if isinstance(stored, Mapping) else stored.eos_token_id
    check_options(own, "the model's generation_config")
    return {**arguments, "generation_config": {**own, **read_options(arguments.get("generation_config"))}}


def read_options(config: Any) -> dict[str, Any]:
    """Return the options of a `GenerationConfig` that differ from the defaults, or those of a dict.

    Raises:
        TypeError: It is something else.
    """
    if config is None:
        return {}
    read = getattr(config, "to_diff_dict", None)
    if read is None and not isinstance(config, Mapping):
        raise TypeError(f"generation_config must be a GenerationConfig or a dict, not {type(config).__name__}")
    return {name: value for name, value in dict(read() if read else config).items() if name not in DESCRIPTIVE}


def check_options(options: Mapping[str, Any], origin: str) -> None:
    """Raise `ValueError` for an option of a generation configuration that `generate` lacks."""
    known = {field.name for field in fields(Settings)}
    lacking = sorted(name for name in options if name not in known and name not in UNSUPPORTED)
    if lacking:
        raise ValueError(f"{origin} sets {', '.join(lacking)}, which generate lacks: remove it from the options")


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
