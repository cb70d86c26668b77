"""Splitting a text: first at the tokens that were added to the vocabulary, then into words as GPT-2 does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from tokenizers import AddedToken

from roberta_core.tokenization import unicode_classes
from roberta_core.tokenization.byte_alphabet import BLANKS

Part = tuple[int, int, int | None]  # (start, stop) of the characters, and the id where it is an added token

# Radford et al. (2019), section 2.2, as their code has it: contractions, then letters, numbers or other signs with
# the blank before them, then blanks, of which the last is left to the word that follows.
WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?[{L}]+| ?[{N}]+| ?[^{S}{L}{N}]+|[{S}]+(?![^{S}])|[{S}]+"
ASCII_WORDS = re.compile(WORDS.format(L="A-Za-z", N="0-9", S=r"\t-\r "))


@cache
def all_words() -> re.Pattern[str]:
    """The words of any text; made when the first text needs it."""
    classes = unicode_classes.read()
    return re.compile(WORDS.format(L=classes["letters"], N=classes["numbers"], S=classes["blanks"]))


def words_of(text: str) -> re.Pattern[str]:
    """The pattern that finds the words of a text: the short one for ASCII, which is four times as fast."""
    return ASCII_WORDS if text.isascii() else all_words()


@cache
def word_character() -> re.Pattern[str]:
    """A character that belongs to a word, for tokens that stand for single words."""
    return re.compile(f"[{unicode_classes.read()['words']}]")


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
            if token.single_word and not stands_alone(text[start:stop], first - start, last - start):
                continue
            if token.lstrip:
                first = max(done, start + len(text[start:first].rstrip(BLANKS)))
            if token.rstrip:
                last = stop - len(text[last:stop].lstrip(BLANKS))
            if done < first:
                yield done, first, None
            yield first, last, index
            done = last
        if done < stop:
            yield done, stop, None


def stands_alone(text: str, start: int, stop: int) -> bool:
    """Whether no word continues on either side of text[start:stop]."""
    around = text[max(start - 1, 0) : start], text[stop : stop + 1]
    return not any(side and word_character().match(side) for side in around)
