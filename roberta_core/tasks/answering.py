"""Extractive question answering: the span of a context that answers a question, or none, as in SQuAD 1.1 and 2.0.

Shapes: S sequence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task, require_text, softmax
from roberta_core.tasks.features import Feature, Output, split_windows
from roberta_core.tasks.settings import NO_ANSWER

NOWHERE = 0  # the position of `<s>`, which stands for "no answer in this window"


@dataclass(frozen=True)
class Span:
    """A span of a context: its text, first character and the one after its last.

    Args:
        text: the characters of the context.
        start: index of the first character.
        end: index of the character after the last.
        score: the sum of the logits of its first and last token.
        probability: the softmax of the scores of all candidates, "no answer" included where it is allowed.
    """

    text: str
    start: int
    end: int
    score: float
    probability: float


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        text: the best span's text; empty if there is no answer.
        span: the best span; None if there is no answer.
        candidates: the best spans, best first.
        null_score: the score of "no answer".
    """

    text: str
    span: Span | None
    candidates: tuple[Span, ...]
    null_score: float


class QuestionAnswering(Task):
    """Rows `<s> question </s></s> window </s>`: windows of the context that share `settings.overlap` tokens."""

    name = "question-answering"
    architecture = "ForQuestionAnswering"
    fields = {"context": ("context",), "question": ("question",), "answers": ("answers", "answer")}  # noqa: RUF012
    recipes = ("squad", "squad2", "tiny-answering")
    metric = "f1"
    no_answer = ""  # whether a question may have none, as learned or as the checkpoint says; one of NO_ANSWER

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return a question and a context."""
        context = require_text(self.get_column(record, "context", ("context",)), "context")
        question = require_text(self.get_column(record, "question", ("question",)), "question")
        return {"id": str(record.fields.get("id", record.place)), "question": question, "context": context}

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answers: SQuAD's list of `text` and `answer_start`, or a mapping of two lists."""
        context = inputs["context"]
        answers = list(_answers(self.get_column(record, "answers", ("answers", "answer"))))
        impossible = record.fields.get("is_impossible", not answers)
        if bool(impossible) == bool(answers):
            raise DataError("it is marked as impossible, but has an answer" if answers else "it has no answer")
        for start, answer in answers:
            if context[start : start + len(answer)] != answer:
                shown = answer if len(answer) <= 40 else f"{answer[:40]}..."
                raise DataError(f"its answer {shown!r} is not in the context at {start}")
        return {"answers": answers}

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn whether questions may have no answer."""
        self.refuse_weights("answers have none")
        self.no_answer = "allowed" if any(not example.fields["answers"] for example in examples) else "never"

    @property
    def allows_no_answer(self) -> bool:
        """Whether a question may have no answer: as the settings or the checkpoint say, else it always has one."""
        return (self.settings.no_answer or self.no_answer) == "allowed"

    def describe(self) -> str:
        """Return whether questions may have no answer."""
        return "questions may have no answer" if self.allows_no_answer else "every question has an answer"

    def check(self, example: Example) -> str:
        """Refuse a question without an answer if neither the settings nor the checkpoint say whether there may be any.

        Raises:
            DataError: it is undecided.
        """
        if not example.fields["answers"] and not (self.settings.no_answer or self.no_answer):
            raise DataError(
                f"{example.place}: the question has no answer, and the checkpoint does not say whether questions may "
                "have none: use the recipe squad2, or set no_answer in the table [task] of the recipe"
            )
        return ""

    def config(self) -> dict[str, Any]:
        """Return two labels, start and end, and whether questions may have no answer."""
        return {"num_labels": 2} | self.as_parameters(no_answer="allowed" if self.allows_no_answer else "never")

    def read_config(self, config: RobertaConfig) -> None:
        """Take over whether questions may have no answer."""
        found = self.read_parameter(config, "no_answer")
        self.no_answer = found if found in NO_ANSWER else ""

    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return windows, their targets the first answer's first and last token, or `<s>` if it is not whole inside.

        `notes` [S] is the character span of each token of the context; None for tokens of the question.
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
            windows = self._windows(number, example, ids[:limit], *contexts[context])
            made += [replace(window, truncated=len(ids) > limit) for window in windows]
        return made

    def _windows(
        self, number: int, example: Example, question: list[int], tokens: list[int], spans: list[tuple[int, int]]
    ) -> Iterator[Feature]:
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True) - len(question)
        overlap = min(self.settings.overlap, room // 2)  # at least half of each window is new
        before = len(self.tokenizer.build_inputs_with_special_tokens(question, [])) - 1
        for begin, end in split_windows(len(tokens), room, overlap):
            row = self.tokenizer.build_inputs_with_special_tokens(question, tokens[begin:end])
            notes = [None] * before + list(spans[begin:end]) + [None]
            yield Feature(row, self._target(example, notes), number, notes)

    def _target(self, example: Example, notes: list[Any]) -> dict[str, Any]:
        if "answers" not in example.fields:
            return {}
        start, end = self._positions(example.fields["answers"], notes)
        return {"start_positions": start, "end_positions": end}

    def _positions(self, answers: list[tuple[int, str]], notes: list[Any]) -> tuple[int, int]:
        if not answers:
            return NOWHERE, NOWHERE
        begin, end = answers[0][0], answers[0][0] + len(answers[0][1])
        inside = [place for place, span in enumerate(notes) if span and span[0] < end and begin < span[1]]
        if not inside or notes[inside[0]][0] > begin or notes[inside[-1]][1] < end:
            return NOWHERE, NOWHERE
        return inside[0], inside[-1]

    def decode(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]
    ) -> list[Answer]:
        """Return the answer to each question; none where that scores better by `settings.null_threshold`."""
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
        """Return the best spans of a window: score, first character and the one after the last."""
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
        found: dict[str, tuple[float, int, int]] = {}
        for span in sorted(spans, key=lambda span: -span[0]):
            found.setdefault(context[span[1] : span[2]], span)
        kept = list(found.items())[: self.settings.candidates]
        if not kept:
            return Answer("", None, (), null)
        scores = [score for _, (score, _, _) in kept]
        probabilities = softmax(np.array([*scores, null] if self.allows_no_answer else scores)).tolist()
        candidates = tuple(
            Span(text, begin, end, score, probability)
            for (text, (score, begin, end)), probability in zip(kept, probabilities[: len(kept)], strict=True)
        )
        if self.allows_no_answer and null - scores[0] > self.settings.null_threshold:
            return Answer("", None, candidates, null)
        return Answer(candidates[0].text, candidates[0], candidates, null)

    def value_of(self, prediction: Answer) -> str:
        """Return the answer's text, empty if there is none."""
        return prediction.text

    def expected(self, example: Example) -> str:
        """Return the first answer, empty if there is none."""
        return example.fields["answers"][0][1] if example.fields["answers"] else ""

    def score(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Return exact match and F1, by SQuAD's definition."""
        return metrics.answering([[answer for _, answer in example.fields["answers"]] for example in examples], values)


def _answers(found: Any) -> Iterator[tuple[int, str]]:
    """Yield the answers as (first character, text); raise `DataError` for another form."""
    if isinstance(found, Mapping):
        texts, starts = found.get("text"), found.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError("its answers have no lists `text` and `answer_start` of one length")
        found = [{"text": answer, "answer_start": start} for answer, start in zip(texts, starts, strict=True)]
    if not isinstance(found, list):
        raise DataError("its answers are not a list")
    for answer in found:
        start = answer.get("answer_start") if isinstance(answer, Mapping) else None
        if isinstance(start, bool) or not isinstance(start, int) or start < 0:
            raise DataError("an answer has no answer_start")
        whole = require_text(answer.get("text"), "answer")
        yield start + len(whole) - len(whole.lstrip()), whole.strip()
