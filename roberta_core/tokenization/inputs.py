"""The forms in which texts arrive: one text, a pair, a batch of either, and each of them split into words or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Text = str | Sequence[str]  # a text, or its words


class Samples(NamedTuple):
    """Texts, their second texts (None where there is one text alone), and whether they came as a batch."""

    first: list[Text]
    second: list[Text | None]
    batch: bool


def is_words(text: object) -> bool:
    """Whether it is a list or tuple of strings."""
    return isinstance(text, list | tuple) and all(isinstance(word, str) for word in text)


def read_samples(text: Any, pair: Any, words: bool) -> Samples:
    """Sort out what a caller gave. A batch may hold pairs (`[("a", "b"), ...]`) when no second argument is given.

    Raises ValueError for anything that is not text, and for batches of unequal length.
    """
    is_text = is_words if words else lambda value: isinstance(value, str)
    if is_text(text) and not (words and len(text) == 0 and isinstance(pair, list | tuple) and not is_words(pair)):
        if pair is not None and not is_text(pair):
            raise refusal("text_pair", pair, words)
        return Samples([text], [pair], batch=False)
    if not isinstance(text, list | tuple):
        raise refusal("text", text, words)
    if pair is None:
        both = [(item, None) if is_text(item) else split_pair(item, is_text, words) for item in text]
        return Samples([a for a, _ in both], [b for _, b in both], batch=True)
    if not isinstance(pair, list | tuple) or len(pair) != len(text):
        given = f"{len(pair)}" if isinstance(pair, list | tuple) else "one text"
        raise ValueError(f"a batch of {len(text)} texts needs as many second texts, not {given}")
    for name, batch in (("text", text), ("text_pair", pair)):
        for item in batch:
            if not is_text(item):
                raise refusal(name, item, words)
    return Samples(list(text), list(pair), batch=True)


def split_pair(item: Any, is_text: Any, words: bool) -> tuple[Text, Text]:
    """The two texts of a batch's item."""
    if isinstance(item, list | tuple) and len(item) == 2 and all(is_text(part) for part in item):
        return item[0], item[1]
    raise refusal("text", item, words)


def refusal(name: str, value: object, words: bool) -> ValueError:
    """What to raise for something that is no text."""
    expected = "a list of words, or a list of such lists" if words else "a string, or a list of strings or of pairs"
    return ValueError(f"{name} must be {expected}; got {type(value).__name__} {value!r:.60}")


def check_unicode(texts: Sequence[str]) -> None:
    """ValueError that names the first character that UTF-8 cannot hold: half of a surrogate pair."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            raise ValueError(f"character {error.start} of the text is the lone surrogate U+{code:04X}") from None
