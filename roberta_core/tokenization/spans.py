"""Which characters of a text a token stands for, once the blanks around it are taken off."""

from __future__ import annotations

from collections.abc import Container

from roberta_core.tokenization.byte_alphabet import BLANKS
from roberta_core.tokenization.rows import Pieces, Span


def settle(text: str, pieces: Pieces, moved: int, trim: bool, added: Container[int]) -> Pieces:
    """Tokens of a text that had `moved` blanks put before it, with spans of the text as it was.

    `trim` leaves out the blanks that a token begins or ends with: of a token of the vocabulary the spaces, of an added
    token every kind of blank. A token of blanks alone gets the empty span at its end.
    """
    spans = pieces.spans or []
    if trim:
        spans = [
            # Most tokens have one space before them, or none around them.
            span
            if text[span[0] : span[0] + 1] != " " != text[span[1] - 1 : span[1]] and index not in added
            else strip(text, *span, BLANKS if index in added else " ")
            for index, span in zip(pieces.ids, spans, strict=True)
        ]
    if moved:
        spans = [(max(start - moved, 0), max(stop - moved, 0)) for start, stop in spans]
    return Pieces(pieces.ids, spans, pieces.words)


def strip(text: str, start: int, stop: int, blanks: str) -> Span:
    """The span without the blanks at its ends."""
    part = text[start:stop].lstrip(blanks)
    start = stop - len(part)
    return start, start + len(part.rstrip(blanks))


def join_words(words: list[Pieces], *, traced: bool) -> Pieces:
    """The words of one text as one: spans stay relative to their word, as published."""
    ids = [index for word in words for index in word.ids]
    if not traced:
        return Pieces(ids)
    spans: list[Span] = [span for word in words for span in word.spans or ()]
    return Pieces(ids, spans, [number for number, word in enumerate(words) for _ in word.ids])
