"""A report as a self-contained HTML page: a heat map of errors, versions and the predictions for each `<mask>`."""

import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from roberta_core import __version__

from ..suite.judge import Verdict
from ..suite.run import Fill, FrameworkResult, Report
from .formats import describe_failures, describe_tolerance, find_verdict, list_rows

LOWEST = 1e-7  # the left end of the scale of errors: about float32's rounding unit
LOWEST_RATIO = 0.1  # the left end of the scale of ratios to the expected rounding
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
            _scale(report),
            _heat_map(report, rows),
            _details(report) if report.checkpoint is None else "",
            _fills(report),
            "</body>\n</html>\n",
        ]
    )


def scale_error(error: float, tolerance: float, lowest: float = LOWEST) -> float:
    """Return the position of an error on the scale in percent: 0 up to `lowest`, 100 at the tolerance."""
    if error <= lowest:
        return 0.0
    return 100 * min(math.log(error / lowest) / math.log(tolerance / lowest), 1.0)


def format_error(error: float, digits: int = 1) -> str:
    """Format an error, such as 4.0e-7."""
    return f"{error:.{digits}e}".replace("e-0", "e-").replace("e+00", "") if math.isfinite(error) else "failed"


def _verdict(report: Report) -> str:
    if report.ok:
        return f'<span class="verdict">Every stage is within the {describe_tolerance(report)}.</span>'
    bad = sum(not verdict.ok for result in report.frameworks for verdict in result.verdicts)
    stages = "1 stage exceeds" if bad == 1 else f"{bad} stages exceed"
    return f'<span class="verdict bad">{stages} the {describe_tolerance(report)} or cannot be compared.</span>'


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


def _scale(report: Report) -> str:
    """Return the legend: a colour ramp in decades of the error, or of its ratio, with the tolerance marked."""
    if report.tolerance is None:
        lowest, tolerance, digits = LOWEST_RATIO, report.multiple or 1.0, "{:g}&times;"
    else:
        lowest, tolerance, digits = min(LOWEST, report.tolerance / 10), report.tolerance, ""
    decades = math.log10(tolerance / lowest)
    width = decades + BEYOND
    first, last = math.ceil(math.log10(lowest)), math.floor(math.log10(tolerance * 10**BEYOND) + 1e-9)
    places = {power: 100 * (power - math.log10(lowest)) / width for power in range(first, last + 1)}
    ticks = "".join(
        f'<span{" class=last" if at > 95 else ""} style="--at:{at:.1f}%">{_format_tick(10.0**power, digits)}</span>'
        for power, at in places.items()
    )
    place = f"--at:{100 * decades / width:.1f}%"
    mark = f'<span class="tolerance" style="{place}">tolerance {_format_tick(tolerance, digits)}</span>'
    return (
        f'<div class="scale" aria-hidden="true"><div class="ramp"><div class="within" style="--within:{decades:.2f}">'
        f'</div><div class="beyond" style="--beyond:{BEYOND}"></div></div><div class="ticks">{ticks}{mark}</div></div>'
    )


def _format_tick(value: float, digits: str) -> str:
    return digits.format(value) if digits else format_error(value, 0)


def _heat_map(report: Report, rows: str) -> str:
    body, has_expected = [], report.checkpoint is not None
    for name in list_rows(report):
        verdicts = [find_verdict(report, result, name) for result in report.frameworks]
        body.append(_row(name, verdicts, has_expected=has_expected))
    body.append(_row("worst", [result.worst for result in report.frameworks], "worst", has_expected))
    return _table(rows, report.frameworks, body, ["expected rounding"] if has_expected else [])


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


def _table(rows: str, frameworks: Iterable[FrameworkResult], body: list[str], more: Iterable[str] = ()) -> str:
    titles = [*more, *(result.title for result in frameworks)]
    heads = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    return (
        f'<div class="scroll"><table class="heat"><thead><tr><th scope="col">{rows}</th>{heads}</tr></thead>\n'
        f"<tbody>\n{chr(10).join(body)}\n</tbody></table></div>"
    )


def _row(name: str, verdicts: list[Verdict | None], kind: str = "", has_expected: bool = False) -> str:
    cells = "".join(map(_cell, verdicts))
    if has_expected:
        found = [verdict.expected for verdict in verdicts if verdict is not None and verdict.expected is not None]
        cells = f'<td class="expected">{format_error(max(found)) if found and not kind else ""}</td>{cells}'
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{escape(name)}</th>{cells}</tr>'


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return '<td class="none">&ndash;</td>'
    hint = escape(verdict.complaint or f"{verdict.stage}: largest difference {verdict.max_abs:.2e}", quote=True)
    if not verdict.ok:
        return f'<td class="over" title="{hint}">{format_error(verdict.max_rel)}</td>'
    if verdict.ratio is None or verdict.expected is None:
        degree, ratio = scale_error(verdict.max_rel, verdict.rtol), ""
    else:
        degree = scale_error(verdict.ratio, verdict.rtol / verdict.expected, LOWEST_RATIO)
        ratio = f' <span class="ratio">{verdict.ratio:.1f}&times;</span>'
    return f'<td class="heat" style="--heat:{degree:.0f}" title="{hint}">{format_error(verdict.max_rel)}{ratio}</td>'


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
