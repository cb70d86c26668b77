"""A report as one HTML page that needs nothing else: a heat map of the errors, versions, and the filled masks."""

import math
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from conformance.compare import Verdict
from conformance.report import cell, row_names, sentences
from conformance.suite import Fill, Judged, Report
from roberta_core import __version__

LOWEST = 1e-7  # the left end of the scale: about float32's own step, below which errors are alike
BEYOND = 2  # decades of the scale over the tolerance
MASK = "<mask>"


def to_html(report: Report) -> str:
    """The page."""
    name = "on the suite's cases" if report.checkpoint is None else f"of {report.checkpoint}"
    rows = "case" if report.checkpoint is None else "stage"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Parity {escape(name)}</title>",
            f"<style>\n{files('conformance').joinpath('page.css').read_text(encoding='utf-8')}</style>\n</head>\n<body>",
            f"<h1>Parity {escape(name)}</h1>",
            f"<p>{_verdict(report)}</p>",
            '<p class="soft">Each framework, in float32, against a float64 model in NumPy. The error of a stage is its '
            f"largest difference over its largest value. triberta {escape(__version__)}.</p>",
            _complaints(report),
            f'<div class="cards">{"".join(_card(report, judged) for judged in report.frameworks)}</div>',
            f"<h2>Error by {rows}</h2>",
            _scale(report.tolerance),
            _heat_map(report, rows),
            _details(report) if report.checkpoint is None else "",
            _fills(report),
            "</body>\n</html>\n",
        ]
    )


def heat(error: float, tolerance: float) -> float:
    """Where an error stands on the scale, in percent: 0 at `LOWEST` and below, 100 at the tolerance."""
    if error <= LOWEST:
        return 0.0
    return 100 * min(math.log(error / LOWEST) / math.log(tolerance / LOWEST), 1.0)


def short(error: float, digits: int = 1) -> str:
    """An error as people read it: 4.0e-7."""
    return f"{error:.{digits}e}".replace("e-0", "e-").replace("e+00", "") if math.isfinite(error) else "failed"


def _verdict(report: Report) -> str:
    if report.ok:
        return f'<span class="verdict">Every stage is within {short(report.tolerance, 0)}.</span>'
    bad = sum(not verdict.ok for judged in report.frameworks for verdict in judged.verdicts)
    stages = "1 stage is" if bad == 1 else f"{bad} stages are"
    tolerance = short(report.tolerance, 0)
    return f'<span class="verdict bad">{stages} over the tolerance of {tolerance}, or cannot be judged.</span>'


def _complaints(report: Report) -> str:
    found = sentences(report)
    if not found:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in found)
    return f'<p>The first stage that differs:</p><ul class="complaints">{items}</ul>'


def _card(report: Report, judged: Judged) -> str:
    worst = judged.worst
    where = next((name for name, group in judged.groups.items() if worst in group), "")
    place = f"{where}, {worst.stage}" if report.checkpoint is None else worst.stage
    verdict = '<span class="verdict">within</span>' if judged.ok else '<span class="verdict bad">over</span>'
    return (
        f'<div class="card">{verdict}<b>{escape(judged.title)}</b><span class="soft">{escape(judged.version)}</span>'
        f'<span class="number">{short(worst.max_rel)}</span><span class="soft">worst, at {escape(place)}</span></div>'
    )


def _scale(tolerance: float) -> str:
    """The legend: the ramp in decades, with the tolerance marked."""
    decades = math.log10(tolerance / LOWEST)
    width = decades + BEYOND
    first, last = math.ceil(math.log10(LOWEST)), math.floor(math.log10(tolerance * 10**BEYOND) + 1e-9)
    places = {power: 100 * (power - math.log10(LOWEST)) / width for power in range(first, last + 1)}
    ticks = "".join(
        f'<span{" class=last" if place > 95 else ""} style="--at:{place:.1f}%">{short(10.0**power, 0)}</span>'
        for power, place in places.items()
    )
    mark = f'<span class="tolerance" style="--at:{100 * decades / width:.1f}%">tolerance {short(tolerance, 0)}</span>'
    return (
        f'<div class="scale" aria-hidden="true"><div class="ramp"><div class="within" style="--within:{decades:.2f}">'
        f'</div><div class="beyond" style="--beyond:{BEYOND}"></div></div><div class="ticks">{ticks}{mark}</div></div>'
    )


def _heat_map(report: Report, rows: str) -> str:
    body = [_row(name, [cell(report, judged, name) for judged in report.frameworks]) for name in row_names(report)]
    body.append(_row("worst", [judged.worst for judged in report.frameworks], "worst"))
    return _table(rows, report.frameworks, body)


def _details(report: Report) -> str:
    """Each case's stages, folded."""
    parts = ["<h2>Stages of each case</h2>"]
    for name in row_names(report):
        by_stage = [{one.stage: one for one in judged.groups[name]} for judged in report.frameworks]
        stages = dict.fromkeys(stage for found in by_stage for stage in found)
        body = [_row(stage, [found.get(stage) for found in by_stage]) for stage in stages]
        failed = any(not one.ok for found in by_stage for one in found.values())
        summary = f'{escape(name)} <span class="soft">{len(stages)} stages</span>'
        parts.append(
            f"<details{' open' if failed else ''}><summary>{summary}</summary>"
            f"{_table('stage', report.frameworks, body)}</details>"
        )
    return "\n".join(parts)


def _table(rows: str, frameworks: Iterable[Judged], body: list[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(judged.title)}</th>' for judged in frameworks)
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
        return f'<td class="over" title="{hint}">{short(verdict.max_rel)}</td>'
    degree = heat(verdict.max_rel, verdict.rtol)
    return f'<td class="heat" style="--heat:{degree:.0f}" title="{hint}">{short(verdict.max_rel)}</td>'


def _fills(report: Report) -> str:
    if not report.fills:
        return ""
    titles = {"oracle": "float64", **{judged.name: judged.title for judged in report.frameworks}}
    return "<h2>What stands behind each mask</h2>\n" + "\n".join(_fill(fill, titles) for fill in report.fills)


def _fill(fill: Fill, titles: dict[str, str]) -> str:
    text = escape(fill.text).replace(escape(MASK), f"<mark>{escape(MASK)}</mark>")
    heads = "".join(f'<th scope="col">{escape(titles[name])}</th>' for name in fill.probabilities)
    rows = "".join(
        f'<tr><th scope="row">{_visible(token)}</th>'
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


def _visible(token: str) -> str:
    """A token with its leading blank shown, which is part of it."""
    return f'<span class="soft">\N{OPEN BOX}</span>{escape(token[1:])}' if token.startswith(" ") else escape(token)
