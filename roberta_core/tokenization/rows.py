"""Rows: tokenised texts, truncated, surrounded by special tokens and padded. The same for every tokenizer.

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
    """The token ids of a text, optionally with the characters (start, stop) and the word that each token comes from."""

    ids: list[int]
    spans: list[Span] | None = None
    words: Sequence[int | None] | None = None

    def part(self, start: int, stop: int) -> Pieces:
        """Return the tokens from `start` up to `stop`."""
        if start == 0 and stop == len(self.ids):
            return self
        spans = None if self.spans is None else self.spans[start:stop]
        words = None if self.words is None else self.words[start:stop]
        return Pieces(self.ids[start:stop], spans, words)


Types = tuple[tuple[list[int], ...], list[int]]


@dataclass(frozen=True, slots=True)
class Frame:
    """The ids of the special tokens before, between and after the texts of a row, and of the pad token.

    `single` is (before, after), `pair` is (before, between, after). `types` is None if every token type is 0; otherwise
    it has, for a single row and for a pair, the types of those parts and the type of each text.
    """

    single: tuple[list[int], ...]
    pair: tuple[list[int], ...]
    pad: int
    types: tuple[Types, Types] | None = None

    def count_special(self, pair: bool) -> int:
        """Return the number of special tokens around one text, or around a pair."""
        return sum(map(len, self.pair if pair else self.single))

    def join(self, first: Sequence[int], second: Sequence[int] | None) -> list[int]:
        """Return the ids of one or two texts with the special tokens around them."""
        if second is None:
            before, after = self.single
            return [*before, *first, *after]
        before, between, after = self.pair
        return [*before, *first, *between, *second, *after]


def build_roberta_frame(cls: int, sep: int, pad: int) -> Frame:
    """Return RoBERTa's special tokens: `<s> A </s>` and `<s> A </s></s> B </s>` (Liu et al. 2019, as in fairseq)."""
    return Frame(([cls], [sep]), ([cls], [sep, sep], [sep]), pad)


@dataclass(slots=True)
class Row:
    """One row of a batch: one or two texts, with or without special tokens, and the numbers of pads on each side."""

    sample: int  # the place in the batch of the text that it comes from
    first: Pieces
    second: Pieces | None
    frame: Frame
    add_special: bool
    left: int = 0
    right: int = 0

    def __len__(self) -> int:
        """Return the number of tokens without padding."""
        size = len(self.first.ids)
        if self.second is not None:
            size += len(self.second.ids)
        return size + self.frame.count_special(self.second is not None) if self.add_special else size

    def count_padded(self) -> int:
        """Return the number of tokens with padding."""
        return self.left + len(self) + self.right

    def join_ids(self) -> list[int]:
        """Return the token ids without padding."""
        second = None if self.second is None else self.second.ids
        return self.frame.join(self.first.ids, second) if self.add_special else [*self.first.ids, *(second or ())]

    def input_ids(self) -> list[int]:
        """Return the token ids [S]."""
        return self._padded(self.join_ids(), self.frame.pad)

    def attention_mask(self) -> list[int]:
        """Return 1 for tokens, 0 for padding [S]."""
        return self._padded([1] * len(self), 0)

    def type_ids(self) -> list[int]:
        """Return the token types [S]: zeros unless the tokenizer has others; RoBERTa has not."""
        if self.frame.types is None:
            return [0] * self.count_padded()
        marks, texts = self.frame.types[self.second is not None]
        return self.lay_out(*self._filled(texts[0], texts[-1]), marks, 0)

    def special_tokens_mask(self) -> list[int]:
        """Return 1 for the special tokens and the padding around the texts, otherwise 0 [S]."""
        return self.lay_out(*self._filled(0, 0), self._marks(1), 1)

    def sequence_ids(self) -> list[int | None]:
        """Return 0 for tokens of the first text, 1 for those of the second, None for the rest [S]."""
        return self.lay_out(*self._filled(0, 1), self._marks(None), None)

    def offsets(self) -> list[Span]:
        """Return the characters (start, stop) of each token [S, 2]."""
        first, second = self.first.spans or [], self.second and (self.second.spans or [])
        return self.lay_out(first, second, self._marks(NOWHERE), NOWHERE)

    def word_ids(self) -> list[int | None]:
        """Return the word of each token, None for special tokens and padding [S]."""
        first, second = self.first.words or [], self.second and (self.second.words or [])
        return self.lay_out(first, second, self._marks(None), None)

    def lay_out(self, first: Sequence[T], second: Sequence[T] | None, marks: Sequence[list[T]], pad: T) -> list[T]:
        """Return a whole row of values: of the texts' tokens, of the special tokens (`marks`) and of the padding."""
        texts: list[Sequence[T]] = [first] if second is None else [first, second]
        if not self.add_special:
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
        """Return the same value for every special token."""
        parts = self.frame.single if self.second is None else self.frame.pair
        return [[value] * len(part) for part in parts]

    def _filled(self, first: int, second: int) -> tuple[list, list | None]:
        return [first] * len(self.first.ids), None if self.second is None else [second] * len(self.second.ids)


