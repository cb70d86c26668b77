"""Rows of any length through a model in batches without waste, over inputs larger than memory.

A window of rows is sorted by length and cut where the next row would break the budget of tokens, padding counted; the
results come back in the order of the inputs. Shapes: B batch, S sequence.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")

WINDOW = 2048  # rows that are sorted together
BUDGETS = (256, 512, 1024, 2048, 4096, 8192)  # tokens a batch that are tried
GAIN = 1.05  # a larger budget must be faster by that much: it takes more memory
TRIALS = 3
SIZES = (1, 2, 4, 8, 16, 32)  # of batches; above: multiples of the last


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Numbers of rows in batches of similar length, longest first, each of at most `budget` tokens, or of one row.

    The longest go first so that a batch that is too large for the memory is found out at once. Batches have few sizes,
    for a framework that compiles for each, and would fill up others: 400 sentences would be twice as many tokens.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = even(max(1, budget // max(1, lengths[order[0]])))
        yield order[:size]
        del order[:size]


def even(size: int) -> int:
    """The next of `SIZES` below or, beyond them, the next multiple of the last."""
    return size - size % SIZES[-1] if size > SIZES[-1] else max(step for step in SIZES if step <= size)


def through(
    rows: Iterable[Row],
    length: Callable[[Row], int],
    run: Callable[[list[Row]], Sequence[Result]],
    budget: int,
    window: int = WINDOW,
) -> Iterator[Result]:
    """`run`'s result for each row, in the order of the rows; no more than a window of them is held."""
    stream = iter(rows)
    while held := list(islice(stream, window)):
        results: list[Any] = [None] * len(held)
        for numbers in batches([length(row) for row in held], budget):
            for number, result in zip(numbers, run([held[number] for number in numbers]), strict=True):
                results[number] = result
        yield from results


def best_budget(run: Callable[[int, int], Any], length: int, budgets: Sequence[int] = BUDGETS) -> int:
    """The smallest of the budgets that keeps the machine busy: neither of the next two is 5% faster in tokens a second.

    `run(B, S)` is called a few times for each budget, with rows of the `length` that is to be expected. Which rows
    share a batch changes results by rounding only. Two are looked at, since one may meet a moment when the machine is
    busy.
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
