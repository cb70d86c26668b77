"""Byte-pair encoding of one word: neighbours are joined, the pair of the best rank first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from roberta_core.tokenization.byte_alphabet import BYTE_TO_CHARACTER
from roberta_core.tokenization.vocabulary import Merge

LETTERS = {chr(byte): character for byte, character in BYTE_TO_CHARACTER.items()}
TO_ALPHABET = str.maketrans(LETTERS)


def letters(word: str) -> str:
    """A word's bytes in the alphabet of the vocabulary."""
    return word.encode("utf-8").decode("latin-1").translate(TO_ALPHABET)


def merge(word: str, ranks: Mapping[Merge, int]) -> list[str]:
    """The tokens of a word that is written in letters. Of pairs of one rank the leftmost is joined first.

    A heap keeps the pairs in order, so that a word of n letters takes n log n steps.
    """
    parts = list(word)
    size = len(parts)
    before, after = list(range(-1, size - 1)), list(range(1, size + 1))
    heap = [
        (rank, place) for place in range(size - 1) if (rank := ranks.get((parts[place], parts[place + 1]))) is not None
    ]
    heapq.heapify(heap)
    while heap:
        rank, place = heapq.heappop(heap)
        right = after[place]
        # The pair may be gone since it was found: a part of it was joined to another neighbour.
        if not parts[place] or right >= size or ranks.get((parts[place], parts[right])) != rank:
            continue
        parts[place] += parts[right]
        parts[right] = ""
        after[place] = after[right]
        if after[place] < size:
            before[after[place]] = place
        for left in (before[place], place):
            if left >= 0 and after[left] < size:
                found = ranks.get((parts[left], parts[after[left]]))
                if found is not None:
                    heapq.heappush(heap, (found, left))
    return [part for part in parts if part]
