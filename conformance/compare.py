"""The one judge: how far an implementation's stages are from the float64 model's.

The error of a stage is its largest difference over its largest value. Shape comes before value, and a number that is
not finite is refused, whatever the tolerance.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one stage; the errors are infinite where values cannot be compared."""

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
    """The verdict on one stage; None is a stage that is not there. Its largest value counts as `least` or more."""
    complaint = _incomparable(got, want)
    if got is None or want is None or complaint:
        return Verdict(stage, np.inf, np.inf, rtol, f"{stage}: {complaint}")
    largest = max(float(np.abs(want).max(initial=0)), least)
    max_abs = float(np.abs(got.astype(np.float64) - want).max(initial=0))
    max_rel = max_abs / largest if largest else (np.inf if max_abs else 0.0)
    over = None if max_rel <= rtol else f"{stage}: error {max_rel:.2e} is over {rtol:.0e}"
    return Verdict(stage, max_abs, max_rel, rtol, over)


def compare_all(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float, stages: Iterable[str] = ("*",)
) -> list[Verdict]:
    """The verdicts on the stages that match one of the patterns `stages`, in the order of `want`, then the unexpected.

    `ValueError` if there is nothing to judge: no stage matches, or one of the patterns matches none.
    """
    patterns = list(stages)
    idle = [pattern for pattern in patterns if not fnmatch.filter(want, pattern)]
    if idle or not patterns:
        raise ValueError(f"no stage to judge matches {', '.join(idle) or 'an empty list'}; there are {', '.join(want)}")
    return [compare(stage, got.get(stage), want.get(stage), rtol) for stage in _chosen([*want, *got], patterns)]


def judge(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float, stages: Iterable[str] = ("*",)
) -> list[Verdict]:
    """As `compare_all`, but `AssertionError` with the first stage that differs."""
    verdicts = compare_all(got, want, rtol, stages)
    first = first_failure(verdicts)
    if first is not None:
        raise AssertionError(first.complaint)
    return verdicts


def first_failure(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The first verdict that is not ok: where an implementation goes astray."""
    return next((verdict for verdict in verdicts if not verdict.ok), None)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict with the largest error, those with a complaint first."""
    return max(verdicts, key=lambda verdict: (not verdict.ok, verdict.max_rel))


def merge(first: Iterable[Verdict], second: Iterable[Verdict]) -> list[Verdict]:
    """The worse of two verdicts on each stage, in the order of the first list, then what only the second has."""
    both = {verdict.stage: verdict for verdict in first}
    for verdict in second:
        both[verdict.stage] = worst([both.get(verdict.stage, verdict), verdict])
    return list(both.values())


def _chosen(stages: Iterable[str], patterns: list[str]) -> Iterator[str]:
    """The stages that match, each once."""
    return (stage for stage in dict.fromkeys(stages) if any(fnmatch.fnmatchcase(stage, one) for one in patterns))


def _incomparable(got: np.ndarray | None, want: np.ndarray | None) -> str | None:
    """Why two arrays have no error to speak of."""
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
