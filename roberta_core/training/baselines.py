"""What a model has to beat: guessing the commonest token, and counting what stood between the same two neighbours.

Both are counted on the blocks that a model trains on, and see the same masked inputs: a neighbour may be `<mask>`,
which was never seen and so says nothing.

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

STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # what is tried for each of the two
SET_ASIDE = 100  # one block of so many is not counted, but tells which strengths are best
TRIED = 200  # blocks, at most


def count(data: MaskedBlocks, special: Collection[int]) -> dict[str, Predictor]:
    """The baselines by name, counted on the blocks of `data`; blocks set aside tell which strengths are best."""
    aside = np.arange(len(data)) % SET_ASIDE == SET_ASIDE - 1
    neighbours = NeighbourCounts.count(
        stream(dataclasses.replace(data, blocks=data.blocks[~aside])), data.masking.vocab_size
    )
    batches = list(dataclasses.replace(data, blocks=data.blocks[aside]).once(32, TRIED)) if aside.any() else []
    return {
        "commonest token": CommonestToken(neighbours.shares),
        "neighbour counts, added": fitted(neighbours, batches, special),
        "neighbour counts, multiplied": fitted(dataclasses.replace(neighbours, multiplied=True), batches, special),
    }


def fitted(neighbours: "NeighbourCounts", batches: list[Batch], special: Collection[int]) -> "NeighbourCounts":
    """The counts with the strengths that give the least loss on these batches."""
    if not batches:
        return neighbours
    return min(
        (
            dataclasses.replace(neighbours, pair_strength=pair, triple_strength=triple)
            for pair, triple in itertools.product(STRENGTHS, STRENGTHS)
        ),
        key=lambda tried: score(tried, batches, special).loss,
    )


def stream(data: MaskedBlocks) -> np.ndarray:
    """The blocks one after the other as the model sees them, unmasked: [T], each from `<s>` to `</s>`."""
    return np.concatenate([assemble(data.tokens, block, data.first, data.last) for block in data.blocks])


class Table:
    """How often each token stood in each context: sorted contexts, and under each its tokens and their counts."""

    def __init__(self, contexts: np.ndarray, middles: np.ndarray, vocab_size: int):
        keys, self.counts = np.unique(contexts * vocab_size + middles, return_counts=True)  # [E]
        self.contexts, self.middles = np.divmod(keys, vocab_size)

    def of(self, context: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens seen in a context and how often each."""
        begin, end = np.searchsorted(self.contexts, [context, context + 1])
        return self.middles[begin:end], self.counts[begin:end]

    def smoothed(self, context: int, prior: np.ndarray, strength: float) -> np.ndarray:
        """The distribution [V] in a context, a prior [V] counting as `strength` further observations (Dirichlet)."""
        middles, counts = self.of(context)
        mixed = strength * prior
        mixed[middles] += counts
        return mixed / (strength + counts.sum())


@dataclass
class CommonestToken:
    """Every position gets the shares of the tokens in the text, whatever stands beside it."""

    shares: np.ndarray  # [V]

    @classmethod
    def count(cls, tokens: np.ndarray, vocab_size: int) -> Self:
        """The shares in a stream [T], each token counted once more than it occurs."""
        counts = np.bincount(tokens, minlength=vocab_size) + 1.0
        return cls(counts / counts.sum())

    def __call__(self, batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The log-probabilities [M, V], all rows equal."""
        return np.broadcast_to(np.log(self.shares), (len(rows), len(self.shares)))


@dataclass
class NeighbourCounts:
    """The token between two others: counts of the three together, backed off to the pairs, and these to the shares.

    What the left neighbour and the right one say is averaged, or multiplied if `multiplied` (over the shares, as if the
    two were independent given the token); that is the prior of the counts of all three. The strengths say how many
    observations a prior is worth.
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
        """The counts of a stream [T]."""
        tokens = tokens.astype(np.int64)
        before, middle, after = tokens[:-2], tokens[1:-1], tokens[2:]
        return cls(
            CommonestToken.count(tokens, vocab_size).shares,
            Table(before, middle, vocab_size),
            Table(after, middle, vocab_size),
            Table(before * vocab_size + after, middle, vocab_size),
        )

    def between(self, before: int, after: int) -> np.ndarray:
        """The distribution [V] between two tokens."""
        from_left = self.left.smoothed(before, self.shares, self.pair_strength)
        from_right = self.right.smoothed(after, self.shares, self.pair_strength)
        prior = from_left * from_right / self.shares if self.multiplied else from_left + from_right
        return self.both.smoothed(before * len(self.shares) + after, prior / prior.sum(), self.triple_strength)

    def __call__(self, batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The log-probabilities [M, V]; what is at the edge of a block has itself for the neighbour that it lacks."""
        ids = np.pad(batch["input_ids"], ((0, 0), (1, 1)), mode="edge")
        pairs = zip(ids[rows, columns], ids[rows, columns + 2], strict=True)
        return np.log(np.stack([self.between(int(before), int(after)) for before, after in pairs]))
