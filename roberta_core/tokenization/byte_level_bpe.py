"""Byte-level BPE in Python: the byte alphabet, finding added tokens, splitting into words, merging a word's bytes."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from functools import cache

from tokenizers import AddedToken

from roberta_core.tokenization import unicode_classes
from roberta_core.tokenization.vocabulary_files import Merge

# The byte alphabet -----------------------------------------------------------------------------------------------

# GPT-2 writes each of the 256 bytes as one printable character. These bytes are printable themselves; the others are
# written as the characters from U+0100 upwards, in order.
PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
HIDDEN = tuple(byte for byte in range(256) if byte not in PRINTABLE)

BYTE_TO_CHARACTER = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(HIDDEN)}
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
TO_ALPHABET = str.maketrans({chr(byte): character for byte, character in BYTE_TO_CHARACTER.items()})

# Unicode's White_Space. Python's str.isspace also counts U+001C to U+001F, which the published splitter does not.
WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f"
    "\u205f\u3000"
)


def token_to_bytes(token: str) -> bytes:
    """Return the bytes of a token; a token that is not written in the byte alphabet has its own UTF-8 bytes."""
    try:
        return bytes(CHARACTER_TO_BYTE[character] for character in token)
    except KeyError:
        return token.encode("utf-8")


def to_byte_letters(word: str) -> str:
    """Return a word's UTF-8 bytes in the byte alphabet."""
    return word.encode("utf-8").decode("latin-1").translate(TO_ALPHABET)


# Added tokens ----------------------------------------------------------------------------------------------------

# The library panics on such a text.
OVERLAP = (
    "an added token of this text lies inside whitespace that the added token before it absorbs (rstrip), so the text "
    "cannot be split: remove lstrip from the former or rstrip from the latter"
)
Part = tuple[int, int, int | None]  # (start, stop) of the characters, and the id where it is an added token


class Finder:
    """Finds added tokens in a text; of several that begin at one place it takes the longest.

    With `split_special`, special tokens are part of the text: as in the library, they are matched and then ignored, so
    that a shorter added token inside one of them is not found either.
    """

    def __init__(self, added: Mapping[int, AddedToken], *, split_special: bool = False) -> None:
        # The library first finds tokens that are not subject to normalisation, then the others in between.
        self._passes = [
            Pass({index: token for index, token in added.items() if token.normalized == normalized}, split_special)
            for normalized in (False, True)
            if any(token.normalized == normalized for token in added.values())
        ]

    def find_parts(self, text: str) -> list[Part]:
        """Return the parts of a text, in order and without gaps; none of them is empty."""
        parts: list[Part] = [(0, len(text), None)] if text else []
        for one in self._passes:
            if not one.pattern.search(text):
                continue
            parts = [
                found
                for start, stop, index in parts
                for found in (one.find_parts(text, start, stop) if index is None else [(start, stop, index)])
            ]
        return parts


class Pass:
    """The added tokens that are looked for at the same time."""

    def __init__(self, tokens: Mapping[int, AddedToken], split_special: bool) -> None:
        self.tokens = {token.content: (index, token) for index, token in tokens.items()}
        self.split_special = split_special
        self.pattern = re.compile("|".join(map(re.escape, sorted(self.tokens, key=len, reverse=True))))

    def find_parts(self, text: str, start: int, stop: int) -> Iterator[Part]:
        """Yield the parts of text[start:stop], split at the tokens with the whitespace that they absorb."""
        done = start
        for match in self.pattern.finditer(text, start, stop):
            index, token = self.tokens[match[0]]
            first, last = match.span()
            if self.split_special and token.special:
                continue
            if token.single_word and not is_single_word(text[start:stop], first - start, last - start):
                continue
            if token.lstrip:
                first = max(done, start + len(text[start:first].rstrip(WHITESPACE)))
            if token.rstrip:
                last = stop - len(text[last:stop].lstrip(WHITESPACE))
            if first > last:
                raise ValueError(OVERLAP)
            if first == last:  # whitespace that the token before has absorbed
                done = last
                continue
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


# Words -----------------------------------------------------------------------------------------------------------

# Radford et al. (2019), section 2.2, as in their code: contractions, then letters, numbers or other characters with the
# space before them, then whitespace, whose last character is left to the word that follows.
WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+"
ASCII_WORDS = re.compile(WORDS.format(L="A-Za-z", N="0-9", S=r"\t-\r "))


@cache
def compile_word_pattern() -> re.Pattern[str]:
    """Return the pattern that finds the words of any text, compiled when the first text needs it."""
    classes = unicode_classes.read_classes()
    return re.compile(WORDS.format(L=classes["letters"], N=classes["numbers"], S=classes["whitespace"]))


def select_word_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern that finds the words of a text: for ASCII a short one, which is four times as fast."""
    return ASCII_WORDS if text.isascii() else compile_word_pattern()


@cache
def compile_word_character() -> re.Pattern[str]:
    """Return the pattern of a character that belongs to a word, for added tokens with `single_word`."""
    return re.compile(f"[{unicode_classes.read_classes()['words']}]")


# Merges ----------------------------------------------------------------------------------------------------------


def merge_pairs(word: str, ranks: Mapping[Merge, int]) -> list[str]:
    """Return the tokens of a word in the byte alphabet: neighbours are merged, the pair of the lowest rank first.

    Of pairs with the same rank the leftmost is merged first. A heap keeps the pairs in order, so that a word of n
    letters takes O(n log n) steps.
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
        # The pair may be gone since it was found: one of its parts was merged with its other neighbour.
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
