"""A report as a self-contained HTML page: a heat map of errors, versions and the predictions for each `<mask>`."""

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from roberta_core import __version__

from ..suite.judge import Verdict
from ..suite.run import Fill, FrameworkResult, Report
from .formats import describe_failures, find_verdict, list_rows

LOWEST = 1e-7  # the left end of the scale: about float32's rounding unit
BEYOND = 2  # decades of the scale above the tolerance
MASK = "<mask>"
STYLE = Path(__file__).with_name("page.css")


def to_html(report: Report) -> str:
    """Return the page."""
    name = "on the suite's cases" if report.checkpoint is None else f"of {report.checkpoint}"
    rows = "case" if report.checkpoint is None else "stage"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Parity {escape(name)}</title>",
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>",
            f"<h1>Parity {escape(name)}</h1>",
            f"<p>{_verdict(report)}</p>",
            '<p class="soft">Each framework in float32 is compared with a float64 model in NumPy. The error of a stage '
            f"is its largest difference divided by its largest value. triberta {escape(__version__)}.</p>",
            _complaints(report),
            f'<div class="cards">{"".join(_card(report, result) for result in report.frameworks)}</div>',
            f"<h2>Error by {rows}</h2>",
            _scale(report.tolerance),
            _heat_map(report, rows),
            _details(report) if report.checkpoint is None else "",
            _fills(report),
            "</body>\n</html>\n",
        ]
    )


def scale_error(error: float, tolerance: float) -> float:
    """Return the position of an error on the scale in percent: 0 up to `LOWEST`, 100 at the tolerance."""
    if error <= LOWEST:
        return 0.0
    return 100 * min(math.log(error / LOWEST) / math.log(tolerance / LOWEST), 1.0)


def format_error(error: float, digits: int = 1) -> str:
    """Format an error, such as 4.0e-7."""
    return f"{error:.{digits}e}".replace("e-0", "e-").replace("e+00", "") if math.isfinite(error) else "failed"


def _verdict(report: Report) -> str:
    if report.ok:
        return f'<span class="verdict">Every stage is within {format_error(report.tolerance, 0)}.</span>'
    bad = sum(not verdict.ok for result in report.frameworks for verdict in result.verdicts)
    stages = "1 stage exceeds" if bad == 1 else f"{bad} stages exceed"
    tolerance = format_error(report.tolerance, 0)
    return f'<span class="verdict bad">{stages} the tolerance of {tolerance} or cannot be compared.</span>'


def _complaints(report: Report) -> str:
    found = describe_failures(report)
    if not found:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in found)
    return f'<p>The first stage that differs:</p><ul class="complaints">{items}</ul>'


def _card(report: Report, result: FrameworkResult) -> str:
    worst = result.worst
    where = next((name for name, group in result.groups.items() if worst in group), "")
    place = f"{where}, {worst.stage}" if report.checkpoint is None else worst.stage
    verdict = '<span class="verdict">within</span>' if result.ok else '<span class="verdict bad">over</span>'
    number = f'<span class="number">{format_error(worst.max_rel)}</span>'
    return (
        f'<div class="card">{verdict}<b>{escape(result.title)}</b><span class="soft">{escape(result.version)}</span>'
        f'{number}<span class="soft">worst, at {escape(place)}</span></div>'
    )


def _scale(tolerance: float) -> str:
    """Return the legend: a colour ramp in decades with the tolerance marked."""
    decades = math.log10(tolerance / LOWEST)
    width = decades + BEYOND
    first, last = math.ceil(math.log10(LOWEST)), math.floor(math.log10(tolerance * 10**BEYOND) + 1e-9)
    places = {power: 100 * (power - math.log10(LOWEST)) / width for power in range(first, last + 1)}
    ticks = "".join(
        f'<span{" class=last" if place > 95 else ""} style="--at:{place:.1f}%">{format_error(10.0**power, 0)}</span>'
        for power, place in places.items()
    )
    place = f"--at:{100 * decades / width:.1f}%"
    mark = f'<span class="tolerance" style="{place}">tolerance {format_error(tolerance, 0)}</span>'
    return (
        f'<div class="scale" aria-hidden="true"><div class="ramp"><div class="within" style="--within:{decades:.2f}">'
        f'</div><div class="beyond" style="--beyond:{BEYOND}"></div></div><div class="ticks">{ticks}{mark}</div></div>'
    )


def _heat_map(report: Report, rows: str) -> str:
    body = [
        _row(name, [find_verdict(report, result, name) for result in report.frameworks]) for name in list_rows(report)
    ]
    body.append(_row("worst", [result.worst for result in report.frameworks], "worst"))
    return _table(rows, report.frameworks, body)


def _details(report: Report) -> str:
    """Return the stages of each case, collapsed."""
    parts = ["<h2>Stages of each case</h2>"]
    for name in list_rows(report):
        by_stage = [{one.stage: one for one in result.groups[name]} for result in report.frameworks]
        stages = dict.fromkeys(stage for found in by_stage for stage in found)
        body = [_row(stage, [found.get(stage) for found in by_stage]) for stage in stages]
        failed = any(not one.ok for found in by_stage for one in found.values())
        summary = f'{escape(name)} <span class="soft">{len(stages)} stages</span>'
        parts.append(
            f"<details{' open' if failed else ''}><summary>{summary}</summary>"
            f"{_table('stage', report.frameworks, body)}</details>"
        )
    return "\n".join(parts)


def _table(rows: str, frameworks: Iterable[FrameworkResult], body: list[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(result.title)}</th>' for result in frameworks)
    return (
        f'<div class="scroll"><table class="heat"><thead><tr><th scope="col">{rows}</th>{heads}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(body)}\n</tbody></table></div>"
    )


def _row(name: str, verdicts: Iterable[Verdict | None], kind: str = "") -> str:
    cells = "".join(map(_cell, verdicts))
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{escape(name)}</th>{cells}</tr>'


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return '<td class="none">&ndash;</td>'
    hint = escape(verdict.complaint or f"{verdict.stage}: largest difference {verdict.max_abs:.2e}", quote=True)
    if not verdict.ok:
        return f'<td class="over" title="{hint}">{format_error(verdict.max_rel)}</td>'
    degree = scale_error(verdict.max_rel, verdict.rtol)
    return f'<td class="heat" style="--heat:{degree:.0f}" title="{hint}">{format_error(verdict.max_rel)}</td>'


def _fills(report: Report) -> str:
    if not report.fills:
        return ""
    titles = {"oracle": "float64", **{result.name: result.title for result in report.frameworks}}
    return "<h2>Predictions for each mask</h2>\n" + "\n".join(_fill(fill, titles) for fill in report.fills)


def _fill(fill: Fill, titles: dict[str, str]) -> str:
    text = escape(fill.text).replace(escape(MASK), f"<mark>{escape(MASK)}</mark>")
    heads = "".join(f'<th scope="col">{escape(titles[name])}</th>' for name in fill.probabilities)
    rows = "".join(
        f'<tr><th scope="row">{_show_space(token)}</th>'
        + "".join(
            f'<td style="--p:{100 * values[number]:.1f}">{values[number]:.5%}</td>'
            for values in fill.probabilities.values()
        )
        + "</tr>\n"
        for number, token in enumerate(fill.tokens)
    )
    return (
        f'<figure><blockquote>{text}</blockquote><div class="scroll"><table class="fills"><thead><tr>'
        f'<th scope="col">token</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div></figure>'
    )


def _show_space(token: str) -> str:
    """Show the leading space of a token."""
    return f'<span class="soft">\N{OPEN BOX}</span>{escape(token[1:])}' if token.startswith(" ") else escape(token)
