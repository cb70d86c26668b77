"""Batches of features for training and evaluation, of one size each: few shapes suit compilers."""

from collections.abc import Iterator, Sequence

import numpy as np

from roberta_core.data.batches import Batch
from roberta_core.data.packing import shuffle_blocks
from roberta_core.tasks.base import Task
from roberta_core.tasks.features import Feature


class ShuffledFeatures:
    """Features in a new order in each epoch, rows of similar length together.

    A batch depends on its number alone, and has `size` rows: batches continue from epoch to epoch.

    Args:
        task: the task, which collates the features.
        features: the features.
        size: rows of a batch.
        seed: the seed of the order.
        shard: index of this process and number of processes, each of which gets its rows of the batch.
    """

    def __init__(self, task: Task, features: Sequence[Feature], size: int, seed: int, shard: tuple[int, int] = (0, 1)):
        self.task, self.features, self.size, self.seed, self.shard = task, features, size, seed, shard
        self.lengths = np.array([feature.length() for feature in features])
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, number: int) -> Batch:
        """Return this process's rows of batch `number`, counted from 0."""
        rows = []
        for place in range(number * self.size, (number + 1) * self.size):
            epoch, rank = divmod(place, len(self.features))
            if self._order[0] != epoch:
                self._order = (epoch, shuffle_blocks(self.lengths, self.seed, epoch, self.size))
            rows.append(self.features[self._order[1][rank]])
        whole, (part, parts) = self.task.collate(rows), self.shard
        own = slice(part * self.size // parts, (part + 1) * self.size // parts)
        return whole if parts == 1 else {name: array[own] for name, array in whole.items()}


def batch_features(task: Task, features: Sequence[Feature], size: int) -> Iterator[tuple[list[int], Batch]]:
    """Yield every feature once, longest first, as indices and batch; the last batch is filled with its last row."""
    places = sorted(range(len(features)), key=lambda place: -features[place].length())
    for start in range(0, len(places), size):
        chosen = places[start : start + size]
        rows = [features[place] for place in chosen]
        yield chosen, task.collate([*rows, *[rows[-1]] * (size - len(rows))])
