"""Batches of rows of similar length within a budget of tokens, padding counted.

Shapes: B batch, S sequence.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

BUDGETS = (256, 512, 1024, 2048, 4096, 8192)  # tokens per batch that are tried
GAIN = 1.05  # a larger budget must be faster by that much: it takes more memory
TRIALS = 3
SIZES = (1, 2, 4, 8, 16, 32)  # of batches; above: multiples of the last


# Tokens per batch up to a number of cores: more of them need larger batches to be busy.
BUDGETS_BY_CORES = ((4, 512), (16, 1024), (64, 2048))
LARGEST = 4096


def choose_budget(cores: int | None = None) -> int:
    """Return the tokens per batch for a number of cores, by default those of this process, from a table."""
    if cores is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return next((budget for most, budget in BUDGETS_BY_CORES if cores <= most), LARGEST)


def plan_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield indices of rows in batches of similar length, longest first, each of at most `budget` tokens or one row.

    The longest go first so that a batch that is too large for the memory fails at once. Batches have few sizes, for
    frameworks that compile for each size.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = round_down(max(1, budget // max(1, lengths[order[0]])))
        yield order[:size]
        del order[:size]


def round_down(size: int) -> int:
    """Return the next of `SIZES` below or, beyond them, the next multiple of the last."""
    return size - size % SIZES[-1] if size > SIZES[-1] else max(step for step in SIZES if step <= size)


def find_budget(run: Callable[[int, int], Any], length: int, budgets: Sequence[int] = BUDGETS) -> int:
    """Return the smallest budget that saturates the machine: neither of the next two is 5% faster in tokens a second.

    Two are measured, since one may coincide with other load. Which rows share a batch changes results by rounding only.

    Args:
        run: called as `run(B, S)` a few times for each budget.
        length: the expected length of a row.
        budgets: tokens per batch that are tried, in ascending order.
    """
    best, rate, worse = budgets[0], 0.0, 0
    for budget in budgets:
        size = max(1, budget // length)
        run(size, length)  # compiles
        times = []
        for _ in range(TRIALS):
            begin = time.perf_counter()
            run(size, length)
            times.append(time.perf_counter() - begin)
        found = size * length / min(times)
        if found > rate * GAIN:
            best, rate, worse = budget, found, 0
        elif worse:
            break
        else:
            worse = 1
    return best
