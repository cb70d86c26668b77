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
from roberta_core.training.scores import score

STRENGTHS = (30.0, 100.0, 300.0, 1000.0)  # what is tried for each of the two
SET_ASIDE = 100  # one block of so many is not counted, but tells which strengths are best
TRIED = 200  # blocks, at most


def count(data: MaskedBlocks, special: Collection[int]) -> tuple["CommonestToken", "NeighbourCounts"]:
    """Both baselines, counted on the blocks of `data`; the strengths are the best ones on blocks set aside."""
    aside = np.arange(len(data)) % SET_ASIDE == SET_ASIDE - 1
    tokens = stream(dataclasses.replace(data, blocks=data.blocks[~aside]))
    vocab_size = data.masking.vocab_size
    neighbours = NeighbourCounts.count(tokens, vocab_size)
    if aside.any():
        batches = list(dataclasses.replace(data, blocks=data.blocks[aside]).once(32, TRIED))
        neighbours = min(
            (
                dataclasses.replace(neighbours, pair_strength=pair, triple_strength=triple)
                for pair, triple in itertools.product(STRENGTHS, STRENGTHS)
            ),
            key=lambda tried: score(tried, batches, special).loss,
        )
    return CommonestToken(neighbours.shares), neighbours


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

    The pairs' two distributions are multiplied, over the shares, and scaled to sum to 1 (as if the neighbours were
    independent given the token); that is the prior of the counts of all three.
    """

    shares: np.ndarray  # [V]
    left: Table
    right: Table
    both: Table
    pair_strength: float = 100.0
    triple_strength: float = 20.0

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
        product = from_left * from_right / self.shares
        return self.both.smoothed(before * len(self.shares) + after, product / product.sum(), self.triple_strength)

    def __call__(self, batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The log-probabilities [M, V]. A neighbour outside the block is `</s>`, as in the counted stream."""
        ids = np.pad(batch["input_ids"], ((0, 0), (1, 1)), mode="edge")
        pairs = zip(ids[rows, columns], ids[rows, columns + 2], strict=True)
        return np.log(np.stack([self.between(int(before), int(after)) for before, after in pairs]))
