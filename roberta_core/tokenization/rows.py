"""Rows: tokenised texts cut to a length, put between special tokens and padded. The same for every tokenizer.

Shapes: lists of length S, a row's sequence length, one list for each column of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Span = tuple[int, int]
NOWHERE: Span = (0, 0)  # the published offsets of special tokens and of padding


@dataclass(frozen=True, slots=True)
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


class Ends(NamedTuple):
    """The ids that stand around texts (`<s>`, `</s>`) and fill a row up (`<pad>`)."""

    cls: int
    sep: int
    pad: int


def frame(first: Sequence[T], second: Sequence[T] | None, start: T, end: T) -> list[T]:
    """`<s> A </s>` or `<s> A </s></s> B </s>`, with `start` for `<s>` and `end` for `</s>`."""
    if second is None:
        return [start, *first, end]
    return [start, *first, end, end, *second, end]


def frame_size(pair: bool) -> int:
    """How many special tokens `frame` adds."""
    return 4 if pair else 2


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: one or two texts, framed or bare, with `left` and `right` paddings."""

    sample: int  # the place of the text it was cut from
    first: Pieces
    second: Pieces | None
    ends: Ends
    framed: bool
    left: int = 0
    right: int = 0

    def __len__(self) -> int:
        """The number of tokens without padding."""
        bare = len(self.first.ids) + (len(self.second.ids) if self.second else 0)
        return bare + (frame_size(self.second is not None) if self.framed else 0)

    def lay(self, first: Sequence[T], second: Sequence[T] | None, start: T, end: T, pad: T) -> list[T]:
        """Values of the tokens as a whole row, with those given for special tokens and padding."""
        body = frame(first, second, start, end) if self.framed else [*first, *(second or ())]
        if self.left or self.right:
            return [pad] * self.left + body + [pad] * self.right
        return body

    def ids(self) -> list[int]:
        """Token ids [S]."""
        return self.lay(self.first.ids, self.second and self.second.ids, *self.ends)

    def attention(self) -> list[int]:
        """1 for tokens, 0 for padding [S]."""
        return [0] * self.left + [1] * len(self) + [0] * self.right

    def types(self) -> list[int]:
        """Zeros [S]: RoBERTa knows one token type."""
        return [0] * (self.left + len(self) + self.right)

    def specials(self) -> list[int]:
        """1 for the special tokens and the padding put around the texts, else 0 [S]."""
        return self.lay(*self._filled(0, 0), 1, 1, 1)

    def sequences(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for those of the second, None for the rest [S]."""
        return self.lay(*self._filled(0, 1), None, None, None)

    def spans(self) -> list[Span]:
        """The characters (start, stop) that each token stands for [S, 2]."""
        first, second = self.first.spans or [], self.second and (self.second.spans or [])
        return self.lay(first, second, NOWHERE, NOWHERE, NOWHERE)

    def words(self) -> list[int | None]:
        """The word that each token belongs to, None for special tokens and padding [S]."""
        first, second = self.first.words or [], self.second and (self.second.words or [])
        return self.lay(first, second, None, None, None)

    def size(self) -> int:
        """The number of tokens with padding."""
        return self.left + len(self) + self.right

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
