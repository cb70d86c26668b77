"""`python -m conformance.peers`: run the suite on other implementations and update the tables in docs/differences.md.

Run it in an environment that has these libraries; each library's table replaces the one between its two markers.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .suite.case import Case, load_cases
from .suite.judge import Verdict, first_failure, worst
from .suite.run import judge_case

PAGE = Path("docs/differences.md")
FIGURE = re.compile(r"\d\.\de[+-]\d\d")
RTOL = 1e-5  # the least tolerance: stock PyTorch differs from published float64 outputs by 5.2e-6

# The implementations of each release of a library: (module, class).
PEERS = {
    "transformers 4": tuple((".adapters.transformers", name) for name in ("PyTorch", "TensorFlow", "Flax")),
    "transformers 5": ((".adapters.transformers", "PyTorch"),),
    "keras-hub 0": ((".adapters.keras_hub", "KerasHub"),),
}

Judge = Callable[[Any, Case], list[Verdict]]


def find_installed() -> list[str]:
    """Return the installed releases of `PEERS`."""
    found = []
    for release in PEERS:
        library, major = release.rsplit(" ", 1)
        try:
            found += [release] if version(library).split(".")[0] == major else []
        except PackageNotFoundError:
            continue
    return found


def judge_peer(adapter: Any, case: Case) -> list[Verdict]:
    """Compare the stages that an implementation returns, at a tolerance that allows any float32 rounding."""
    stages = case.stages
    offers = getattr(adapter, "offers", None)
    if offers is not None:
        stages = tuple(name for name in case.expected if any(fnmatchcase(name, offer) for offer in offers))
        if not stages:
            return [Verdict("run", np.inf, np.inf, RTOL, "NotImplementedError: none of the stages is available")]
    return judge_case(adapter, replace(case, rtol=max(case.rtol, RTOL), stages=stages))


def describe_case(verdicts: Sequence[Verdict]) -> str:
    """Return "" if a case passes, else the first stage that differs or the error that was raised."""
    first = first_failure(verdicts)
    if first is None:
        return ""
    complaint = (first.complaint or "").removeprefix(f"{first.stage}: ")
    if first.stage == "run":
        return f"`{complaint.partition(':')[0]}`"
    if complaint == "missing":
        return f"no `{first.stage}`"
    if complaint.startswith("error"):
        most = worst([verdict for verdict in verdicts if np.isfinite(verdict.max_rel)])
        return f"`{first.stage}` first, {most.max_rel:.1e} at most"
    return f"`{first.stage}`: {complaint}"


def make_table(adapters: Sequence[Any], cases: Iterable[Case], judge: Judge = judge_peer) -> str:
    """Return a Markdown table of the cases in which an implementation differs, with the number that each passes."""
    rows, passed, count = [], [0] * len(adapters), 0
    for case in cases:
        cells = [describe_case(judge(adapter, case)) for adapter in adapters]
        count += 1
        passed = [number + (not one) for number, one in zip(passed, cells, strict=True)]
        if any(cells):
            rows.append(f"| {case.name} | {' | '.join(cells)} |")
    titles = [f"{adapter.title}: {number} of {count}" for adapter, number in zip(adapters, passed, strict=True)]
    return "\n".join([f"| case | {' | '.join(titles)} |", "|---" * (len(adapters) + 1) + "|", *rows])


def make_section(release: str, library_version: str, made: str) -> str:
    """Return a library's section of the page, between its markers."""
    begin, end = make_markers(release)
    return f"{begin}\n### {release.rsplit(' ', 1)[0]} {library_version}\n\n{made}\n{end}"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. Returns 1 if no library is installed or the checked page differs, else 0."""
    parser = argparse.ArgumentParser(prog="python -m conformance.peers", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to update (%(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--show", action="store_true", help="print the tables without writing the page")
    how.add_argument("--check", action="store_true", help="write nothing and exit with 1 if the page differs")
    given = parser.parse_args(arguments)
    releases = find_installed()
    page = given.page.read_text(encoding="utf-8")
    found = page
    for release in releases:
        adapters = [getattr(import_module(module, __package__), name)() for module, name in PEERS[release]]
        part = make_section(release, adapters[0].version, make_table(adapters, load_cases().values()))
        found = replace_section(found, release, part)
        if given.show or given.check:
            print(part)
    if not releases:
        print(f"none of {', '.join(PEERS)} is installed")
        return 1
    if given.check:
        return 0 if is_same_apart_from_figures(page, found) else 1
    if not given.show:
        given.page.write_text(found, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
