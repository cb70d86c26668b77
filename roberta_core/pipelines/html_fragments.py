"""Results as HTML: marked texts and tables, for pages and for notebooks. Every text is escaped."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HUES = (210, 30, 140, 280, 0, 180, 60, 320)  # of labels, in the order in which they first occur
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # what no HTML document may contain
QUESTION = ("question", "context")
SHOWN = 50  # results in a notebook


@cache
def load_style() -> str:
    """Return the style sheet."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def escape(value: Any) -> str:
    """Return a text for HTML, control characters and half surrogate pairs replaced."""
    return html.escape(CONTROLS.sub("\ufffd", str(value)))


class Hues(dict[str, int]):
    """The colour of each label: a number that is assigned when it is first asked for."""

    def __missing__(self, label: str) -> int:
        self[label] = HUES[len(self) % len(HUES)]
        return self[label]


def build_chip(label: str, hue: int, note: str = "") -> str:
    """Return a label on its colour."""
    return f'<span class="chip" style="--hue:{hue}">{escape(label)}{note}</span>'


def build_bar(share: float, hue: int = HUES[0]) -> str:
    """Return a bar that is filled by a share from 0 to 1."""
    return f'<div class="bar"><i style="width:{100 * min(max(share, 0), 1):.1f}%;--hue:{hue}"></i></div>'


def mark_text(text: str, spans: Iterable[tuple[int, int, str, int]]) -> str:
    """Return a text with spans marked: (start, end, label, hue); of spans that overlap, the first keeps the overlap."""
    made, place = [], 0
    for start, end, label, hue in sorted(spans):
        start = max(start, place)
        made.append(escape(text[place:start]))
        if end > start or label:
            name = f"<b>{escape(label)}</b>" if label else ""
            made.append(f'<mark style="--hue:{hue}">{escape(text[start:end])}{name}</mark>')
        place = max(end, start)
    return f'<p class="text" dir="auto">{"".join(made)}{escape(text[place:])}</p>'


def build_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; numbers are right-aligned, and the last column takes the free width."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_build_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _build_cell(value: Any) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return f'<td class="number">{value:.3f}</td>'
    kind = "number" if isinstance(value, int) else "wide"
    return f'<td class="{kind}" dir="auto">{escape(value)}</td>'


class Markup(str):
    """A table cell that is HTML already, with its `<td>`."""


def show_entities(item: Any, result: Any, hues: Hues) -> str:
    """Return a text with its entities or tokens marked."""
    text = item if isinstance(item, str) else " ".join(item)
    spans = []
    for one in result:
        label = one.get("entity_group", one.get("entity"))
        spans.append((one["start"], one["end"], label, hues[re.sub("^[BIES]-", "", label)]))
    return mark_text(text, spans)


def show_answers(item: Any, result: Any, hues: Hues) -> str:
    """Return a question, its answer, and the context with the answer marked; then the further answers."""
    best, *others = [result] if isinstance(result, Mapping) else result or [{"answer": "", "score": 0.0}]
    question, context = (item[name] if isinstance(item, Mapping) else getattr(item, name) for name in QUESTION)
    found = f"<b>{escape(best['answer'])}</b>" if best["answer"] else "no answer in the text"
    head = f'<p class="text" dir="auto">{escape(question)}<br>{found} <span class="note">{best["score"]:.3f}</span></p>'
    spans = [(best["start"], best["end"], "", HUES[2])] if best["answer"] else []
    rows = [(one["score"], one["answer"] or "no answer") for one in others]
    return head + mark_text(context, spans) + (build_table(("score", "further answers"), rows) if rows else "")


def show_labels(item: Any, result: Any, hues: Hues) -> str:
    """Return a text and a table of its labels with their scores."""
    labels = [result] if isinstance(result, Mapping) else result
    rows = []
    for one in labels:
        hue = hues[one["label"]]
        chip, bar = (build_chip(one["label"], hue), build_bar(one["score"], hue))
        rows.append((Markup(f"<td>{chip}</td>"), one["score"], Markup(f'<td class="wide">{bar}</td>')))
    return mark_text(describe_input(item), ()) + build_table(("label", "score", ""), rows)


def show_table(item: Any, result: Any, hues: Hues) -> str:
    """Return any other result: an input, and a table of its fields."""
    rows = [result] if isinstance(result, Mapping) else result
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return mark_text(describe_input(item), ()) + f'<p class="note">{escape(result)}</p>'
    columns = list(rows[0])
    table = build_table(columns, ([row.get(name, "") for name in columns] for row in rows))
    return mark_text(describe_input(item), ()) + table


def describe_input(item: Any) -> str:
    """Return the texts of an input in one."""
    if isinstance(item, Mapping):
        return "\n".join(str(value) for value in item.values() if isinstance(value, str))
    return item if isinstance(item, str) else "\n".join(map(str, item))


SHOW: dict[str, Callable[[Any, Any, Hues], str]] = {
    "token-classification": show_entities,
    "question-answering": show_answers,
    "text-classification": show_labels,
}


def build_fragment(task: str, pairs: Sequence[tuple[Any, Any]]) -> str:
    """Return the HTML of inputs and their results, with its style, as notebooks show it."""
    hues, show = Hues(), SHOW.get(task, show_table)
    parts = [show(item, result, hues) for item, result in pairs[:SHOWN]]
    if len(pairs) > SHOWN:
        parts.append(f'<p class="note">the first {SHOWN} of {len(pairs):,} results</p>')
    return f'<style>{load_style()}</style><div class="predictions">{"".join(parts)}</div>'


class ResultList(list[Any]):
    """A list of results that a notebook shows with its inputs."""

    _task: str = ""
    _pairs: Sequence[tuple[Any, Any]] = ()

    def _repr_html_(self) -> str:
        return build_fragment(self._task, self._pairs)


class ResultDict(dict[str, Any]):
    """A result that a notebook shows with its input."""

    _task: str = ""
    _pairs: Sequence[tuple[Any, Any]] = ()

    def _repr_html_(self) -> str:
        return build_fragment(self._task, self._pairs)


def attach_html(result: Any, task: str, pairs: Sequence[tuple[Any, Any]]) -> Any:
    """Return a list or dictionary that a notebook shows as HTML; anything else unchanged.

    Args:
        result: what the pipeline returns.
        task: the pipeline's task.
        pairs: the inputs with their results.
    """
    kind = ResultDict if isinstance(result, dict) else ResultList if isinstance(result, list) else None
    if kind is None or not all(map(_has_fields, (one for _, one in pairs))):
        return result
    made = kind(result)
    made._task, made._pairs = task, pairs
    return made


def _has_fields(result: Any) -> bool:
    """Whether a result is a dictionary or a list of dictionaries, not numbers."""
    return isinstance(result, dict) or (isinstance(result, list) and all(isinstance(one, dict) for one in result))
