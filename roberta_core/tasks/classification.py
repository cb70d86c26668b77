"""Single texts and pairs of texts: a label each, or a number each (regression).

Shapes: B batch, S sequence, K labels.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.records import DataError, Record
from roberta_core.data.streams import best_budget, through
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Feature, Task, text
from roberta_core.tasks.fill_mask import softmax

PAIRS = (
    ("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("question", "sentence"),
)  # fmt: skip
SINGLES = ("text", "sentence", "content")
LABELS = ("label", "labels", "gold_label", "score")
CLASSIFICATION, REGRESSION = "classification", "regression"


class Classification(Task):
    """Sequence classification; with numbers that are not all whole it is a regression, unless the recipe says."""

    name = "classification"
    architecture = "ForSequenceClassification"

    problem = ""

    @property
    def metric(self) -> str:  # type: ignore[override]
        """What says which model is best."""
        return "pearson" if self.problem == REGRESSION else "accuracy"

    def example(self, record: Record) -> Example:
        """A text or a pair of them, and the label as text."""
        first, second = self._texts(record)
        label = self.column(record, "label", LABELS)
        if isinstance(label, list | dict) or not str(label).strip():
            raise DataError(f"its label is {label!r}")
        return Example(record.place, {"text": first, "text_pair": second, "label": str(label).strip()})

    def _texts(self, record: Record) -> tuple[str, str | None]:
        if "text_pair" in self.columns:
            pair = [self.column(record, name, (name,)) for name in ("text", "text_pair")]
            return text(pair[0], "text"), text(pair[1], "text_pair")
        if "text" not in self.columns:
            for first, second in PAIRS:
                if record.fields.get(first) is not None and record.fields.get(second) is not None:
                    return text(record.fields[first], first), text(record.fields[second], second)
        return text(self.column(record, "text", SINGLES), "text"), None

    def learn(self, examples: Sequence[Example]) -> None:
        """The labels in order (numbers by size), or that they are the values of a regression."""
        labels = {example.fields["label"] for example in examples}
        numbers = {label: _number(label) for label in labels}
        fractions = all(value is not None for value in numbers.values()) and any(
            value is not None and value % 1 for value in numbers.values()
        )
        self.problem = self.settings.problem or (REGRESSION if fractions else CLASSIFICATION)
        if self.problem == REGRESSION:
            self.labels = (self.labels or ("score",))[:1]
        else:
            numeric = all(value is not None for value in numbers.values())
            self.labels = tuple(sorted(labels, key=lambda label: (numbers[label] or 0.0 if numeric else 0.0, label)))

    def check(self, example: Example) -> str:
        """Whether the label is one of those learnt, or a number."""
        label = example.fields["label"]
        if self.problem == REGRESSION:
            return "" if _number(label) is not None else f"its label {label!r} is no number"
        return "" if label in self.labels else f"its label {label!r} is unknown; known are {', '.join(self.labels)}"

    def config(self) -> dict[str, Any]:
        """The labels by number, and the kind of problem."""
        kind = "regression" if self.problem == REGRESSION else "single_label_classification"
        return {"id2label": dict(enumerate(self.labels)), "problem_type": kind}

    def of_config(self, config: RobertaConfig) -> None:
        """The labels of a checkpoint."""
        self.labels = tuple(config.id2label[number] for number in range(config.num_labels))
        regression = config.problem_type == "regression" or (config.problem_type is None and config.num_labels == 1)
        self.problem = REGRESSION if regression else CLASSIFICATION

    def features(self, examples: Sequence[Example]) -> list[Feature]:
        """A row an example, the longer text cut first where both do not fit."""
        if not examples:
            return []
        texts = [example.fields["text"] for example in examples]
        pairs = [example.fields["text_pair"] for example in examples]
        both = [first if second is None else (first, second) for first, second in zip(texts, pairs, strict=True)]
        rows = self.tokenizer(both, truncation=True, max_length=self.length)["input_ids"]
        return [
            Feature(ids, self._target(e), number) for number, (ids, e) in enumerate(zip(rows, examples, strict=True))
        ]

    def _target(self, example: Example) -> dict[str, Any]:
        label = example.fields["label"]
        return {"labels": float(label) if self.problem == REGRESSION else self.labels.index(label)}

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Any]:
        """The best label of each example, or its number."""
        if self.problem == REGRESSION:
            return [float(output["logits"][0]) for output in outputs]
        return [self.labels[int(output["logits"].argmax())] for output in outputs]

    def wanted(self, example: Example) -> Any:
        """The label, or the number."""
        return float(example.fields["label"]) if self.problem == REGRESSION else example.fields["label"]

    def scores(self, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        """Accuracy, F1 and Matthews' correlation; of a regression Pearson's and Spearman's."""
        gold = [example.fields["label"] for example in examples]
        if self.problem == REGRESSION:
            return metrics.regression([float(label) for label in gold], predictions)
        return metrics.classification(gold, predictions, self.labels)


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


