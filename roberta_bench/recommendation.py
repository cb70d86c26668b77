"""Which of this project's implementations to use on this machine, by the measured times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from roberta_bench.harness import OURS, Result, is_ours, is_rounded

MATTERS = 1.05  # a speed below this, relative to the baseline's, is noise


@dataclass(frozen=True)
class Choice:
    """An implementation compared with the baseline.

    Attributes:
        name: Its name.
        speed: Its speed relative to the baseline's: the geometric mean over the shapes.
        slowest: The same at the shape where it gains least.
        error: The largest difference from the outputs of the first implementation in float32, relative to their
            largest value.
    """

    name: str
    speed: float
    slowest: float
    error: float

    def __str__(self) -> str:
        return f"{self.name}, {self.speed:.1f}x ({self.slowest:.1f}x at the slowest shape), error {self.error:.1e}"


@dataclass(frozen=True)
class Recommendation:
    """The fastest implementations.

    Attributes:
        baseline: The framework that the others are compared with: the first one in float32.
        fastest: The fastest of all, or None if it is the baseline.
        exact: The fastest in float32, or None if it is the baseline.
    """

    baseline: str
    fastest: Choice | None
    exact: Choice | None

    def __str__(self) -> str:
        if self.fastest is None:
            return f"on this machine: {self.baseline}; nothing else measured here is faster"
        first = f"on this machine: {self.fastest}, compared with {self.baseline}"
        if self.fastest == self.exact:
            return first
        rounded = "fewer bits can change predictions: evaluate the task before and after"
        return f"{first}\nin float32: {self.exact or self.baseline}; {rounded}"


def recommend(results: Sequence[Result]) -> Recommendation | None:
    """Return the fastest of this project's implementations; None if there is nothing to compare."""
    ours = [result for result in results if is_ours(result.name)]
    baseline = next((result for result in ours if result.name in OURS), None)
    if baseline is None or len(ours) < 2:
        return None
    choices = [_compare(result, baseline) for result in ours if result is not baseline]
    exact = [choice for choice in choices if not is_rounded(choice.name)]
    return Recommendation(baseline.name, _find_fastest(choices), _find_fastest(exact))


def _compare(result: Result, baseline: Result) -> Choice:
    ratios = [baseline.timings[shape].median / timing.median for shape, timing in result.timings.items()]
    return Choice(result.name, statistics.geometric_mean(ratios), min(ratios), result.error)


def _find_fastest(choices: Sequence[Choice]) -> Choice | None:
    """Return the fastest one that gains more than noise."""
    return max((choice for choice in choices if choice.speed >= MATTERS), key=lambda choice: choice.speed, default=None)
