"""How often the blocks of each corpus are used, when corpora are mixed with weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAW = 0x6D6978  # so that these numbers are not those of other draws with the same seed


@dataclass(frozen=True)
class Mixture:
    """A choice of blocks for each epoch: of a corpus with weight 2 each block twice, with weight 0.5 every second one.

    The blocks of a corpus take turns in random order: within a turn each is used once, and an epoch continues where the
    last one ended.

    Args:
        counts: the number of blocks of each corpus, which follow each other.
        weights: how often each corpus is used in an epoch.
        seed: determines the order.
    """

    counts: Sequence[int]
    weights: Sequence[float]
    seed: int

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """The number of blocks of each corpus in an epoch; at least one of a corpus that has any."""
        pairs = zip(self.counts, self.weights, strict=True)
        return [max(round(count * weight), 1) if count else 0 for count, weight in pairs]

    def draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the blocks of an epoch [N], and which turn of its corpus each is in [N]."""
        blocks, turns, first = [], [], 0
        for number, (count, size) in enumerate(zip(self.counts, self.sizes, strict=True)):
            places = np.arange(epoch * size, (epoch + 1) * size)
            for turn in np.unique(places // count) if count else ():
                own = places[places // count == turn] % count
                order = np.random.default_rng([self.seed, DRAW, number, int(turn)]).permutation(count)
                blocks.append(first + order[own])
                turns.append(np.full(len(own), turn))
            first += count
        return np.concatenate(blocks), np.concatenate(turns)
