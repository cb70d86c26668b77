"""Batches for masked-language-model training, each a function of its number alone.

Shapes: B batch, S sequence, K masked positions at most. Few shapes suit compilers: S is a multiple of 8, K is always
the same, and unused places among the K have position 0 and label -100.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roberta_core.data.masking import Masking
from roberta_core.data.mixing import Mixture
from roberta_core.data.packing import assemble, count_tokens, shuffle_blocks

IGNORED = -100
SAMPLE = 200  # blocks in which the rate of masking is measured
TOLERANCE = 0.2  # of the requested rate
STEP = 8  # S is a multiple of this

Batch = dict[str, np.ndarray]


@dataclass
class MaskedBlocks:
    """The blocks of a corpus, shuffled and masked differently in each epoch.

    Args:
        tokens: the ids of the corpus.
        blocks: where blocks start and stop (`packing.build_blocks`).
        masking: how they are masked.
        length: the largest S.
        seed: determines the order and the masks.
        first: id of `<s>`.
        last: id of `</s>`.
        pad: id of `<pad>`.
        shard: index of this process and number of processes; together their batches are one large batch, whose
            sequences and masks do not depend on the number of processes.
        mixture: which blocks an epoch has; by default each once.
    """

    tokens: np.ndarray
    blocks: np.ndarray
    masking: Masking
    length: int
    seed: int
    first: int = 0
    last: int = 2
    pad: int = 1
    shard: tuple[int, int] = (0, 1)
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        if not len(self.blocks):
            raise ValueError("the corpus fills no block")
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"shard is {self.shard}; the index must be from 0 to below the number of processes")
        self._order: tuple[int, int, np.ndarray, np.ndarray] = (-1, 0, np.empty(0, np.int64), np.empty(0, np.int64))

    def __len__(self) -> int:
        """Return the number of blocks in an epoch."""
        return len(self.blocks) if self.mixture is None else len(self.mixture)

    def batch(self, number: int, size: int) -> Batch:
        """Return batch `number` of `size` sequences; they continue from batch to batch and from epoch to epoch."""
        part, parts = self.shard
        begin, whole = number * parts * size, []  # the turn and the block of each sequence of the large batch
        for place in range(begin, begin + parts * size):
            epoch, rank = divmod(place, len(self))
            blocks, turns = self._ordered(epoch, size * parts)
            whole.append((int(turns[rank]), int(blocks[rank])))
        own = [self._masked(turn, index) for turn, index in whole[part * size : (part + 1) * size]]
        if parts == 1:
            return self.collate(own)
        return self.collate(own, max(len(self._assemble(index)) for _, index in whole))

    def iterate(self, size: int, limit: int | None = None, start: int = 0, step: int = 1) -> Iterator[Batch]:
        """Yield every block once in the order of the text, as masked in epoch 0; or only the first `limit` of them.

        Args:
            size: blocks per batch.
            limit: the most blocks.
            start: the number of the first batch.
            step: yield every so many batches, such as those of one of several processes.
        """
        count = len(self.blocks) if limit is None else min(limit, len(self.blocks))
        for first in range(start * size, count, size * step):
            yield self.collate([self._masked(0, index) for index in range(first, min(first + size, count))])

    def describe_masking_rate(self) -> str:
        """Return a sentence if the share of masked tokens is far from the requested one, else an empty string."""
        chosen = total = 0
        sample = min(SAMPLE, len(self.blocks))
        for index in np.linspace(0, len(self.blocks) - 1, sample).astype(int):
            ids, _, positions = self._masked(0, int(index))
            chosen, total = chosen + len(positions), total + len(ids)
        rate = self.masking.rate
        if abs(chosen - rate * total) <= max(TOLERANCE * rate * total, 1):
            return ""
        return (
            f"{chosen / total:.1%} of the tokens are masked instead of {rate:.1%} (in {sample} "
            "blocks): in most blocks the next whole word would be too many"
        )

    def collate(self, sequences: list[tuple[np.ndarray, np.ndarray, np.ndarray]], longest: int = 0) -> Batch:
        """Return `input_ids` and `attention_mask` [B, S], `masked_positions` and `masked_labels` [B, K], all int64.

        `longest` is the length of a longer sequence of another process, by which S is chosen.
        """
        size, most = len(sequences), self.masking.most(self.length)
        lengths = np.array([len(ids) for ids, _, _ in sequences])
        length = min(-(-max(int(lengths.max()), longest) // STEP) * STEP, self.length)
        input_ids = np.full((size, length), self.pad)
        positions, labels = np.zeros((size, most), np.int64), np.full((size, most), IGNORED)
        for row, (ids, masked, chosen) in enumerate(sequences):
            input_ids[row, : len(ids)] = masked
            positions[row, : len(chosen)] = chosen
            labels[row, : len(chosen)] = ids[chosen]
        return {
            "input_ids": input_ids,
            "attention_mask": (np.arange(length) < lengths[:, None]).astype(np.int64),
            "masked_positions": positions,
            "masked_labels": labels,
        }

    def _masked(self, turn: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ids = self._assemble(index)
        return ids, *self.masking.apply(ids, self.seed, turn, index)

    def _assemble(self, index: int) -> np.ndarray:
        return assemble(self.tokens, self.blocks[index], self.first, self.last)

    def _ordered(self, epoch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the blocks of an epoch in their order [N], and which time each is used [N], counted from 0."""
        if self._order[:2] != (epoch, size):
            if self.mixture is None:
                drawn, turns = np.arange(len(self.blocks)), np.full(len(self.blocks), epoch)
            else:
                drawn, turns = self.mixture.draw(epoch)
            order = shuffle_blocks(count_tokens(self.blocks)[drawn], self.seed, epoch, size)
            self._order = (epoch, size, drawn[order], turns[order])
        return self._order[2:]
