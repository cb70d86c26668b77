"""Extractive question answering: the span of a context that answers a question, or none, as in SQuAD 1.1 and 2.0.

Shapes: S sequence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Feature, Task, text

NOWHERE = 0  # the place of `<s>`, which stands for "no answer in this window"


@dataclass(frozen=True)
class Answer:
    """The best spans of a context with their scores (sums of two logits), best first, and the score of no answer."""

    text: str
    candidates: tuple[tuple[str, float], ...]
    null_score: float


class QuestionAnswering(Task):
    """Rows `<s> question </s></s> window </s>`: windows of the context that overlap by `settings.overlap` tokens."""

    name = "question-answering"
    architecture = "ForQuestionAnswering"
    metric = "f1"
    answerable = True  # whether every question of the data has an answer

    def example(self, record: Record) -> Example:
        """A question, a context and answers: SQuAD's list of `text` and `answer_start`, or a mapping of two lists."""
        context = text(self.column(record, "context", ("context",)), "context")
        question = text(self.column(record, "question", ("question",)), "question")
        answers = list(_answers(self.column(record, "answers", ("answers", "answer"))))
        impossible = record.fields.get("is_impossible", not answers)
        if bool(impossible) == bool(answers):
            raise DataError("it is said to have no answer, but has one" if answers else "it has no answer")
        for start, answer in answers:
            if context[start : start + len(answer)] != answer:
                shown = answer if len(answer) <= 40 else f"{answer[:40]}..."
                raise DataError(f"its answer {shown!r} is not in the context at {start}")
        self.answerable = self.answerable and bool(answers)
        key = str(record.fields.get("id", record.place))
        return Example(record.place, {"id": key, "question": question, "context": context, "answers": answers})

    def features(self, examples: Sequence[Example]) -> list[Feature]:
        """Windows, their targets the first answer's first and last token, or `<s>` where it is not whole inside.

        `notes` [S] are the characters of the context that each token stands for; None for tokens of the question.
        """
        if not examples:
            return []
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True)
        limit = min(self.settings.longest_question or room // 2, room // 2)
        questions = self.tokenizer([example.fields["question"] for example in examples], add_special_tokens=False)
        contexts: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
        made = []
        for number, (example, ids) in enumerate(zip(examples, questions["input_ids"], strict=True)):
            context = example.fields["context"]
            if context not in contexts:
                found = self.tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)
                contexts[context] = found["input_ids"], found["offset_mapping"]
            made += self._windows(number, example, ids[:limit], *contexts[context])
        return made

    def _windows(
        self, number: int, example: Example, question: list[int], tokens: list[int], spans: list[tuple[int, int]]
    ) -> Iterator[Feature]:
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True) - len(question)
        step = max(1, room - self.settings.overlap)
        before = len(self.tokenizer.build_inputs_with_special_tokens(question, [])) - 1
        for begin in range(0, max(len(tokens) - room + step, 1), step):
            end = min(begin + room, len(tokens))
            row = self.tokenizer.build_inputs_with_special_tokens(question, tokens[begin:end])
            notes = [None] * before + list(spans[begin:end]) + [None]
            start, stop = self._target(example.fields["answers"], notes)
            yield Feature(row, {"start_positions": start, "end_positions": stop}, number, notes)

    def _target(self, answers: list[tuple[int, str]], notes: list[Any]) -> tuple[int, int]:
        if not answers:
            return NOWHERE, NOWHERE
        begin, end = answers[0][0], answers[0][0] + len(answers[0][1])
        inside = [place for place, span in enumerate(notes) if span and span[0] < end and begin < span[1]]
        if not inside or notes[inside[0]][0] > begin or notes[inside[-1]][1] < end:
            return NOWHERE, NOWHERE
        return inside[0], inside[-1]

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Any]:
        """An `Answer` for each example; its text is empty where no answer is better by `settings.null_threshold`."""
        spans: list[list[tuple[float, int, int]]] = [[] for _ in examples]
        nulls = [np.inf] * len(examples)
        for feature, output in zip(features, outputs, strict=True):
            starts, ends = output["start_logits"], output["end_logits"]
            nulls[feature.example] = min(nulls[feature.example], float(starts[NOWHERE] + ends[NOWHERE]))
            spans[feature.example] += self._best(feature.notes, starts, ends)
        return [
            self._answer(example.fields["context"], found, null)
            for example, found, null in zip(examples, spans, nulls, strict=True)
        ]

    def _best(self, notes: list[Any], starts: np.ndarray, ends: np.ndarray) -> list[tuple[float, int, int]]:
        """The best spans of a window: score, first and last character."""
        places = np.array([place for place, span in enumerate(notes) if span and span[0] < span[1]], np.int64)
        if not len(places):
            return []
        keep = min(self.settings.candidates, len(places))
        first = places[np.argsort(-starts[places], kind="stable")[:keep]]
        last = places[np.argsort(-ends[places], kind="stable")[:keep]]
        size = last[None, :] - first[:, None] + 1
        scores = np.where(
            (size >= 1) & (size <= self.settings.longest_answer), starts[first][:, None] + ends[last], -np.inf
        )
        order = np.argsort(-scores, axis=None, kind="stable")[:keep]
        rows, columns = np.unravel_index(order, scores.shape)
        return [
            (float(scores[row, column]), notes[first[row]][0], notes[last[column]][1])
            for row, column in zip(rows, columns, strict=True)
            if np.isfinite(scores[row, column])
        ]

    def _answer(self, context: str, spans: list[tuple[float, int, int]], null: float) -> Answer:
        found: dict[str, float] = {}
        for score, begin, end in sorted(spans, key=lambda span: -span[0]):
            found.setdefault(context[begin:end], score)
        candidates = tuple(found.items())[: self.settings.candidates]
        best = candidates[0] if candidates else ("", -np.inf)
        silent = not self.answerable and null - best[1] > self.settings.null_threshold
        return Answer("" if silent else best[0], candidates, null)

    def wanted(self, example: Example) -> Any:
        """The first answer, empty if there is none."""
        return example.fields["answers"][0][1] if example.fields["answers"] else ""

    def scores(self, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        """Exact match and F1, by SQuAD's definition."""
        gold = [[answer for _, answer in example.fields["answers"]] for example in examples]
        return metrics.answering(gold, [answer.text for answer in predictions])


def _answers(found: Any) -> Iterator[tuple[int, str]]:
    """The answers as (first character, text); `DataError` for another form."""
    if isinstance(found, Mapping):
        texts, starts = found.get("text"), found.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError("its answers have no lists `text` and `answer_start` of one length")
        found = [{"text": answer, "answer_start": start} for answer, start in zip(texts, starts, strict=True)]
    if not isinstance(found, list):
        raise DataError("its answers are no list")
    for answer in found:
        start = answer.get("answer_start") if isinstance(answer, Mapping) else None
        if isinstance(start, bool) or not isinstance(start, int) or start < 0:
            raise DataError("an answer has no answer_start")
        yield start, text(answer.get("text"), "answer")
