"""Reports of comparisons of checkpoints: JSON, JUnit XML, tables and an HTML page."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from rich.table import Table

from roberta_core import __version__

from ..suite.comparison import Comparison
from ..suite.judge import worst

STYLE = Path(__file__).with_name("page.css")
SHOWN = 20  # differences of a table


def to_json(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as JSON."""
    found = [
        {
            "other": one.other,
            "ok": one.ok,
            "config": one.config,
            "tokenizer": one.tokenizer,
            "tensors_compared": one.compared,
            "tensors": [
                {
                    "name": tensor.name,
                    "problem": tensor.problem,
                    "max_abs": tensor.max_abs if np.isfinite(tensor.max_abs) else None,
                }
                for tensor in one.tensors
            ],
            "stages": {
                verdict.stage: {"max_rel": verdict.max_rel if np.isfinite(verdict.max_rel) else None, "ok": verdict.ok}
                for verdict in one.outputs
            },
            "notes": one.notes,
        }
        for one in comparisons
    ]
    fields = {"first": comparisons[0].first, "ok": all(one.ok for one in comparisons), "comparisons": found}
    return json.dumps(fields, indent=2) + "\n"


def list_checks(comparison: Comparison) -> dict[str, tuple[str, list[str]]]:
    """Return the checks of a comparison: their results and what differs."""
    outputs = [verdict.complaint for verdict in comparison.outputs if verdict.complaint]
    stages = f"{len(comparison.outputs)} stages"
    if comparison.outputs and not outputs:
        stages += f", largest error {worst(comparison.outputs).max_rel:.1e}"
    return {
        "configuration": ("the same settings", comparison.config),
        "tokenizer": ("the same ids", comparison.tokenizer),
        "tensors": (f"{comparison.compared} equal tensors", [str(tensor) for tensor in comparison.tensors]),
        "outputs": (stages if comparison.outputs else "not compared", outputs),
    }


def to_junit(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as JUnit XML: a test suite for each, a test case for each check."""
    root = ElementTree.Element("testsuites", name="compare")
    for one in comparisons:
        checks = list_checks(one)
        suite = ElementTree.SubElement(root, "testsuite", name=f"{one.first} and {one.other}")
        suite.set("tests", str(len(checks)))
        suite.set("failures", str(sum(bool(found) for _, found in checks.values())))
        for name, (_, found) in checks.items():
            test = ElementTree.SubElement(suite, "testcase", classname="compare", name=name)
            if found:
                ElementTree.SubElement(test, "failure", message=found[0]).text = "\n".join(found)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_table(comparison: Comparison) -> Table:
    """Return a table of the checks of a comparison."""
    table = Table("check", "result", title=f"{comparison.other} compared with {comparison.first}", title_justify="left")
    for name, (result, found) in list_checks(comparison).items():
        shown = found[:SHOWN] + ([f"({len(found) - SHOWN} more)"] if len(found) > SHOWN else [])
        table.add_row(name, "\n".join(shown) or result, style="red" if found else None)
    return table


def to_html(comparisons: Sequence[Comparison]) -> str:
    """Return a self-contained HTML page."""
    sections = []
    for one in comparisons:
        rows = "".join(_row(name, found or [result], bool(found)) for name, (result, found) in list_checks(one).items())
        notes = "".join(f'<p class="soft">{escape(note)}.</p>' for note in one.notes)
        sections.append(f"<h2>{escape(one.other)}</h2><table>{rows}</table>{notes}")
    ok = all(one.ok for one in comparisons)
    verdict = '<span class="verdict">The same model.</span>' if ok else '<span class="verdict bad">They differ.</span>'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Comparison of checkpoints</title>\n'
        f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        f"<h1>Compared with {escape(comparisons[0].first)}</h1>\n<p>{verdict}</p>\n"
        f'{"".join(sections)}\n<p class="soft">triberta {escape(__version__)}</p>\n</body>\n</html>\n'
    )


def _row(name: str, lines: Sequence[str], differs: bool) -> str:
    style = "--heat: 0; text-align: left; white-space: normal"
    text = "<br>".join(map(escape, lines))
    return (
        f'<tr><th scope="row">{name}</th><td class="{"over" if differs else "heat"}" style="{style}">{text}</td></tr>'
    )
