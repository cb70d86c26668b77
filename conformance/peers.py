"""`python -m conformance.peers`: what the suite finds in other implementations, as a table in docs/differences.md.

Run in an environment that has them; each library's table replaces the one between its own two marks.
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

from conformance.case import Case, load_cases
from conformance.compare import Verdict, first_failure, worst
from conformance.suite import judge_case

PAGE = Path("docs/differences.md")
FIGURE = re.compile(r"\d\.\de[+-]\d\d")
RTOL = 1e-5  # what float32 is allowed here at least: stock PyTorch is at 5.2e-6 of published outputs

# The implementations of each release of a library: (module, class).
PEERS = {
    "transformers 4": tuple(("conformance.adapters.transformers", name) for name in ("PyTorch", "TensorFlow", "Flax")),
    "transformers 5": (("conformance.adapters.transformers", "PyTorch"),),
    "keras-hub 0": (("conformance.adapters.keras_hub", "KerasHub"),),
}

Judge = Callable[[Any, Case], list[Verdict]]


def installed() -> list[str]:
    """The releases of `PEERS` that are here."""
    found = []
    for release in PEERS:
        library, major = release.rsplit(" ", 1)
        try:
            found += [release] if version(library).split(".")[0] == major else []
        except PackageNotFoundError:
            continue
    return found


def judge_peer(adapter: Any, case: Case) -> list[Verdict]:
    """The verdicts on what an implementation offers of a case, at a tolerance that suits all float32."""
    stages = case.stages
    offers = getattr(adapter, "offers", None)
    if offers is not None:
        stages = tuple(name for name in case.expected if any(fnmatchcase(name, offer) for offer in offers))
        if not stages:
            return [Verdict("run", np.inf, np.inf, RTOL, "NotImplementedError: none of its stages")]
    return judge_case(adapter, replace(case, rtol=max(case.rtol, RTOL), stages=stages))


def cell(verdicts: Sequence[Verdict]) -> str:
    """A case in a word: nothing where it passes, else the first stage that differs, or why it cannot be run."""
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


def table(adapters: Sequence[Any], cases: Iterable[Case], judge: Judge = judge_peer) -> str:
    """The cases in which one of them differs, in Markdown, with how many each passes."""
    rows, passed, count = [], [0] * len(adapters), 0
    for case in cases:
        cells = [cell(judge(adapter, case)) for adapter in adapters]
        count += 1
        passed = [number + (not one) for number, one in zip(passed, cells, strict=True)]
        if any(cells):
            rows.append(f"| {case.name} | {' | '.join(cells)} |")
    titles = [f"{adapter.title}: {number} of {count}" for adapter, number in zip(adapters, passed, strict=True)]
    return "\n".join([f"| case | {' | '.join(titles)} |", "|---" * (len(adapters) + 1) + "|", *rows])


def section(release: str, library_version: str, made: str) -> str:
    """A library's part of the page, between its marks."""
    begin, end = marks(release)
    return f"{begin}\n### {release.rsplit(' ', 1)[0]} {library_version}\n\n{made}\n{end}"


def marks(release: str) -> tuple[str, str]:
    """What stands before and after a library's part of the page."""
    return f"<!-- {release}: made by python -m conformance.peers -->", f"<!-- end of {release} -->"


def placed(page: str, release: str, part: str) -> str:
    """The page with a library's part in its place; `ValueError` if the page has no place for it."""
    begin, end = marks(release)
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not found.search(page):
        raise ValueError(f"the page has no {begin}")
    return found.sub(lambda _: part, page)


def alike(page: str, other: str) -> bool:
    """Whether two pages say the same of the same cases; errors differ a little from machine to machine."""
    return FIGURE.sub("", page) == FIGURE.sub("", other)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge what is installed; the exit status is 1 if nothing is, or if a page that is checked says otherwise."""
    parser = argparse.ArgumentParser(prog="python -m conformance.peers", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into (%(default)s)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--show", action="store_true", help="print the tables and write nothing")
    how.add_argument("--check", action="store_true", help="write nothing, and end with 1 if the page says otherwise")
    given = parser.parse_args(arguments)
    releases = installed()
    page = given.page.read_text(encoding="utf-8")
    found = page
    for release in releases:
        adapters = [getattr(import_module(module), name)() for module, name in PEERS[release]]
        part = section(release, adapters[0].version, table(adapters, load_cases().values()))
        found = placed(found, release, part)
        if given.show or given.check:
            print(part)
    if not releases:
        print(f"none of {', '.join(PEERS)} is installed")
        return 1
    if given.check:
        return 0 if alike(page, found) else 1
    if not given.show:
        given.page.write_text(found, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
