"""The part of docs/differences.md that shows what the suite finds in other implementations."""

import re
from collections.abc import Mapping, Sequence

from .deviations import Deviation
from .judging import Failure, count_passed

FIGURE = re.compile(r"\d\.\de[+-]\d\d")
UNEXPLAINED = "**not explained**"


def make_section(
    release: str,
    version: str,
    found: Mapping[str, Mapping[str, Failure | None]],
    known: Mapping[str, Sequence[Deviation]],
) -> str:
    """Return a library's section of the page, between its markers.

    Args:
        release: The library and its major version.
        version: The version.
        found: The results of each implementation, by its title and the name of the case.
        known: The deviations of each implementation.
    """
    begin, end = make_markers(release)
    counts = [f"{title} passes {count_passed(cases.values())} of {len(cases)} cases" for title, cases in found.items()]
    rows = [row for title, cases in found.items() for row in make_rows(title, cases, known.get(title, ()))]
    table = ["| implementation | cases | observed | why |", "|---|---|---|---|", *rows] if rows else []
    lines = [begin, f"### {release.rsplit(' ', 1)[0]} {version}", "", f"{'; '.join(counts)}.", ""]
    return "\n".join([*lines, *table, end])


def make_rows(title: str, found: Mapping[str, Failure | None], known: Sequence[Deviation]) -> list[str]:
    """Return the rows of an implementation: the known deviations that were observed, then what is not explained."""
    failures = {case: failure for case, failure in found.items() if failure is not None}
    rows = []
    for deviation in known:
        observed = deviation.observed
        cases = [case for case in deviation.cases if case in failures and failures[case].observed == observed]
        errors = [error for case in cases if (error := failures.pop(case).error) is not None]
        shown = f"{observed}, up to {max(errors):.1e}" if errors else observed
        rows += [f"| {title} | {', '.join(cases)} | {shown} | {deviation.reason} |"] if cases else []
    rows += [f"| {title} | {case} | {failure.observed} | {UNEXPLAINED} |" for case, failure in failures.items()]
    return rows


def make_markers(release: str) -> tuple[str, str]:
    """Return the markers before and after a library's section."""
    return f"<!-- {release}: made by python -m conformance.peers -->", f"<!-- end of {release} -->"


def replace_section(page: str, release: str, part: str) -> str:
    """Return the page with a section replaced. Raises `ValueError` if the page has no markers for it."""
    begin, end = make_markers(release)
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not found.search(page):
        raise ValueError(f"the page has no marker {begin}")
    return found.sub(lambda _: part, page)


def is_same_apart_from_figures(page: str, other: str) -> bool:
    """Return whether two pages agree apart from figures, which depend on the machine."""
    return FIGURE.sub("", page) == FIGURE.sub("", other)
