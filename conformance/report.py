"""A report for machines: JSON, JUnit XML; and the table for people."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from rich.table import Table
from rich.text import Text

from conformance.compare import Verdict, worst
from conformance.faults import Catch
from conformance.suite import Judged, Report


def to_json(report: Report) -> str:
    """The report as docs/conformance.md describes it; a stage of the suite is called `case/stage`."""
    frameworks = {
        judged.name: {
            "version": judged.version,
            "ok": judged.ok,
            "worst": _number(judged.worst.max_rel),
            "stages": {
                stage: {"max_abs": _number(verdict.max_abs), "max_rel": _number(verdict.max_rel)}
                for stage, verdict in _stages(report, judged)
            },
        }
        for judged in report.frameworks
    }
    fields = {"checkpoint": report.checkpoint, "tolerance": report.tolerance, "ok": report.ok, "frameworks": frameworks}
    return json.dumps(fields, indent=2) + "\n"


def to_junit(report: Report) -> str:
    """A test suite for each framework, a test case for each case of the suite or stage of a checkpoint."""
    root = ElementTree.Element("testsuites", name="parity")
    for judged in report.frameworks:
        tests = dict(judged.groups)
        if report.checkpoint is not None:
            tests = {verdict.stage: [verdict] for verdict in judged.verdicts}
        complaints = {name: [one.complaint for one in group if one.complaint] for name, group in tests.items()}
        suite = ElementTree.SubElement(root, "testsuite", name=f"{judged.title} {judged.version}")
        suite.set("tests", str(len(tests)))
        suite.set("failures", str(sum(map(bool, complaints.values()))))
        for name, found in complaints.items():
            test = ElementTree.SubElement(suite, "testcase", classname=f"parity.{judged.name}", name=name)
            if found:
                ElementTree.SubElement(test, "failure", message=_printable(found[0])).text = _printable(
                    "\n".join(found)
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_table(report: Report) -> Table:
    """Errors by case or by stage, a column for each framework."""
    rows = "case" if report.checkpoint is None else "stage"
    table = Table(title=title(report), title_justify="left")
    table.add_column(rows, no_wrap=True)
    for judged in report.frameworks:
        table.add_column(f"{judged.title}\n{judged.version}", justify="right")
    for name in row_names(report):
        cells = [cell(report, judged, name) for judged in report.frameworks]
        table.add_row(name, *(_coloured(verdict) for verdict in cells))
    table.add_section()
    table.add_row("worst", *(_coloured(judged.worst) for judged in report.frameworks))
    return table


def fault_table(found: Iterable[tuple[str, Catch | None]]) -> Table:
    """Each fault with the case that catches it best and the error in tolerances."""
    table = Table("fault", "case", "stage", title="Planted faults", title_justify="left")
    table.add_column("error / tolerance", justify="right")
    for name, catch in found:
        if catch is None:
            table.add_row(name, "none", "", "", style="red")
        else:
            style = None if catch.caught else "red"
            table.add_row(name, catch.case, catch.stage, f"{catch.margin:,.0f}", style=style)
    return table


def title(report: Report) -> str:
    """What was measured, in a line."""
    what = "the suite's cases" if report.checkpoint is None else report.checkpoint
    return f"Largest error over largest value against float64: {what}, tolerance {report.tolerance:.0e}"


def row_names(report: Report) -> list[str]:
    """The rows of the table: cases of the suite, stages of a checkpoint."""
    of = (
        judged.groups if report.checkpoint is None else [one.stage for one in judged.verdicts]
        for judged in report.frameworks
    )
    return list(dict.fromkeys(name for names in of for name in names))


def cell(report: Report, judged: Judged, row: str) -> Verdict | None:
    """The verdict to show in a row: the worst of a case, or that of a stage."""
    if report.checkpoint is None:
        return worst(judged.groups[row])
    return next((verdict for verdict in judged.verdicts if verdict.stage == row), None)


def sentences(report: Report) -> list[str]:
    """What failed: of each framework and case the first stage that differs."""
    return [
        f"{judged.title}: {f'{group}: ' if report.checkpoint is None else ''}{first.complaint}"
        for judged in report.frameworks
        for group, first in judged.failures.items()
    ]


def write(path: Path, text: str) -> None:
    """Write a file, and the folder that it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _stages(report: Report, judged: Judged) -> Iterable[tuple[str, Verdict]]:
    for group, verdicts in judged.groups.items():
        for verdict in verdicts:
            yield (f"{group}/{verdict.stage}" if report.checkpoint is None else verdict.stage), verdict


def _number(value: float) -> float | None:
    """JSON has no infinity: an error of values that cannot be compared is null."""
    return value if math.isfinite(value) else None


def _coloured(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("-", style="dim")
    shown = f"{verdict.max_rel:.1e}" if math.isfinite(verdict.max_rel) else "failed"
    return Text(shown, style="green" if verdict.ok else "bold red")


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
