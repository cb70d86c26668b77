"""The known deviations of other implementations: data in `deviations.json`, each with its reason.

The file has a list for each implementation of each release: what is observed, in which cases, and why.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .judging import Failure

FILE = Path(__file__).with_name("deviations.json")


@dataclass(frozen=True)
class Deviation:
    """A known deviation of one implementation.

    Args:
        observed: What is observed, as in `Failure.observed`.
        cases: The names of the cases.
        reason: Why, in one sentence.
    """

    observed: str
    cases: tuple[str, ...]
    reason: str


@cache
def load_deviations() -> dict[str, dict[str, list[Deviation]]]:
    """Read the deviations, by release and implementation."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        release: {
            title: [Deviation(**{**one, "cases": tuple(one["cases"])}) for one in deviations]
            for title, deviations in implementations.items()
        }
        for release, implementations in found.items()
    }


def find_disagreements(found: Mapping[str, Failure | None], known: Sequence[Deviation]) -> Iterator[str]:
    """Yield a sentence for each case whose result is not the one that the deviations list."""
    listed = {case: deviation for deviation in known for case in deviation.cases}
    for case, failure in found.items():
        deviation = listed.pop(case, None)
        if failure is None and deviation is not None:
            yield f"{case} passes, but is listed with {deviation.observed}"
        elif failure is not None and deviation is None:
            yield f"{case} fails and is not listed: {failure.observed} ({failure.detail})"
        elif failure is not None and deviation is not None and failure.observed != deviation.observed:
            yield f"{case} fails with {failure.observed} ({failure.detail}), but is listed with {deviation.observed}"
    yield from (f"{case} is listed, but was not run" for case in listed)
