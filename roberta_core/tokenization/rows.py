"""Rows: tokenised texts cut to a length, put between special tokens and padded. The same for every tokenizer.

Shapes: B rows of a batch, S a row's sequence length. Columns are lists of length S, one for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Span = tuple[int, int]
NOWHERE: Span = (0, 0)  # the published offsets of special tokens and of padding


@dataclass(slots=True)
class Pieces:
    """A text as token ids; when traced, with the characters (start, stop) and the word that each token comes from."""

    ids: list[int]
    spans: list[Span] | None = None
    words: Sequence[int | None] | None = None

    def part(self, start: int, stop: int) -> Pieces:
        """The tokens from `start` up to `stop`."""
        if start == 0 and stop == len(self.ids):
            return self
        spans = None if self.spans is None else self.spans[start:stop]
        words = None if self.words is None else self.words[start:stop]
        return Pieces(self.ids[start:stop], spans, words)


Types = tuple[tuple[list[int], ...], list[int]]


@dataclass(frozen=True, slots=True)
class Frame:
    """The ids of the special tokens before, between and after the texts of a row, and of the one that fills it up.

    `single` is (before, after), `pair` is (before, between, after). `types` is None where every token type is 0, else
    for a single row and for a pair the types of those parts and the type of each text.
    """

    single: tuple[list[int], ...]
    pair: tuple[list[int], ...]
    pad: int
    types: tuple[Types, Types] | None = None

    def size(self, pair: bool) -> int:
        """How many special tokens stand around one text, or around a pair."""
        return sum(map(len, self.pair if pair else self.single))

    def around(self, first: Sequence[int], second: Sequence[int] | None) -> list[int]:
        """The ids of one or two texts between the special tokens."""
        if second is None:
            before, after = self.single
            return [*before, *first, *after]
        before, between, after = self.pair
        return [*before, *first, *between, *second, *after]


def published(cls: int, sep: int, pad: int) -> Frame:
    """RoBERTa's frame: `<s> A </s>` and `<s> A </s></s> B </s>` (Liu et al. 2019, as fairseq has it)."""
    return Frame(([cls], [sep]), ([cls], [sep, sep], [sep]), pad)


@dataclass(slots=True)
class Row:
    """One row of a batch: one or two texts, framed or bare, with `left` and `right` paddings."""

    sample: int  # the place of the text it was cut from
    first: Pieces
    second: Pieces | None
    frame: Frame
    framed: bool
    left: int = 0
    right: int = 0

    def __len__(self) -> int:
        """The number of tokens without padding."""
        size = len(self.first.ids)
        if self.second is not None:
            size += len(self.second.ids)
        return size + self.frame.size(self.second is not None) if self.framed else size

    def size(self) -> int:
        """The number of tokens with padding."""
        return self.left + len(self) + self.right

    def body(self) -> list[int]:
        """Token ids without padding."""
        second = None if self.second is None else self.second.ids
        return self.frame.around(self.first.ids, second) if self.framed else [*self.first.ids, *(second or ())]

    def ids(self) -> list[int]:
        """Token ids [S]."""
        return self._padded(self.body(), self.frame.pad)

    def attention(self) -> list[int]:
        """1 for tokens, 0 for padding [S]."""
        return self._padded([1] * len(self), 0)

    def types(self) -> list[int]:
        """Token types [S]: zeros where the frame knows no other, as RoBERTa's."""
        if self.frame.types is None:
            return [0] * self.size()
        marks, texts = self.frame.types[self.second is not None]
        return self.lay(*self._filled(texts[0], texts[-1]), marks, 0)

    def specials(self) -> list[int]:
        """1 for the special tokens and the padding put around the texts, else 0 [S]."""
        return self.lay(*self._filled(0, 0), self._marks(1), 1)

    def sequences(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for those of the second, None for the rest [S]."""
        return self.lay(*self._filled(0, 1), self._marks(None), None)

    def spans(self) -> list[Span]:
        """The characters (start, stop) that each token stands for [S, 2]."""
        first, second = self.first.spans or [], self.second and (self.second.spans or [])
        return self.lay(first, second, self._marks(NOWHERE), NOWHERE)

    def words(self) -> list[int | None]:
        """The word that each token belongs to, None for special tokens and padding [S]."""
        first, second = self.first.words or [], self.second and (self.second.words or [])
        return self.lay(first, second, self._marks(None), None)

    def lay(self, first: Sequence[T], second: Sequence[T] | None, marks: Sequence[list[T]], pad: T) -> list[T]:
        """Values of the texts' tokens as a whole row, with those given for the special tokens and the padding."""
        texts: list[Sequence[T]] = [first] if second is None else [first, second]
        if not self.framed:
            return self._padded([value for text in texts for value in text], pad)
        body = [*marks[0]]
        for text, mark in zip(texts, marks[1:], strict=True):
            body += text
            body += mark
        return self._padded(body, pad)

    def _padded(self, body: list[T], pad: T) -> list[T]:
        if self.left or self.right:
            return [pad] * self.left + body + [pad] * self.right
        return body

    def _marks(self, value: Any) -> list[list[Any]]:
        """The same value for every special token."""
        parts = self.frame.single if self.second is None else self.frame.pair
        return [[value] * len(part) for part in parts]

    def _filled(self, first: int, second: int) -> tuple[list, list | None]:
        return [first] * len(self.first.ids), None if self.second is None else [second] * len(self.second.ids)


# What a batch can hold -> how a row gives it, in the published order.
COLUMNS = {
    "input_ids": Row.ids,
    "token_type_ids": Row.types,
    "attention_mask": Row.attention,
    "special_tokens_mask": Row.specials,
    "offset_mapping": Row.spans,
    "length": Row.size,
}
