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

    def count_special(self, pair: bool) -> int:
        """How many special tokens stand around one text, or around a pair."""
        return sum(map(len, self.pair if pair else self.single))

    def join(self, first: Sequence[int], second: Sequence[int] | None) -> list[int]:
        """The ids of one or two texts between the special tokens."""
        if second is None:
            before, after = self.single
            return [*before, *first, *after]
        before, between, after = self.pair
        return [*before, *first, *between, *second, *after]


def build_roberta_frame(cls: int, sep: int, pad: int) -> Frame:
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
        return size + self.frame.count_special(self.second is not None) if self.framed else size

    def count_padded(self) -> int:
        """The number of tokens with padding."""
        return self.left + len(self) + self.right

    def join_ids(self) -> list[int]:
        """Token ids without padding."""
        second = None if self.second is None else self.second.ids
        return self.frame.join(self.first.ids, second) if self.framed else [*self.first.ids, *(second or ())]

    def input_ids(self) -> list[int]:
        """Token ids [S]."""
        return self._padded(self.join_ids(), self.frame.pad)

    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding [S]."""
        return self._padded([1] * len(self), 0)

    def type_ids(self) -> list[int]:
        """Token types [S]: zeros where the frame knows no other, as RoBERTa's."""
        if self.frame.types is None:
            return [0] * self.count_padded()
        marks, texts = self.frame.types[self.second is not None]
        return self.lay_out(*self._filled(texts[0], texts[-1]), marks, 0)

    def special_tokens_mask(self) -> list[int]:
        """1 for the special tokens and the padding put around the texts, else 0 [S]."""
        return self.lay_out(*self._filled(0, 0), self._marks(1), 1)

    def sequence_ids(self) -> list[int | None]:
        """0 for tokens of the first text, 1 for those of the second, None for the rest [S]."""
        return self.lay_out(*self._filled(0, 1), self._marks(None), None)

    def offsets(self) -> list[Span]:
        """The characters (start, stop) that each token stands for [S, 2]."""
        first, second = self.first.spans or [], self.second and (self.second.spans or [])
        return self.lay_out(first, second, self._marks(NOWHERE), NOWHERE)

    def word_ids(self) -> list[int | None]:
        """The word that each token belongs to, None for special tokens and padding [S]."""
        first, second = self.first.words or [], self.second and (self.second.words or [])
        return self.lay_out(first, second, self._marks(None), None)

    def lay_out(self, first: Sequence[T], second: Sequence[T] | None, marks: Sequence[list[T]], pad: T) -> list[T]:
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
    "input_ids": Row.input_ids,
    "token_type_ids": Row.type_ids,
    "attention_mask": Row.attention_mask,
    "special_tokens_mask": Row.special_tokens_mask,
    "offset_mapping": Row.offsets,
    "length": Row.count_padded,
}


Texts = tuple[Pieces, Pieces | None]


def truncate_pair(texts: Texts, strategy: str, room: int, stride: int, *, left: bool, overflow: bool) -> list[Texts]:
    """The texts cut to `room` tokens together, followed by the rows that were cut off when `overflow` is wanted.

    Overflowing rows have the size of the first and share `stride` tokens with their neighbour; for two texts that both
    overflow every window of the one meets every window of the other. Raises ValueError where `room` cannot be met.
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
    """The parts (start, stop) of at most `keep` tokens, the one that is kept first; `left` cuts the beginning off."""
    if size <= keep:
        return [(0, size)]
    if not overflow:
        return [(size - keep, size) if left else (0, keep)]
    if keep == 0:
        raise ValueError("no token of a text is kept, so that what overflows cannot be cut into rows of that size")
    if stride >= keep:
        raise ValueError(f"stride {stride} must be below the {keep} tokens that a row keeps of a text")
    parts = [(0, keep)]
    while parts[-1][1] < size:
        start = parts[-1][0] + keep - stride
        parts.append((start, min(start + keep, size)))
    return [(size - stop, size - start) for start, stop in parts] if left else parts


def keep_longest_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """Token by token off the longer text; of two that meet at an odd number the first gives the last token up."""
    if sizes[0] <= sizes[1]:
        shorter = min(sizes[0], room // 2)
        return shorter, room - shorter
    shorter = min(sizes[1], room // 2)
    return room - shorter, shorter


def keep_only_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """All off the first text."""
    return _count_rest("first", sizes[0], sizes[1], room), sizes[1]


def keep_only_second(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """All off the second text."""
    return sizes[0], _count_rest("second", sizes[1], sizes[0], room)


def _count_rest(name: str, size: int, other: int, room: int) -> int:
    """What is left of the one text when the other stays whole: at least one token."""
    if size + other - room >= size:
        raise ValueError(
            f"truncation='only_{name}' cannot help: the {name} text has {size} tokens, the other one {other}, "
            f"and there is room for {room}"
        )
    return room - other


# strategy -> (sizes of both texts, room) -> how many tokens each keeps
KEEP = {"longest_first": keep_longest_first, "only_first": keep_only_first, "only_second": keep_only_second}
