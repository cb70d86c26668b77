"""Classification of single texts and pairs of texts: a label each, several labels each, or a number (regression).

Shapes: K labels.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.columns import PAIRS, SINGLES, describe_missing
from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task, require_label, require_text, softmax
from roberta_core.tasks.features import Feature, Output

LABELS = ("label", "labels", "gold_label", "score", "is_duplicate")
ARCHITECTURE = "ForSequenceClassification"
SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
# A recipe's word -> the published problem_type.
PROBLEMS = {"classification": SINGLE_LABEL, "multi-label": MULTI_LABEL, "regression": REGRESSION}
MISSING = "-1"  # how `datasets` writes a missing label
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")  # of a column for one of several labels

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Classified:
    """The label of a text.

    Args:
        label: the best label.
        score: its score.
        scores: the score of each of the K labels: probabilities, or of a regression the numbers that the model gives.
        truncated: whether the text was longer than the model accepts, and was truncated.
        labels: of a multi-label model, the labels that are predicted.
    """

    label: str
    score: float
    scores: dict[str, float]
    truncated: bool
    labels: tuple[str, ...] = ()


class Classification(Task):
    """Sequence classification: one label for each text, several, or a number.

    Labels that are numbers with fractions make a regression, and lists of labels or several columns of 0 and 1
    (`columns={"label": "toxic,threat"}`) a multi-label classification, unless the recipe says.
    """

    name = "classification"
    architecture = ARCHITECTURE
    fields = {"text": SINGLES, "text_pair": ("text_pair",), "label": LABELS}  # noqa: RUF012
    recipes = ("glue", "tiny-classification")
    problem_type = ""  # the published one, once it is known

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The score that selects the best model."""
        return {REGRESSION: "pearson", MULTI_LABEL: "f1"}.get(self.problem_type, "accuracy")

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return a text or a pair of texts."""
        first, second = self._texts(record)
        return {"text": first, "text_pair": second}

    def _texts(self, record: Record) -> tuple[str, str | None]:
        if "text_pair" in self.columns:
            pair = [self.get_column(record, name, (name,)) for name in ("text", "text_pair")]
            return require_text(pair[0], "text"), require_text(pair[1], "text_pair")
        if "text" not in self.columns:
            for first, second in PAIRS:
                if record.fields.get(first) is not None and record.fields.get(second) is not None:
                    return require_text(record.fields[first], first), require_text(record.fields[second], second)
        return require_text(self.get_column(record, "text", SINGLES), "text"), None

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the label as text, or a list of labels."""
        if columns := self._label_columns():
            return {"label": [name for name in columns if _is_set(record, name)]}
        column = self.find_column(record, "label", LABELS)
        value = record.fields[column]
        if not isinstance(value, list):
            return {"label": require_label(value, column)}
        labels = [require_label(one, column) for one in value]
        twice = sorted(label for label, count in Counter(labels).items() if count > 1)
        if twice:
            raise DataError(
                f"its labels have {twice[0]!r} twice: list the names of its labels, or make a column of 0 and 1 for "
                "each label and name them all, as in label=FIRST,SECOND"
            )
        return {"label": labels}

    def _label_columns(self) -> list[str]:
        """Return the columns of several labels; none if one column holds the label."""
        names = self.columns.get("label", "").split(",")
        return names if len(names) > 1 else []

    def settle(self, examples: Sequence[Example], learn: bool) -> None:
        """Make single labels lists of one where several are possible."""
        problem = PROBLEMS.get(self.settings.problem, "") if learn else self.problem_type
        for example in examples if problem == MULTI_LABEL else ():
            if isinstance(example.fields["label"], str):
                example.fields["label"] = [example.fields["label"]]

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn the labels in order (numbers by size), or that they are the values of a regression.

        Raises:
            DataError: all labels are the same, or some are fractions and others are not numbers.
        """
        several = self._has_several(examples)
        # The others are not learned from, and `check` reports them.
        usable = [example for example in examples if isinstance(example.fields["label"], list) == several]
        found = [example.fields["label"] for example in usable]
        flat = [label for labels in found for label in ([labels] if isinstance(labels, str) else labels)]
        numbers = {label: _number(label) for label in flat}
        checkpoint = self.problem_type
        self.problem_type = MULTI_LABEL if several else self._decide_problem(usable, numbers)
        if self.problem_type == REGRESSION:
            self.refuse_weights("these labels are the numbers of a regression")
            self.head_fits = checkpoint == REGRESSION and len(self.labels) == 1
            self.labels = self.labels if self.head_fits else ("score",)
            return
        if not self.settings.problem and not several and has_missing_label(numbers):
            numbers.pop(MISSING)  # `check` reports the examples
            flat = found = [label for label in found if label != MISSING]
        labels = self._label_columns() if several else []
        numeric = None not in numbers.values()
        labels = labels or sorted(numbers, key=lambda label: (numbers[label] or 0.0 if numeric else 0.0, label))
        if found and (len(labels) < 2 or (several and len({frozenset(one) for one in found}) < 2)):
            raise DataError(f"all training examples have the label {found[0]!r}: a model needs at least two")
        self.learn_labels(labels)
        self.head_fits = self.head_fits and checkpoint in ("", self.problem_type)
        counts = Counter(flat)
        if self.settings.balance and (rare := [label for label in labels if not counts[label]]):
            raise DataError(f"balance: no training example has the label {', '.join(rare)}")
        self.learn_weights({label: counts[label] for label in self.labels}, len(found) if several else None)

    def _has_several(self, examples: Sequence[Example]) -> bool:
        """Return whether texts have several labels: as the settings say, else what most of the examples have."""
        if self.settings.problem:
            return PROBLEMS[self.settings.problem] == MULTI_LABEL
        return 2 * sum(isinstance(example.fields["label"], list) for example in examples) > len(examples)

    def _decide_problem(self, examples: Sequence[Example], numbers: Mapping[str, float | None]) -> str:
        fraction = next((label for label, value in numbers.items() if value is not None and value % 1), None)
        if self.settings.problem or fraction is None:
            return PROBLEMS.get(self.settings.problem, SINGLE_LABEL)
        for example in examples:
            if numbers[example.fields["label"]] is None:
                label = example.fields["label"]
                raise DataError(
                    f"{example.place}: its label {label!r} is not a number, but {fraction!r} is a fraction; set "
                    'problem = "regression" to skip such records, or problem = "classification"'
                )
        return REGRESSION

    def describe(self) -> str:
        """Return whether labels are classes, and which, or numbers, and the weights."""
        if self.problem_type == REGRESSION:
            return "regression: the labels are numbers"
        several = "multi-label " if self.problem_type == MULTI_LABEL else ""
        labels = ", ".join(self.labels)
        doubt = (
            f"; {MISSING} is a class: remove its records if it means a missing label" if MISSING in self.labels else ""
        )
        return f"{several}classification with {len(self.labels)} labels: {labels}{self.describe_weights()}{doubt}"

    def check(self, example: Example) -> str:
        """Return what is wrong with the label: it was not learned, or is not a number."""
        label = example.fields["label"]
        if isinstance(label, list) != (self.problem_type == MULTI_LABEL):
            return (
                f"its label {label!r} is not a list, but the model predicts several labels"
                if isinstance(label, str)
                else f"it has a list of labels, {label!r}, but the model predicts one"
            )
        if isinstance(label, list):
            unknown = ", ".join(sorted(set(label) - set(self.labels)))
            return f"its labels {unknown} are unknown; the known labels are {', '.join(self.labels)}" if unknown else ""
        if self.problem_type == REGRESSION:
            return "" if _number(label) is not None else f"its label {label!r} is not a number"
        if label not in self.labels and has_missing_label({label, *self.labels}):
            return f'its label is missing: {MISSING} beside labels from 0 (problem = "classification" makes it a class)'
        return (
            ""
            if label in self.labels
            else f"its label {label!r} is unknown; the known labels are {', '.join(self.labels)}"
        )

    def config(self) -> dict[str, Any]:
        """Return the labels by number, and the problem type."""
        return {"id2label": dict(enumerate(self.labels)), "problem_type": self.problem_type}

    def read_config(self, config: RobertaConfig) -> None:
        """Take over the labels and the problem type of a checkpoint."""
        self.labels = tuple(config.id2label[number] for number in range(config.num_labels))
        self.problem_type = config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE_LABEL)

    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return a row for each example, the longer text truncated first; `notes` is whether it was truncated."""
        if not examples:
            return []
        texts = [
            (example.fields["text"],) if example.fields.get("text_pair") is None
            else (example.fields["text"], example.fields["text_pair"])
            for example in examples
        ]  # fmt: skip
        rows = self.tokenizer([text if len(text) == 2 else text[0] for text in texts])["input_ids"]
        made = []
        for number, (example, text, ids) in enumerate(zip(examples, texts, rows, strict=True)):
            truncated = len(ids) > self.length
            if truncated:
                ids = self.tokenizer(*text, truncation=True, max_length=self.length)["input_ids"]
            made.append(Feature(ids, self._target(example), number, truncated, truncated))
        return made

    def _target(self, example: Example) -> dict[str, Any]:
        if "label" not in example.fields:
            return {}
        label = example.fields["label"]
        if self.problem_type == REGRESSION:
            return {"labels": float(label)}
        if self.problem_type == MULTI_LABEL:
            present = np.isin(self.labels, label)
            target: dict[str, Any] = {"labels": present.astype(np.float32)}
            if self.weights:
                own = [self.weights[name] for name in self.labels]
                target["label_weights"] = np.where(present, own, 1.0).astype(np.float32)
            return target
        weights = {"label_weights": float(self.weights[label])} if self.weights else {}
        return {"labels": self.labels.index(label), **weights}

    def decode(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]
    ) -> list[Classified]:
        """Return the label of each example, or its number."""
        return [
            self._classify(output["logits"], bool(feature.notes))
            for feature, output in zip(features, outputs, strict=True)
        ]

    def _classify(self, logits: np.ndarray, truncated: bool) -> Classified:
        values = logits.astype(np.float64)  # [K]
        if self.problem_type == SINGLE_LABEL:
            values = softmax(values)
        elif self.problem_type == MULTI_LABEL:
            values = 1 / (1 + np.exp(-values))
        scores = dict(zip(self.labels, values.tolist(), strict=True))
        best = self.labels[int(values.argmax())]
        several = [label for label, score in scores.items() if score >= self.settings.threshold]
        return Classified(
            best, scores[best], scores, truncated, tuple(several) if self.problem_type == MULTI_LABEL else ()
        )

    def value_of(self, prediction: Classified) -> Any:
        """Return the label, the list of labels, or the number."""
        if self.problem_type == MULTI_LABEL:
            return list(prediction.labels)
        return prediction.score if self.problem_type == REGRESSION else prediction.label

    def expected(self, example: Example) -> Any:
        """Return the label, the list of labels, or the number."""
        label = example.fields["label"]
        if self.problem_type == MULTI_LABEL:
            return [name for name in self.labels if name in label]
        return float(label) if self.problem_type == REGRESSION else label

    def score(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Return accuracy, F1 and Matthews' correlation; of a regression Pearson's and Spearman's.

        Of several labels the F1 of all decisions, its mean over the labels, and the share of exact predictions.
        """
        gold = [self.expected(example) for example in examples]
        if self.problem_type == MULTI_LABEL:
            return metrics.multi_label(gold, values, self.labels)
        if self.problem_type == REGRESSION:
            return metrics.regression(gold, values)
        return metrics.classification(gold, values, self.labels)


def classify(
    backend: Backend, model: Any, tokenizer: Any, texts: Iterable[Text], budget: int | None = None
) -> Iterator[Classified]:
    """Yield the label of each text or pair of texts, in order.

    Args:
        backend: the framework.
        model: the framework's own model, such as `backend.from_pretrained("ForSequenceClassification", ...)`.
        tokenizer: a `RobertaTokenizerFast` or `TokenizerFast`.
        texts: may be empty; a text that is longer than the model accepts is truncated at its end.
        budget: tokens per batch; by default measured if there are many texts.

    Raises:
        ValueError: the model's logits are not finite.
    """
    return build_task(tokenizer, model.config).predict(backend, model, map(as_example, texts), budget)


def build_task(tokenizer: Any, config: RobertaConfig) -> Classification:
    """Return the task over a tokenizer and a model's configuration."""
    task = Classification(tokenizer, config.max_sequence_length)
    task.read_config(config)
    return task


def as_example(text: Text) -> Example:
    """Return the example of a text or a pair of texts."""
    first, second = text if isinstance(text, tuple) else (text, None)
    return Example("", {"text": first, "text_pair": second})


def has_missing_label(labels: Collection[str]) -> bool:
    """Return whether -1 among labels is no class: the others are 0, 1, 2 and so on, at least three of them."""
    others = {*labels} - {MISSING}
    return MISSING in labels and len(others) > 2 and others == {str(number) for number in range(len(others))}


def _is_set(record: Record, column: str) -> bool:
    """Whether a record has a label that has a column; raise `DataError` if the column is missing or unclear."""
    if column not in record.fields:
        raise DataError(describe_missing("label", [column], record.fields))
    value = str(record.fields[column]).strip().lower()
    if value not in (*YES, *NO):
        raise DataError(
            f"its column {column} is {record.fields[column]!r}; for one of several labels it must be 0 or 1"
        )
    return value in YES


def _number(label: str) -> float | None:
    try:
        value = float(label)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
