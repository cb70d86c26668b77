"""A parity report as Markdown: `python -m conformance.report.summary parity.json` prints it for CI systems."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARK = "<!-- roberta parity -->"  # so that a later run finds its comment


def make_summary(fields: Mapping[str, Any]) -> str:
    """Return the summary of a report in the form of `roberta parity --json`."""
    verdict = "passes" if fields["ok"] else "**fails**"
    lines = [MARK, f"### Parity: {fields['checkpoint'] or 'the cases of the suite'} {verdict}", ""]
    lines += ["| implementation | version | worst error | first stage that differs |", "|---|---|---|---|"]
    for name, one in fields["frameworks"].items():
        worst = "not comparable" if one["worst"] is None else f"{one['worst']:.1e}"
        lines.append(f"| {name} | {one['version']} | {worst} | {find_first_failure(fields, one) or ''} |")
    causes = [f"- {name}: {one['cause']}" for name, one in fields["frameworks"].items() if one.get("cause")]
    warnings = [f"- warning: {warning}" for warning in fields.get("warnings", ())]
    return "\n".join([*lines, "", *causes, *warnings]).rstrip() + "\n"


def find_first_failure(fields: Mapping[str, Any], one: Mapping[str, Any]) -> str | None:
    """Return the first stage of an implementation whose error exceeds its tolerance."""
    for stage, values in one["stages"].items():
        tolerance = values.get("tolerance", fields["tolerance"])
        if values["max_rel"] is None or (tolerance is not None and values["max_rel"] > tolerance):
            return stage
    return None


if __name__ == "__main__":
    print(make_summary(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), end="")