ARCHITECTURE = "ForSequenceClassification"
TOKENISED = 256  # texts at once
USUAL = 32  # tokens of a text, where nothing else is known
KINDS = ("single_label_classification", "multi_label_classification", "regression")

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Classified:
    """A text's best label with its score, the scores of all K labels, and whether the text had to be cut.

    Scores are probabilities; of a regression they are the numbers that the model gives.
    """

    label: str
    score: float
    scores: dict[str, float]
    cut: bool


def kind_of(config: RobertaConfig) -> str:
    """What the scores are: as the checkpoint says, else a regression if there is one label."""
    return config.problem_type or (KINDS[2] if config.num_labels == 1 else KINDS[0])


def classify(
    backend: Backend, model: Any, tokenizer: Any, texts: Iterable[Text], budget: int | None = None
) -> Iterator[Classified]:
    """The label of each text or pair of texts, in their order, as they come.

    Args:
        backend: the framework.
        model: the framework's own model, such as `backend.from_pretrained("ForSequenceClassification", ...)`.
        tokenizer: a `RobertaTokenizerFast`.
        texts: what is longer than the model takes is cut at its end.
        budget: tokens a batch; by default what a short measurement finds best.

    Raises:
        ValueError: the model's scores are not finite.
    """
    config, pad = model.config, tokenizer.pad_token_id
    longest = config.max_sequence_length

    def run(rows: list[tuple[list[int], bool]]) -> list[Classified]:
        width = max(len(ids) for ids, _ in rows)
        ids = np.full((len(rows), width), pad, np.int64)
        for number, (row, _) in enumerate(rows):
            ids[number, : len(row)] = row
        logits = backend.run(model, {"input_ids": ids, "attention_mask": (ids != pad).astype(np.int64)}).logits
        return [named(config, scores, cut) for scores, (_, cut) in zip(logits, rows, strict=True)]

    budget = usual_budget(backend, model, tokenizer) if budget is None else budget
    return through(tokenised(tokenizer, texts, longest), lambda row: len(row[0]), run, budget)


def usual_budget(backend: Backend, model: Any, tokenizer: Any) -> int:
    """The tokens a batch that a short measurement finds best for texts of the usual length."""

    def trial(size: int, length: int) -> None:
        ids = np.full((size, length), tokenizer.unk_token_id, np.int64)
        backend.run(model, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    return best_budget(trial, min(USUAL, model.config.max_sequence_length))


def tokenised(tokenizer: Any, texts: Iterable[Text], longest: int) -> Iterator[tuple[list[int], bool]]:
    """The ids of each text, at most `longest`, and whether there were more."""
    stream = iter(texts)
    while held := list(islice(stream, TOKENISED)):
        for given, whole in zip(held, tokenizer(held)["input_ids"], strict=True):
            cut = len(whole) > longest
            pair = given if isinstance(given, tuple) else (given,)
            yield (tokenizer(*pair, truncation=True, max_length=longest)["input_ids"] if cut else whole), cut


def named(config: RobertaConfig, logits: np.ndarray, cut: bool) -> Classified:
    """The answer that logits [K] give. `ValueError` if they are not finite."""
    if not np.isfinite(logits).all():
        raise ValueError("the model's scores are not finite numbers: its weights are broken")
    kind, wide = kind_of(config), logits.astype(np.float64)
    if kind == "single_label_classification":
        wide = softmax(wide)
    elif kind == "multi_label_classification":
        wide = 1 / (1 + np.exp(-wide))
    scores = {config.id2label[number]: float(score) for number, score in enumerate(wide)}
    best = max(scores, key=lambda label: scores[label])
    return Classified(best, scores[best], scores, cut)
