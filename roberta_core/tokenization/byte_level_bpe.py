"""Byte-level BPE in Python: the byte alphabet, splitting a text into words, merging the letters of a word."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from functools import cache

from tokenizers import AddedToken

from roberta_core.tokenization import unicode_classes
from roberta_core.tokenization.vocabulary_files import Merge

# Bytes that print as themselves; the others are written as the characters from U+0100 upwards, in order.
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
HIDDEN = tuple(byte for byte in range(256) if byte not in PRINTABLE)

BYTE_TO_CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}

# Unicode's White_Space. Python's str.isspace also counts U+001C to U+001F, which the published splitter does not.
WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)


def token_to_bytes(token: str) -> bytes:
    """The bytes that a token stands for; one that is not written in the alphabet stands for its own UTF-8 bytes."""
    try:
        return bytes(CHARACTER_TO_BYTE[character] for character in token)
    except KeyError:
        return token.encode("utf-8")


LETTERS = {chr(byte): character for byte, character in BYTE_TO_CHARACTER.items()}
TO_ALPHABET = str.maketrans(LETTERS)


def to_byte_letters(word: str) -> str:
    """A word's bytes in the alphabet of the vocabulary."""
    return word.encode("utf-8").decode("latin-1").translate(TO_ALPHABET)


def merge_pairs(word: str, ranks: Mapping[Merge, int]) -> list[str]:
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


Part = tuple[int, int, int | None]  # (start, stop) of the characters, and the id where it is an added token

# Radford et al. (2019), section 2.2, as their code has it: contractions, then letters, numbers or other signs with
# the blank before them, then blanks, of which the last is left to the word that follows.
WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+"
ASCII_WORDS = re.compile(WORDS.format(L="A-Za-z", N="0-9", S=r"\t-\r "))


@cache
def compile_word_pattern() -> re.Pattern[str]:
    """The words of any text; made when the first text needs it."""
    classes = unicode_classes.read_classes()
    return re.compile(WORDS.format(L=classes["letters"], N=classes["numbers"], S=classes["blanks"]))


def select_word_pattern(text: str) -> re.Pattern[str]:
    """The pattern that finds the words of a text: the short one for ASCII, which is four times as fast."""
    return ASCII_WORDS if text.isascii() else compile_word_pattern()


@cache
def compile_word_character() -> re.Pattern[str]:
    """A character that belongs to a word, for tokens that stand for single words."""
    return re.compile(f"[{unicode_classes.read_classes()['words']}]")


class Finder:
    """Finds added tokens in a text, the longest first where several begin at one place."""

    def __init__(self, added: Mapping[int, AddedToken]) -> None:
        # As the library does it: what is not subject to normalisation is found first, the rest in between.
        self._passes = [
            Pass({index: token for index, token in added.items() if token.normalized == normalized})
            for normalized in (False, True)
            if any(token.normalized == normalized for token in added.values())
        ]

    def parts(self, text: str) -> list[Part]:
        """The parts of a text, in order and without gaps; none of them empty."""
        parts: list[Part] = [(0, len(text), None)] if text else []
        for one in self._passes:
            if not one.pattern.search(text):
                continue
            parts = [
                found
                for start, stop, index in parts
                for found in (one.parts(text, start, stop) if index is None else [(start, stop, index)])
            ]
        return parts


class Pass:
    """The tokens that are looked for at the same time."""

    def __init__(self, tokens: Mapping[int, AddedToken]) -> None:
        self.tokens = {token.content: (index, token) for index, token in tokens.items()}
        self.pattern = re.compile("|".join(map(re.escape, sorted(self.tokens, key=len, reverse=True))))

    def parts(self, text: str, start: int, stop: int) -> Iterator[Part]:
        """The parts of text[start:stop], split at the tokens with the blanks that they eat."""
        done = start
        for match in self.pattern.finditer(text, start, stop):
            index, token = self.tokens[match[0]]
            first, last = match.span()
            if token.single_word and not is_single_word(text[start:stop], first - start, last - start):
                continue
            if token.lstrip:
                first = max(done, start + len(text[start:first].rstrip(WHITESPACE)))
            if token.rstrip:
                last = stop - len(text[last:stop].lstrip(WHITESPACE))
            if done < first:
                yield done, first, None
            yield first, last, index
            done = last
        if done < stop:
            yield done, stop, None


def is_single_word(text: str, start: int, stop: int) -> bool:
    """Whether no word continues on either side of text[start:stop]."""
    around = text[max(start - 1, 0) : start], text[stop : stop + 1]
    return not any(side and compile_word_character().match(side) for side in around)
