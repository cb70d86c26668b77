"""A self-contained HTML page of predictions: entities in their texts, answers in their contexts, labels and doubts.

The page loads nothing and runs no script. Rows are added as they come: a page holds what it shows, not all rows.
"""

from bisect import insort
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roberta_core.pipelines.base import RowError
from roberta_core.pipelines.html_fragments import (
    SHOW,
    Hues,
    Markup,
    build_bar,
    build_chip,
    build_table,
    describe_input,
    escape,
    load_style,
    mark_text,
)
from roberta_core.safe_files import create_text

MOST = 1000  # rows that a page shows
DOUBTS = 50  # texts in the list of the least certain
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """:root { color-scheme: light dark; }
body { background: Canvas; color: CanvasText; font: 16px/1.6 system-ui, sans-serif; }
body { max-width: 54rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0.5rem 0; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 1.5rem 0 0.5rem; }
article { border-top: 1px solid hsl(0 0% 50% / 0.25); padding: 0.6rem 0; }
"""


class Page:
    """A page of the predictions of a task.

    Args:
        task: the pipeline's task.
        title: the heading, such as the name of the model.
    """

    noun = "texts"

    def __init__(self, task: str, title: str):
        self.task, self.title = task, title
        self.hues, self.counts = Hues(), Counter[str]()
        self.rows = self.errors = 0
        self.articles: list[str] = []

    def add(self, place: str, item: Any, result: Any) -> None:
        """Add a row.

        Args:
            place: where the row comes from.
            item: the input.
            result: its result, or a `RowError`.
        """
        self.rows += 1
        if isinstance(result, RowError):
            self.errors += 1
            body = f'<p class="error">{escape(result.reason)}</p>'
        else:
            body = self.show(place, item, result)
        if body and len(self.articles) < MOST:
            self.articles.append(f'<article><p class="note">{escape(place)}</p>{body}</article>')

    def show(self, place: str, item: Any, result: Any) -> str:
        """Count a result, and return its part of the page; empty if it has none."""
        self.count(result)
        return SHOW[self.task](item, result, self.hues)

    def count(self, result: Any) -> None:
        """Count what the summary of the page reports."""

    def summarize(self) -> str:
        """Return what stands above the rows."""
        return ""

    def render(self) -> str:
        """Return the page."""
        numbers = [f"{self.rows:,} {self.noun}", *([f"{self.errors:,} with an error"] if self.errors else [])]
        more = self.rows - len(self.articles)
        rest = (
            f"<p>The first {MOST:,} rows are shown; {more:,} are not.</p>"
            if len(self.articles) == MOST and more
            else ""
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}: {escape(self.task)}</title>\n<style>{STYLE}{load_style()}</style></head>\n"
            f'<body class="predictions"><h1>{escape(self.title)}</h1>\n'
            f'<p class="note">{escape(self.task)}: {", ".join(numbers)}</p>\n{self.summarize()}\n'
            + "\n".join(self.articles)
            + f"\n{rest}</body></html>\n"
        )

    def save(self, path: Path) -> None:
        """Write the page into a file."""
        with create_text(path) as stream:
            stream.write(self.render())


class EntityPage(Page):
    """Texts with their entities marked, and the number of entities of each kind."""

    def count(self, result: Any) -> None:
        """Count the entities by label."""
        self.counts.update(one.get("entity_group", one.get("entity")) for one in result)

    def summarize(self) -> str:
        """Return the labels with their numbers, most frequent first."""
        chips = (build_chip(label, self._find_hue(label), f" {count:,}") for label, count in self.counts.most_common())
        return f"<p>{''.join(chips) or 'No entity was found.'}</p>"

    def _find_hue(self, label: str) -> int:
        return self.hues[label[2:] if label[:2] in ("B-", "I-", "E-", "S-") else label]


class AnswerPage(Page):
    """Questions with their answers, marked in the contexts."""

    noun = "questions"

    def count(self, result: Any) -> None:
        """Count the questions without an answer."""
        best = result if isinstance(result, Mapping) else (result or [{"answer": ""}])[0]
        self.counts["none"] += not best["answer"]

    def summarize(self) -> str:
        """Return the number of questions without an answer, if there are any."""
        return (
            f"<p>Questions without an answer in their text: {self.counts['none']:,}</p>" if self.counts["none"] else ""
        )


class LabelPage(Page):
    """How often each label was predicted, and the texts whose label is least certain."""

    def __init__(self, task: str, title: str):
        super().__init__(task, title)
        self.doubts: list[tuple[float, int, str, str, str]] = []

    def show(self, place: str, item: Any, result: Any) -> str:
        """Count the label of a text, and keep the text if it is among the least certain."""
        best = result if isinstance(result, Mapping) else max(result, key=lambda one: one["score"])
        self.counts[best["label"]] += 1
        insort(self.doubts, (best["score"], self.rows, best["label"], place, describe_input(item)))
        del self.doubts[DOUBTS:]
        return ""

    def summarize(self) -> str:
        """Return a bar for each label, and the least certain texts."""
        total = max(1, sum(self.counts.values()))
        rows = [
            (
                Markup(f"<td>{build_chip(label, self.hues[label])}</td>"),
                count,
                Markup(f'<td class="number">{count / total:.1%}</td>'),
                Markup(f'<td class="wide">{build_bar(count / total, self.hues[label])}</td>'),
            )
            for label, count in self.counts.most_common()
        ]
        doubts = [
            f'<article>{build_chip(label, self.hues[label])} <span class="note">{score:.3f} {escape(place)}</span>'
            f"{mark_text(text, ())}</article>"
            for score, _, label, place, text in self.doubts
        ]
        labels = build_table(("label", "texts", "share", ""), rows)
        return f"<h2>Labels</h2>{labels}<h2>Least certain texts</h2>{''.join(doubts)}"


PAGES: dict[str, type[Page]] = {
    "token-classification": EntityPage,
    "question-answering": AnswerPage,
    "text-classification": LabelPage,
}


def build_page(task: str, title: str) -> Page:
    """Return an empty page for the predictions of a task; raise `ValueError` if the task has none."""
    if task not in PAGES:
        raise ValueError(f"{task} has no page of predictions; these have: {', '.join(PAGES)}")
    return PAGES[task](task, title)
