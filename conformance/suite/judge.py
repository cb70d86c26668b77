"""Compare an implementation's stages with the float64 model's.

The error of a stage is its largest absolute difference divided by its largest absolute value. Shapes are compared
first, and non-finite values fail, whatever the tolerance.
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

    @property
    def ok(self) -> bool:
        """Whether the stage is within its tolerance."""
        return self.complaint is None


def compare(stage: str, got: np.ndarray | None, want: np.ndarray | None, rtol: float, least: float = 0.0) -> Verdict:
    """Compare one stage; None is a missing stage.

    Args:
        stage: The name of the stage.
        got: The values of the implementation.
        want: The float64 values.
        rtol: The tolerance.
        least: A lower bound for the largest value, by which the error is divided.
    """
    complaint = _incomparable(got, want)
    if got is None or want is None or complaint:
        return Verdict(stage, np.inf, np.inf, rtol, f"{stage}: {complaint}")
    largest = max(float(np.abs(want).max(initial=0)), least)
    max_abs = float(np.abs(got.astype(np.float64) - want).max(initial=0))
    max_rel = max_abs / largest if largest else (np.inf if max_abs else 0.0)
    over = None if max_rel <= rtol else f"{stage}: error {max_rel:.2e} exceeds the tolerance {rtol:.0e}"
    return Verdict(stage, max_abs, max_rel, rtol, over)


def compare_all(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float, stages: Iterable[str] = ("*",)
) -> list[Verdict]:
    """Compare every stage that matches one of the patterns `stages`, in the order of `want`, then unexpected ones.

    Raises:
        ValueError: If a pattern matches no stage, or there are no patterns.
    """
    patterns = list(stages)
    idle = [pattern for pattern in patterns if not fnmatch.filter(want, pattern)]
    if idle or not patterns:
        raise ValueError(
            f"no stage matches {', '.join(idle) or 'an empty list of patterns'}; the stages are {', '.join(want)}"
        )
    return [compare(stage, got.get(stage), want.get(stage), rtol) for stage in _matching([*want, *got], patterns)]


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
    """Return the verdict with the largest error; a failed one comes before any that passed."""
    return max(verdicts, key=lambda verdict: (not verdict.ok, verdict.max_rel))


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
