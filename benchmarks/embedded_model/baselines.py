"""Count-based baselines for masked-token prediction: the most frequent token, and counts given the two neighbours.

Both count tokens in the blocks that a model trains on, and receive the same masked inputs. A neighbour may itself be
`<mask>`, which never occurs in the counts and so carries no information.

Shapes: T tokens, E entries of a table, V vocabulary, M masked positions.
"""

import dataclasses
import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np

from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.data.packing import assemble
from roberta_core.tasks.metrics import Predictor, score

STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # candidates for each of the two strengths
SET_ASIDE = 100  # every so many blocks, one is not counted but used to choose the strengths
TRIED = 200  # maximum number of blocks to choose the strengths on


def fit_baselines(data: MaskedBlocks, special: Collection[int]) -> dict[str, Predictor]:
    """Return the baselines by name, counted on `data`; the strengths are chosen on blocks that are set aside."""
    aside = np.arange(len(data)) % SET_ASIDE == SET_ASIDE - 1
    neighbours = NeighbourCounts.count(
        join_blocks(dataclasses.replace(data, blocks=data.blocks[~aside])), data.masking.vocab_size
    )
    batches = list(dataclasses.replace(data, blocks=data.blocks[aside]).iterate(32, TRIED)) if aside.any() else []
    return {
        "most frequent token": CommonestToken(neighbours.shares),
        "neighbour counts, added": choose_strengths(neighbours, batches, special),
        "neighbour counts, multiplied": choose_strengths(
            dataclasses.replace(neighbours, multiplied=True), batches, special
        ),
    }


def choose_strengths(
    neighbours: "NeighbourCounts", batches: list[Batch], special: Collection[int]
) -> "NeighbourCounts":
    """Return the counts with the strengths of lowest loss on these batches."""
    if not batches:
        return neighbours
    return min(
        (
            dataclasses.replace(neighbours, pair_strength=pair, triple_strength=triple)
            for pair, triple in itertools.product(STRENGTHS, STRENGTHS)
        ),
        key=lambda tried: score(tried, batches, special).loss,
    )


def join_blocks(data: MaskedBlocks) -> np.ndarray:
    """Concatenate the unmasked blocks, each from `<s>` to `</s>`, to [T]."""
    return np.concatenate([assemble(data.tokens, block, data.first, data.last) for block in data.blocks])


class Table:
    """Counts of each token in each context, sorted by context."""

    def __init__(self, contexts: np.ndarray, middles: np.ndarray, vocab_size: int):
        keys, self.counts = np.unique(contexts * vocab_size + middles, return_counts=True)  # [E]
        self.contexts, self.middles = np.divmod(keys, vocab_size)

    def look_up(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens seen in a context and their counts."""
        begin, end = np.searchsorted(self.contexts, [context, context + 1])
        return self.middles[begin:end], self.counts[begin:end]

    def smooth(self, context: int, prior: np.ndarray, strength: float) -> np.ndarray:
        """Return the distribution [V] in a context; the prior [V] counts as `strength` observations (Dirichlet)."""
        middles, counts = self.look_up(context)
        mixed = strength * prior
        mixed[middles] += counts
        return mixed / (strength + counts.sum())


@dataclass
class CommonestToken:
    """Predictor that returns the relative frequencies of the tokens at every position."""

    shares: np.ndarray  # [V]

    @classmethod
    def count(cls, tokens: np.ndarray, vocab_size: int) -> Self:
        """Count the tokens [T], adding one to each count."""
        counts = np.bincount(tokens, minlength=vocab_size) + 1.0
        return cls(counts / counts.sum())

    def __call__(self, batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the log-probabilities [M, V], all rows equal."""
        return np.broadcast_to(np.log(self.shares), (len(rows), len(self.shares)))


@dataclass
class NeighbourCounts:
    """Predictor of the token between two neighbours from counts of triples, which back off to pairs and single tokens.

    The distributions given the left and the right neighbour are averaged, or multiplied if `multiplied` (and divided by
    the shares, as if the two were independent given the token); the result is the prior for the counts of the triple.
    The strengths are the number of observations that a prior counts as.
    """

    shares: np.ndarray  # [V]
    left: Table
    right: Table
    both: Table
    pair_strength: float = 100.0
    triple_strength: float = 20.0
    multiplied: bool = False

    @classmethod
    def count(cls, tokens: np.ndarray, vocab_size: int) -> Self:
        """Count the tokens [T]."""
        tokens = tokens.astype(np.int64)
        before, middle, after = tokens[:-2], tokens[1:-1], tokens[2:]
        return cls(
            CommonestToken.count(tokens, vocab_size).shares,
            Table(before, middle, vocab_size),
            Table(after, middle, vocab_size),
            Table(before * vocab_size + after, middle, vocab_size),
        )

    def predict_between(self, before: int, after: int) -> np.ndarray:
        """Return the distribution [V] between two tokens."""
        from_left = self.left.smooth(before, self.shares, self.pair_strength)
        from_right = self.right.smooth(after, self.shares, self.pair_strength)
        prior = from_left * from_right / self.shares if self.multiplied else from_left + from_right
        return self.both.smooth(before * len(self.shares) + after, prior / prior.sum(), self.triple_strength)

    def __call__(self, batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the log-probabilities [M, V]; at the edge of a block a token is its own missing neighbour."""
        ids = np.pad(batch["input_ids"], ((0, 0), (1, 1)), mode="edge")
        pairs = zip(ids[rows, columns], ids[rows, columns + 2], strict=True)
        return np.log(np.stack([self.predict_between(int(before), int(after)) for before, after in pairs]))
