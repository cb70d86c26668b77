"""Masking: drawn in each epoch from seed, epoch and index (dynamic), or from a few copies (static).

Two published rules. fairseq's (its MaskTokensDataset, the default): of a sequence of n tokens, floor(0.15 n + u)
positions are chosen, u uniform in [0, 1): all of them can be, `<s>` and `</s>` too; a random token is never one of the
first four. transformers' (its collator): each token that is not special is chosen with probability 0.15; a random token
is any of the vocabulary. Of the chosen, 80% become `<mask>`, 10% stay and 10% become a random token.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

FIRST = 4  # <s>, <pad>, </s>, <unk>: never drawn as a random token by fairseq
FAIRSEQ, TRANSFORMERS = RULES = ("fairseq", "transformers")
DEVIATIONS = 6  # of the number that transformers' rule chooses: more are never kept, so that shapes stay few
WORD_START = "Ġ"  # how byte-level vocabularies write the space before a word


@dataclass(frozen=True)
class Masking:
    """How many tokens are chosen, and what becomes of them.

    Args:
        vocab_size: V.
        mask_id: id of `<mask>`.
        rate: share of the tokens that is chosen.
        kept: share of the chosen tokens that stay.
        random: share of the chosen tokens that become random tokens.
        rule: one of `RULES`.
        copies: static masking in so many ways, which the epochs take in turn (Liu et al. 2019, section 4.1: 10, for 40
            epochs); 0 for dynamic masking.
        starts: [V] whether a token begins a word: whole words are chosen until no further one fits into the number.
    """

    vocab_size: int
    mask_id: int
    rate: float = 0.15
    kept: float = 0.1
    random: float = 0.1
    rule: str = FAIRSEQ
    copies: int = 0
    starts: np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"the masking rate is {self.rate}; it must be between 0 and 1")
        if self.kept < 0 or self.random < 0 or self.kept + self.random > 1:
            raise ValueError(
                f"kept is {self.kept}, random is {self.random}; neither must be negative, nor their sum over 1"
            )
        if not FIRST <= self.mask_id < self.vocab_size:
            raise ValueError(f"the mask's id {self.mask_id} must be from {FIRST} to below {self.vocab_size}")
        if self.rule not in RULES:
            raise ValueError(f"the masking rule is {self.rule!r}; expected one of {', '.join(RULES)}")
        if self.copies < 0:
            raise ValueError(f"masking copies is {self.copies}; it must be at least 1, or 0 for dynamic masking")

    def most(self, length: int) -> int:
        """Return the most positions that are ever chosen in a sequence of this length."""
        if self.rule == FAIRSEQ:
            return int(self.rate * length + 1)
        spread = math.sqrt(length * self.rate * (1 - self.rate))
        return min(length, math.ceil(self.rate * length + DEVIATIONS * spread))

    def apply(self, ids: np.ndarray, seed: int, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the masked copy of ids [n] and the chosen positions, ascending; the labels are `ids[positions]`."""
        generator = np.random.default_rng([seed, epoch % self.copies if self.copies else epoch, index])
        positions = self._chosen(ids, generator)
        draws = generator.random(len(positions))
        lowest = FIRST if self.rule == FAIRSEQ else 0
        tokens = generator.integers(lowest, self.vocab_size, len(positions))
        changed = np.where(draws < 1 - self.kept - self.random, self.mask_id, tokens)
        masked = ids.copy()
        masked[positions] = np.where(draws < 1 - self.kept, changed, ids[positions])
        return masked, positions

    def _chosen(self, ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self.rule == FAIRSEQ and self.starts is None:
            count = int(self.rate * len(ids) + generator.random())
            return np.sort(generator.choice(len(ids), count, replace=False))
        able = np.arange(len(ids)) if self.rule == FAIRSEQ else np.flatnonzero(ids >= FIRST)
        if self.starts is not None:
            return self._words(ids, able, generator)
        found = able[generator.random(len(able)) < self.rate]
        return found[: self.most(len(ids))]

    def _words(self, ids: np.ndarray, able: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Choose whole words in random order, each that still fits into the number; a special token is a word.

        A word that never fits, such as a text without spaces, is chosen token by token.
        """
        assert self.starts is not None
        begins = self.starts[ids] | (ids < FIRST)
        begins |= np.concatenate([[True], ids[:-1] < FIRST])
        room, chosen = int(self.rate * len(able) + generator.random()), []
        words = np.cumsum(begins)
        begins |= np.bincount(words)[words] > room
        words = np.cumsum(begins)[able] - 1
        sizes = np.bincount(words, minlength=words[-1] + 1 if len(words) else 0)
        for word in generator.permutation(np.unique(words)):
            if sizes[word] <= room:
                chosen.append(word)
                room -= int(sizes[word])
            if not room:
                break
        return able[np.isin(words, chosen)]


def find_word_starts(vocabulary: Mapping[str, int], size: int) -> np.ndarray:
    """Return which tokens of a byte-level vocabulary begin a word [V]: those with the space before it (fairseq)."""
    starts = np.zeros(size, bool)
    for token, number in vocabulary.items():
        starts[number] = token.startswith(WORD_START)
    return starts