# Column -> how a row gives it, in the published order.
COLUMNS = {
    "input_ids": Row.input_ids,
    "token_type_ids": Row.type_ids,
    "attention_mask": Row.attention_mask,
    "special_tokens_mask": Row.special_tokens_mask,
    "offset_mapping": Row.offsets,
    "length": Row.count_padded,
}


Texts = tuple[Pieces, Pieces | None]


def truncate_pair(texts: Texts, strategy: str, room: int, stride: int, *, left: bool, overflow: bool) -> list[Texts]:
    """Truncate one or two texts to `room` tokens; with `overflow`, also return rows of the tokens that were cut off.

    Overflowing rows have the size of the first and share `stride` tokens with their neighbour. If both texts overflow,
    every window of one is combined with every window of the other.

    Raises:
        ValueError: If the texts cannot be truncated to `room` tokens.
    """
    first, second = texts
    sizes = len(first.ids), len(second.ids) if second else 0
    if sum(sizes) <= room:
        return [texts]
    keeps = KEEP[strategy](sizes, room)
    stride = stride if overflow else 0
    firsts = [first.part(*part) for part in split_windows(sizes[0], keeps[0], stride, left=left, overflow=overflow)]
    if second is None:
        return [(part, None) for part in firsts]
    seconds = [second.part(*part) for part in split_windows(sizes[1], keeps[1], stride, left=left, overflow=overflow)]
    later = [(part, other) for part in firsts[1:] for other in seconds]
    return [(firsts[0], seconds[0]), *later, *((firsts[0], other) for other in seconds[1:])]


def split_windows(size: int, keep: int, stride: int, *, left: bool, overflow: bool) -> list[tuple[int, int]]:
    """Return parts (start, stop) of up to `keep` tokens, first the one that is kept; `left` cuts off the beginning."""
    if size <= keep:
        return [(0, size)]
    if not overflow:
        return [(size - keep, size) if left else (0, keep)]
    if keep == 0:
        raise ValueError(
            "no token of a text is kept, so return_overflowing_tokens cannot split the rest into rows of that size"
        )
    if stride >= keep:
        raise ValueError(f"stride {stride} must be below the {keep} tokens that a row keeps of a text")
    parts = [(0, keep)]
    while parts[-1][1] < size:
        start = parts[-1][0] + keep - stride
        parts.append((start, min(start + keep, size)))
    return [(size - stop, size - start) for start, stop in parts] if left else parts


def keep_longest_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """Cut tokens from the longer text; from the first if both are equally long and one more token has to go."""
    if sizes[0] <= sizes[1]:
        shorter = min(sizes[0], room // 2)
        return shorter, room - shorter
    shorter = min(sizes[1], room // 2)
    return room - shorter, shorter


def keep_only_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """Cut all tokens from the first text."""
    return _count_rest("first", sizes[0], sizes[1], room), sizes[1]


def keep_only_second(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """Cut all tokens from the second text."""
    return sizes[0], _count_rest("second", sizes[1], sizes[0], room)


def _count_rest(name: str, size: int, other: int, room: int) -> int:
    """Return the tokens left of one text, at least one, if the other is not truncated."""
    if size + other - room >= size:
        raise ValueError(
            f"truncation='only_{name}' is not enough: the {name} text has {size} tokens, the other one {other}, "
            f"and max_length leaves {room}"
        )
    return room - other


# strategy -> (sizes of both texts, room) -> the number of tokens that each keeps
KEEP = {"longest_first": keep_longest_first, "only_first": keep_only_first, "only_second": keep_only_second}
