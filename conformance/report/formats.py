"""Reports as JSON and JUnit XML, and as tables for the terminal."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.table import Table
from rich.text import Text

from ..faults.forward import Catch
from ..faults.on_checkpoint import Judgement
from ..suite.judge import Verdict, worst
from ..suite.run import FrameworkResult, Report


def to_json(report: Report) -> str:
    """Return the report as JSON (docs/conformance.md); a stage of a suite's case is named `case/stage`."""
    frameworks = {
        result.name: {
            "version": result.version,
            "ok": result.ok,
            "worst": _to_number(result.worst.max_rel),
            **({"cause": result.cause} if result.cause else {}),
            "stages": {stage: _describe_verdict(verdict) for stage, verdict in _list_stages(report, result)},
        }
        for result in report.frameworks
    }
    fields: dict[str, Any] = {"checkpoint": report.checkpoint, "tolerance": report.tolerance}
    if report.checkpoint is not None:
        fields |= {"multiple": report.multiple, "precision": report.precision}
        fields |= {"warnings": report.warnings}
    fields |= {"ok": report.ok, "frameworks": frameworks}
    return json.dumps(fields, indent=2) + "\n"


def to_junit(report: Report) -> str:
    """Return the report as JUnit XML.

    Each framework is a test suite; each case of the suite, or each stage of a checkpoint, is a test case.
    """
    root = ElementTree.Element("testsuites", name="parity")
    for result in report.frameworks:
        tests = dict(result.groups)
        if report.checkpoint is not None:
            tests = {verdict.stage: [verdict] for verdict in result.verdicts}
        complaints = {name: [one.complaint for one in group if one.complaint] for name, group in tests.items()}
        suite = ElementTree.SubElement(root, "testsuite", name=f"{result.title} {result.version}")
        suite.set("tests", str(len(tests)))
        suite.set("failures", str(sum(map(bool, complaints.values()))))
        for name, found in complaints.items():
            test = ElementTree.SubElement(suite, "testcase", classname=f"parity.{result.name}", name=name)
            if found:
                ElementTree.SubElement(test, "failure", message=_keep_printable(found[0])).text = _keep_printable(
                    "\n".join(found)
                )
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_table(report: Report) -> Table:
    """Return a table of errors by case or stage, with a column for each framework."""
    rows = "case" if report.checkpoint is None else "stage"
    table = Table(title=make_title(report), title_justify="left")
    table.add_column(rows, no_wrap=True)
    if report.checkpoint is not None:
        table.add_column("expected\nrounding", justify="right")
    for result in report.frameworks:
        table.add_column(f"{result.title}\n{result.version}", justify="right")
    for name in list_rows(report):
        cells = [find_verdict(report, result, name) for result in report.frameworks]
        table.add_row(name, *_format_expected(report, cells), *(_format_error(verdict) for verdict in cells))
    table.add_section()
    worst_cells = [result.worst for result in report.frameworks]
    empty = [""] if report.checkpoint is not None else []
    table.add_row("worst", *empty, *(_format_error(verdict) for verdict in worst_cells))
    return table


def make_fault_table(found: Iterable[tuple[str, Catch | None]]) -> Table:
    """Return a table of each fault, the case that catches it best, and its error divided by the tolerance."""
    table = Table("fault", "case", "stage", title="Faults", title_justify="left")
    table.add_column("error / tolerance", justify="right")
    for name, catch in found:
        if catch is None:
            table.add_row(name, "none", "", "", style="red")
        else:
            style = None if catch.caught else "red"
            table.add_row(name, catch.case, catch.stage, f"{catch.margin:,.0f}", style=style)
    return table


def make_checkpoint_fault_table(found: Iterable[Judgement], checkpoint: str) -> Table:
    """Return a table of the faults that change a checkpoint: what each moves, and whether what has it fails."""
    table = Table("fault", "moves most", title=f"Faults on {checkpoint}", title_justify="left")
    table.add_column("change / tolerance", justify="right")
    table.add_column("caught")
    for one in found:
        if one.moved is None:
            continue
        missed = ", ".join(title for title, caught in one.caught.items() if not caught)
        verdict = f"not in {missed}" if missed else "yes" if one.caught else "within the tolerance"
        table.add_row(one.fault, one.stage, f"{one.moved:,.2f}", verdict, style=None if one.ok else "red")
    return table


def make_title(report: Report) -> str:
    """Return the title of the report."""
    what = "the suite's cases" if report.checkpoint is None else report.checkpoint
    kind = "" if report.precision == "float32" else f" in {report.precision}"
    return f"Errors{kind} against float64 (largest difference / largest value): {what}, {describe_tolerance(report)}"


def describe_tolerance(report: Report) -> str:
    """Describe the tolerance of a report."""
    if report.tolerance is None:
        return f"tolerance {report.multiple:.0f} times the expected rounding"
    return f"tolerance {report.tolerance:.0e}"


def list_rows(report: Report) -> list[str]:
    """Return the rows of the table: cases of the suite or stages of a checkpoint."""
    of = (
        result.groups if report.checkpoint is None else [one.stage for one in result.verdicts]
        for result in report.frameworks
    )
    return list(dict.fromkeys(name for names in of for name in names))


def find_verdict(report: Report, result: FrameworkResult, row: str) -> Verdict | None:
    """Return the verdict of a row: the worst of a case, or that of a stage."""
    if report.checkpoint is None:
        return worst(result.groups[row])
    return next((verdict for verdict in result.verdicts if verdict.stage == row), None)


def describe_failures(report: Report) -> list[str]:
    """Describe what failed: the first stage that differs, for each framework and case, and a suggested cause."""
    found = []
    for result in report.frameworks:
        for group, first in result.failures.items():
            case = f"{group}: " if report.checkpoint is None else ""
            found.append(f"{result.title}: {case}{first.complaint}")
        if result.cause:
            found.append(f"{result.title}: {result.cause}")
    return found


def write(path: Path, text: str) -> None:
    """Write a file, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _list_stages(report: Report, result: FrameworkResult) -> Iterable[tuple[str, Verdict]]:
    for group, verdicts in result.groups.items():
        for verdict in verdicts:
            yield (f"{group}/{verdict.stage}" if report.checkpoint is None else verdict.stage), verdict


def _describe_verdict(verdict: Verdict) -> dict[str, float | None]:
    fields = {"max_abs": _to_number(verdict.max_abs), "max_rel": _to_number(verdict.max_rel)}
    if verdict.expected is not None and verdict.ratio is not None:
        fields |= {"expected": verdict.expected, "ratio": _to_number(verdict.ratio), "tolerance": verdict.rtol}
    return fields


def _format_expected(report: Report, verdicts: Iterable[Verdict | None]) -> list[str]:
    """Return the cell of the expected rounding: none for the suite's cases."""
    if report.checkpoint is None:
        return []
    found = [verdict.expected for verdict in verdicts if verdict is not None and verdict.expected is not None]
    return [f"{max(found):.1e}" if found else ""]


def _to_number(value: float) -> float | None:
    """Return None (null) for an infinite error, which JSON cannot represent."""
    return value if math.isfinite(value) else None


def _format_error(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("-", style="dim")
    shown = f"{verdict.max_rel:.1e}" if math.isfinite(verdict.max_rel) else "failed"
    if verdict.ratio is not None and math.isfinite(verdict.ratio):
        shown += f" {verdict.ratio:5.1f}x"
    return Text(shown, style="green" if verdict.ok else "bold red")


def _keep_printable(text: str) -> str:
    """Remove the characters that XML does not allow."""
    return "".join(character for character in text if character in "\n\t" or character.isprintable())
