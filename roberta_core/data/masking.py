"""Dynamic masking as fairseq does it (its MaskTokensDataset): drawn anew in each epoch, from seed, epoch and index.

Of a sequence of n tokens, floor(0.15 n + u) positions are chosen, u uniform in [0, 1): all of them can be, `<s>` and
`</s>` too. Of these, 80% become `<mask>`, 10% stay and 10% become a random token, never one of the first four.
"""

from dataclasses import dataclass

import numpy as np

FIRST = 4  # <s>, <pad>, </s>, <unk>: never drawn as a random token


@dataclass(frozen=True)
class Masking:
    """How many tokens are chosen, and what becomes of them."""

    vocab_size: int
    mask_id: int
    rate: float = 0.15
    kept: float = 0.1
    random: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"the masking rate is {self.rate}; it must be between 0 and 1")
        if self.kept < 0 or self.random < 0 or self.kept + self.random > 1:
            raise ValueError(f"{self.kept} kept and {self.random} random tokens must not be negative nor exceed 1")
        if not FIRST <= self.mask_id < self.vocab_size:
            raise ValueError(f"the mask's id {self.mask_id} must be from {FIRST} to below {self.vocab_size}")

    def most(self, length: int) -> int:
        """The most positions that are ever chosen in a sequence of this length."""
        return int(self.rate * length + 1)

    def apply(self, ids: np.ndarray, seed: int, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The masked copy of ids [n] and the chosen positions, ascending; the labels are `ids[positions]`."""
        generator = np.random.default_rng([seed, epoch, index])
        count = int(self.rate * len(ids) + generator.random())
        positions = np.sort(generator.choice(len(ids), count, replace=False))
        draws = generator.random(count)
        tokens = generator.integers(FIRST, self.vocab_size, count)
        changed = np.where(draws < 1 - self.kept - self.random, self.mask_id, tokens)
        masked = ids.copy()
        masked[positions] = np.where(draws < 1 - self.kept, changed, ids[positions])
        return masked, positions
