"""What a caller may ask of an encoding, checked once at the door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from roberta_core.tokenization.rows import COLUMNS

UNLIMITED = int(1e30)  # the published model_max_length of a tokenizer that knows no limit
SIDES = ("right", "left")
TENSORS = ("np", "pt", "tf", "jax")

PADDING = {
    True: "longest",
    False: None,
    None: None,
    "longest": "longest",
    "max_length": "max_length",
    "do_not_pad": None,
}
TRUNCATION = {
    True: "longest_first",
    False: None,
    None: None,
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
    "do_not_truncate": None,
}


def choose(name: str, value: Any, known: Iterable[Any]) -> Any:
    """The value if it is among the known ones (an enumeration's member counts as its value), else ValueError."""
    value = getattr(value, "value", value)
    if not isinstance(value, str | bool | None) or value not in known:
        raise ValueError(f"{name} {value!r} is unknown; it may be {', '.join(map(repr, known))}")
    return value


@dataclass(frozen=True, slots=True)
class Options:
    """The checked wishes of one call. `length` is the row's limit in tokens, None where there is none."""

    padding: str | None
    padding_side: str
    multiple: int
    truncation: str | None
    truncation_side: str
    length: int | None
    stride: int
    framed: bool
    words: bool
    spaced: bool | None
    literal: bool
    overflow: bool
    columns: tuple[str, ...]
    tensors: str | None

    @property
    def traced(self) -> bool:
        """Whether the characters of each token are wanted."""
        return "offset_mapping" in self.columns


def lengths(
    padding: Any, truncation: Any, max_length: int | None, multiple: int | None, limit: int
) -> tuple[str | None, str | None, int | None, int]:
    """(padding, truncation, length, multiple) as they apply, from what was asked and the tokenizer's own limit.

    As published: `max_length` alone truncates, and truncation without any known limit leaves the text whole.
    """
    pad = PADDING[choose("padding", padding, PADDING)]
    asked = choose("truncation", truncation, TRUNCATION)
    strategy = TRUNCATION[asked]
    if asked is None and max_length is not None and pad is None:
        strategy = "longest_first"
    if max_length is not None:
        check_positive("max_length", max_length)
    if multiple is not None:
        check_positive("pad_to_multiple_of", multiple)
    length = max_length if max_length is not None else limit if limit < UNLIMITED else None
    if length is None and pad == "max_length":
        raise ValueError("padding='max_length' needs max_length: this tokenizer knows no limit of its own")
    if pad and strategy and length and length % (multiple or 1):
        raise ValueError(f"truncation to {length} tokens and pad_to_multiple_of {multiple} cannot both hold")
    return pad, strategy if length else None, length, multiple or 1


def check_positive(name: str, value: object) -> None:
    """ValueError unless the value is a whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}")


def read_options(
    defaults: Any,
    sizes: tuple[str | None, str | None, int | None, int],
    wanted: Mapping[str, bool | None],
    *,
    padding_side: str | None,
    stride: int,
    framed: bool,
    words: bool,
    spaced: bool | None,
    literal: bool | None,
    overflow: bool,
    tensors: str | None,
) -> Options:
    """The options of one call: `sizes` from `lengths`, what is None as the tokenizer (`defaults`) has it.

    Raises ValueError for a wish that is unknown.
    """
    padding, truncation, length, multiple = sizes
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 0:
        raise ValueError(f"stride must be 0 or more, not {stride!r}")
    asked = {name: name in defaults.model_input_names if value is None else value for name, value in wanted.items()}
    return Options(
        padding=padding,
        padding_side=choose("padding_side", padding_side or defaults.padding_side, SIDES),
        multiple=multiple,
        truncation=truncation,
        truncation_side=choose("truncation_side", defaults.truncation_side, SIDES),
        length=length,
        stride=stride,
        framed=framed,
        words=words,
        spaced=defaults.add_prefix_space if spaced is None else spaced,
        literal=defaults.split_special_tokens if literal is None else literal,
        overflow=overflow,
        columns=tuple(name for name in COLUMNS if asked.get(name, True)),
        tensors=None if tensors is None else choose("return_tensors", tensors, TENSORS),
    )
