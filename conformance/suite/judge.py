"""Compare an implementation's stages with the float64 model's.

The error of a stage is its largest absolute difference divided by its largest absolute value. Shapes are compared
first, and non-finite values fail, whatever the tolerance. If the expected rounding of a stage is known, the ratio of
the error to it is reported too.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """The result of comparing one stage; the errors are infinite if the values cannot be compared."""

    stage: str
    max_abs: float
    max_rel: float
    rtol: float
    complaint: str | None = None
    expected: float | None = None  # the error that rounding alone may cause

    @property
    def ratio(self) -> float | None:
        """The error divided by the expected rounding, if that is known."""
        return None if self.expected is None else self.max_rel / self.expected

    @property
    def ok(self) -> bool:
        """Whether the stage is within its tolerance."""
        return self.complaint is None


def compare(
    stage: str,
    got: np.ndarray | None,
    want: np.ndarray | None,
    rtol: float,
    least: float = 0.0,
    expected: float | None = None,
) -> Verdict:
    """Compare one stage; None is a missing stage.

    Args:
        stage: The name of the stage.
        got: The values of the implementation.
        want: The float64 values.
        rtol: The tolerance.
        least: A lower bound for the largest value, by which the error is divided.
        expected: The expected rounding of the stage, if it is known.
    """
    complaint = _incomparable(got, want)
    if got is None or want is None or complaint:
        return Verdict(stage, np.inf, np.inf, rtol, f"{stage}: {complaint}", expected)
    largest = max(float(np.abs(want).max(initial=0)), least)
    max_abs = float(np.abs(got.astype(np.float64) - want).max(initial=0))
    max_rel = max_abs / largest if largest else (np.inf if max_abs else 0.0)
    over = None if max_rel <= rtol else f"{stage}: error {max_rel:.2e} exceeds the tolerance {rtol:.0e}"
    if over and expected is not None:
        over += f" ({max_rel / expected:.1f} times the expected rounding)"
    return Verdict(stage, max_abs, max_rel, rtol, over, expected)


def compare_all(
    got: Mapping[str, np.ndarray],
    want: Mapping[str, np.ndarray],
    rtol: float | Mapping[str, float],
    stages: Iterable[str] = ("*",),
    expected: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Compare every stage that matches one of the patterns `stages`, in the order of `want`, then unexpected ones.

    Args:
        got: The stages of the implementation.
        want: The float64 stages.
        rtol: The tolerance of all stages, or of each.
        stages: Patterns of stages.
        expected: The expected rounding of each stage, if it is known.

    Raises:
        ValueError: If a pattern matches no stage, or there are no patterns.
    """
    patterns = list(stages)
    idle = [pattern for pattern in patterns if not fnmatch.filter(want, pattern)]
    if idle or not patterns:
        raise ValueError(
            f"no stage matches {', '.join(idle) or 'an empty list of patterns'}; the stages are {', '.join(want)}"
        )
    limits = rtol if isinstance(rtol, Mapping) else dict.fromkeys([*want, *got], rtol)
    rounding = expected or {}
    return [
        compare(stage, got.get(stage), want.get(stage), limits.get(stage, 0.0), expected=rounding.get(stage))
        for stage in _matching([*want, *got], patterns)
    ]


def judge(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float, stages: Iterable[str] = ("*",)
) -> list[Verdict]:
    """Compare like `compare_all`, but raise `AssertionError` naming the first stage that differs."""
    verdicts = compare_all(got, want, rtol, stages)
    first = first_failure(verdicts)
    if first is not None:
        raise AssertionError(first.complaint)
    return verdicts


def first_failure(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the first verdict that failed: the stage at which an implementation diverges."""
    return next((verdict for verdict in verdicts if not verdict.ok), None)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict with the largest error or ratio; a failed one comes before any that passed."""
    return max(verdicts, key=lambda verdict: (not verdict.ok, verdict.ratio or verdict.max_rel))


def merge(first: Iterable[Verdict], second: Iterable[Verdict]) -> list[Verdict]:
    """Return the worse of two verdicts on each stage, in the order of the first list, then those only in the second."""
    both = {verdict.stage: verdict for verdict in first}
    for verdict in second:
        both[verdict.stage] = worst([both.get(verdict.stage, verdict), verdict])
    return list(both.values())


def _matching(stages: Iterable[str], patterns: list[str]) -> Iterator[str]:
    """Yield each stage that matches a pattern, once."""
    return (stage for stage in dict.fromkeys(stages) if any(fnmatch.fnmatchcase(stage, one) for one in patterns))


def _incomparable(got: np.ndarray | None, want: np.ndarray | None) -> str | None:
    """Return why two arrays cannot be compared, or None."""
    if got is None:
        return "missing"
    if want is None:
        return "unexpected"
    if got.shape != want.shape:
        return f"shape {list(got.shape)}, expected {list(want.shape)}"
    if not np.isfinite(want).all():
        return "the expected values are not finite"
    if not np.isfinite(got.astype(np.float64)).all():
        return "not finite"
    return None
