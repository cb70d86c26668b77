"""Arguments of a tokenizer call: the forms in which texts arrive, and the checked options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from roberta_core.tokenization.rows import COLUMNS

# Texts -----------------------------------------------------------------------------------------------------------

Text = str | Sequence[str]  # a text, or its words


class Samples(NamedTuple):
    """Texts, their second texts (None for a single text), and whether they were given as a batch."""

    first: list[Text]
    second: list[Text | None]
    batch: bool


def is_word_list(text: object) -> bool:
    """Whether a value is a list or tuple of strings."""
    return isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)


def sort_samples(text: Any, pair: Any, words: bool) -> Samples:
    """Sort the texts of a call into first and second ones.

    A batch may hold pairs (`[("a", "b"), ...]`) if there is no second argument.

    Raises:
        ValueError: If a value is not text, or the two batches differ in length.
    """
    is_text = is_word_list if words else lambda value: isinstance(value, str)
    if is_text(text) and not (words and len(text) == 0 and isinstance(pair, list | tuple) and not is_word_list(pair)):
        if pair is not None and not is_text(pair):
            raise build_type_error("text_pair", pair, words)
        return Samples([text], [pair], batch=False)
    if not isinstance(text, list | tuple):
        raise build_type_error("text", text, words)
    if pair is None:
        both = [(item, None) if is_text(item) else split_pair(item, is_text, words) for item in text]
        return Samples([a for a, _ in both], [b for _, b in both], batch=True)
    if not isinstance(pair, list | tuple) or len(pair) != len(text):
        given = f"{len(pair)}" if isinstance(pair, list | tuple) else "one text"
        raise ValueError(f"a batch of {len(text)} texts needs as many second texts, not {given}")
    for name, batch in (("text", text), ("text_pair", pair)):
        for item in batch:
            if not is_text(item):
                raise build_type_error(name, item, words)
    return Samples(list(text), list(pair), batch=True)


def split_pair(item: Any, is_text: Any, words: bool) -> tuple[Text, Text]:
    """Return the two texts of a batch's item."""
    if isinstance(item, list | tuple) and len(item) == 2 and all(is_text(part) for part in item):
        return item[0], item[1]
    raise build_type_error("text", item, words)


def build_type_error(name: str, value: object, words: bool) -> ValueError:
    """Build the error for a value that is not text."""
    expected = "a list of words, or a list of such lists" if words else "a string, or a list of strings or of pairs"
    return ValueError(f"{name} must be {expected}; got {type(value).__name__} {value!r:.60}")


def check_unicode(texts: Sequence[str]) -> None:
    """Raise ValueError that names the first lone surrogate: half of a surrogate pair, which UTF-8 cannot encode."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise ValueError(f"character {error.start} of the text is the lone surrogate U+{code:04X}") from None


# Options ---------------------------------------------------------------------------------------------------------

UNLIMITED = int(1e30)  # the published model_max_length of a tokenizer without a limit
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
    """Return the value if it is a known one (a member of an enumeration counts as its value), else raise ValueError."""
    value = getattr(value, "value", value)
    if not isinstance(value, str | bool | None) or value not in known:
        raise ValueError(f"{name} {value!r:.60} is unknown; it may be {', '.join(map(repr, known))}")
    return value


@dataclass(frozen=True, slots=True)
class Options:
    """The checked options of one call. `length` is the maximum length of a row in tokens, None if there is none."""

    padding: str | None
    padding_side: str
    multiple: int
    truncation: str | None
    truncation_side: str
    length: int | None
    stride: int
    add_special: bool
    words: bool
    prefix_space: bool | None
    split_special: bool
    overflow: bool
    columns: tuple[str, ...]
    tensors: str | None

    @property
    def with_spans(self) -> bool:
        """Whether the characters of each token are requested."""
        return "offset_mapping" in self.columns


def resolve_lengths(
    padding: Any, truncation: Any, max_length: int | None, multiple: int | None, limit: int
) -> tuple[str | None, str | None, int | None, int]:
    """Return (padding, truncation, length, multiple) for the arguments of a call and the tokenizer's own limit.

    As published, `max_length` alone truncates, and truncation without any limit leaves the text unchanged.
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
        raise ValueError("padding='max_length' needs max_length: this tokenizer has no limit of its own")
    if pad and strategy and length and length % (multiple or 1):
        raise ValueError(f"truncation to {length} tokens and pad_to_multiple_of {multiple} cannot both hold")
    return pad, strategy if length else None, length, multiple or 1


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless the value is an integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer above 0, not {value!r:.60}")


def build_options(
    defaults: Any,
    sizes: tuple[str | None, str | None, int | None, int],
    requested: Mapping[str, bool | None],
    *,
    padding_side: str | None,
    stride: int,
    add_special: bool,
    words: bool,
    prefix_space: bool | None,
    split_special: bool | None,
    overflow: bool,
    tensors: str | None,
) -> Options:
    """Build the options of one call: `sizes` from `resolve_lengths`, for None the value of the tokenizer (`defaults`).

    Raises:
        ValueError: If an option is unknown or out of range.
    """
    padding, truncation, length, multiple = sizes
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 0:
        raise ValueError(f"stride must be 0 or more, not {stride!r:.60}")
    asked = {name: name in defaults.model_input_names if value is None else value for name, value in requested.items()}
    return Options(
        padding=padding,
        padding_side=choose("padding_side", padding_side or defaults.padding_side, SIDES),
        multiple=multiple,
        truncation=truncation,
        truncation_side=choose("truncation_side", defaults.truncation_side, SIDES),
        length=length,
        stride=stride,
        add_special=add_special,
        words=words,
        prefix_space=defaults.add_prefix_space if prefix_space is None else prefix_space,
        split_special=bool(defaults.split_special_tokens if split_special is None else split_special),
        overflow=overflow,
        columns=tuple(name for name in COLUMNS if asked.get(name, True)),
        tensors=None if tensors is None else choose("return_tensors", tensors, TENSORS),
    )
