"""What every task shares: record -> example -> features -> decode -> score, and `predict` with any framework.

Shapes: B batch, S sequence, C choices, K labels.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np

from roberta_core.backend import Backend
from roberta_core.checkpoints import resolve
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import Batch
from roberta_core.data.columns import describe_missing
from roberta_core.data.records import LONGEST, Columns, DataError, Record, Skipped, is_unicode
from roberta_core.data.streams import choose_budget
from roberta_core.tasks.features import Feature, Output, collate, measure_budget, run_features
from roberta_core.tasks.settings import TaskSettings
from roberta_core.tokenization import load_tokenizer

STEP = 16  # S of a training batch is a multiple of this: few shapes suit compilers
WINDOW = 2048  # examples that `predict` holds at a time
BUDGET = choose_budget()  # tokens per batch of `predict` where no budget is measured
MEASURED = WINDOW  # examples from which on measuring the best budget, which takes seconds, pays off
USUAL_LENGTH = 32  # tokens of a row, assumed by the measurement


@dataclass
class Example:
    """A record that a task can use: its fields by the task's own names."""

    place: str
    fields: dict[str, Any]


@dataclass
class Task(ABC):
    """A task over a tokenizer, from records to predictions.

    Args:
        tokenizer: a `RobertaTokenizerFast` or `TokenizerFast`.
        length: the most tokens that a row may have.
        settings: the table `[task]` of a recipe.
        columns: columns of the data by the task's field names, where they differ.
        labels: read from a checkpoint (`read_config`), then learned from training examples (`learn`).
        head_fits: whether a checkpoint's head predicts these labels in this order; `learn` decides it.

    Raises:
        ValueError: `columns` names a field that the task does not have.
    """

    name: ClassVar[str]
    architecture: ClassVar[str]
    metric: ClassVar[str]  # the score that selects the best model
    fields: ClassVar[Mapping[str, Sequence[str]]]  # the names that `columns` may map, each with the columns by default
    recipes: ClassVar[tuple[str, ...]] = ()  # built-in recipes for it
    tokenizer: Any
    length: int
    settings: TaskSettings = field(default_factory=TaskSettings)
    columns: Columns = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    head_fits: bool = True
    weights: dict[str, float] = field(default_factory=dict)  # of labels in the loss; empty if all have the same

    def __post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(self.fields))
        if unknown:
            raise ValueError(f"{self.name} has no field {', '.join(unknown)}; its fields are {', '.join(self.fields)}")

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], settings: TaskSettings | None = None, columns: Columns | None = None
    ) -> Self:
        """Return the task of a checkpoint: its tokenizer, its labels, rows as long as it accepts.

        Raises:
            ValueError: `settings.max_length` is more than the model accepts.
        """
        folder = resolve(source)
        config, settings = RobertaConfig.from_pretrained(folder), settings or TaskSettings()
        most = config.max_sequence_length
        if settings.max_length > most:
            raise ValueError(f"max_length is {settings.max_length}, but {source} accepts at most {most} tokens")
        task = cls(load_tokenizer(folder), settings.max_length or most, settings, columns or {})
        task.read_config(config)
        return task

    # Records and examples

    @abstractmethod
    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return the fields of a record that the model sees; raise `DataError` if one is missing or wrong."""

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a record that the model is to predict; raise `DataError` if one is missing or wrong."""
        raise DataError(f"{self.name} has no labels to train or score with")

    def read_example(self, record: Record, labelled: bool = True) -> Example:
        """Return the example of a record; raise `DataError` if the record cannot be used."""
        inputs = self.read_inputs(record)
        return Example(record.place, {**inputs, **(self.read_target(record, inputs) if labelled else {})})

    def learn(self, examples: Sequence[Example]) -> None:  # noqa: B027  # not every task has labels
        """Learn the labels from training examples; raise `DataError` if a model cannot be trained for them."""

    def settle(self, examples: Sequence[Example], learn: bool) -> None:  # noqa: B027  # not every task needs it
        """Decide what only all labelled examples together can tell, such as whether labels are counted from 0 or 1."""

    def check(self, example: Example) -> str:
        """Return what is wrong with an example now that the labels are known; empty if nothing is."""
        return ""

    def describe(self) -> str:
        """Return what the model is to predict, as learned from the training examples; empty if there is no choice."""
        return ""

    def learn_labels(self, labels: Sequence[str]) -> None:
        """Take over labels in this order, or in the checkpoint's order if it has the same ones: its head then fits."""
        self.head_fits = set(labels) == set(self.labels)
        self.labels = self.labels if self.head_fits else tuple(labels)

    def learn_weights(self, counts: Mapping[str, int], total: int | None = None) -> None:
        """Decide the weights of labels in the loss from how often each occurs, as the settings say.

        Args:
            counts: how often each label occurs.
            total: for labels that are independent, the number of examples: the weight of a label's occurrences is then
                how many examples are without it for each that has it.

        Raises:
            DataError: the settings name an unknown label.
        """
        if self.settings.balance:
            whole = sum(counts.values())
            self.weights = {
                label: whole / (len(counts) * count) if total is None else max(total - count, 1) / count
                for label, count in counts.items()
            }
            return
        given = self.settings.parse_class_weights()
        if unknown := sorted(set(given) - set(counts)):
            known = ", ".join(counts)
            raise DataError(f"class_weights names {', '.join(unknown)}, which no example has; the labels are {known}")
        self.weights = {label: given.get(label, 1.0) for label in counts} if given else {}

    def describe_weights(self) -> str:
        """Return the weights of labels in the loss, to append to a description; empty if all have the same."""
        if not self.weights:
            return ""
        return f"; weights {', '.join(f'{label} {weight:.3g}' for label, weight in self.weights.items())}"

    def refuse_weights(self, reason: str) -> None:
        """Raise `DataError` if the settings ask for weights of labels, which this task does not have."""
        if self.settings.balance or self.settings.class_weights:
            raise DataError(f"balance and class_weights need labels of classes: {reason}")

    def config(self) -> dict[str, Any]:
        """Return the fields of a model's configuration that belong to the task."""
        return {}

    def as_parameters(self, **values: Any) -> dict[str, Any]:
        """Return the field of a configuration that has room for values of a task."""
        return {"task_specific_params": {self.name: values}}

    def read_parameter(self, config: RobertaConfig, name: str) -> Any:
        """Return a value that `as_parameters` stored; None if a checkpoint has none."""
        stored = (config.to_dict().get("task_specific_params") or {}).get(self.name)
        return stored.get(name) if isinstance(stored, Mapping) else None

    def read_config(self, config: RobertaConfig) -> None:  # noqa: B027  # not every task has labels
        """Take over the labels that a checkpoint was trained for."""

    def collect_examples(self, records: Iterable[Record], skipped: Skipped, learn: bool = False) -> list[Example]:
        """Return the labelled examples of records, counting wrong ones in `skipped`; `learn` learns the labels."""
        found = list(self.read_examples(records, skipped, labelled=True))
        self.settle(found, learn)
        if learn:
            self.learn(found)
        kept = []
        for example in found:
            if reason := self.check(example):
                skipped.add(example.place, reason)
            else:
                kept.append(example)
        return kept

    def read_examples(
        self, records: Iterable[Record], skipped: Skipped | None = None, labelled: bool = False
    ) -> Iterator[Example]:
        """Yield the example of each record; a wrong one is counted in `skipped`, or without it raises `DataError`."""
        skipped = Skipped(strict=True) if skipped is None else skipped
        for record in records:
            try:
                example = self.read_example(record, labelled)
            except DataError as error:
                skipped.add(record.place, str(error))
            else:
                yield example

    def get_column(self, record: Record, name: str, known: Sequence[str]) -> Any:
        """Return a field by the column named for it, or the first known column; raise `DataError` if it is missing."""
        return record.fields[self.find_column(record, name, known)]

    def find_column(self, record: Record, name: str, known: Sequence[str]) -> str:
        """Return the column that `get_column` reads."""
        for column in [self.columns[name]] if name in self.columns else known:
            if record.fields.get(column) is not None:
                return column
        raise DataError(describe_missing(name, [self.columns[name]] if name in self.columns else known, record.fields))

    # Features and batches

    @abstractmethod
    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return the rows for the model; an example may give several. Unlabelled examples give rows without targets."""

    def collate(self, features: Sequence[Feature], multiple: int = STEP) -> Batch:
        """Return `input_ids` and `attention_mask` [B, S] or [B, C, S], and the targets, S a multiple of `multiple`."""
        return collate(features, self.tokenizer.pad_token_id, multiple, self.length)

    def measure_budget(self, backend: Backend, model: Any) -> int:
        """Return the tokens per batch that a short measurement finds fastest for rows of the usual length."""
        token, choices = self.tokenizer.unk_token_id, self.architecture == "ForMultipleChoice"
        words = self.architecture == "ForMaskedLM"
        return measure_budget(backend, model, token, min(USUAL_LENGTH, self.length), choices, words)

    # Outputs, predictions and scores

    def keep(self, feature: Feature, output: Output) -> Output:
        """Return what `decode` needs of a feature's outputs: the rest is not held until all batches are done."""
        return output

    @abstractmethod
    def decode(self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]) -> list[Any]:
        """Return a prediction for each example from the model's outputs for each feature."""

    def value_of(self, prediction: Any) -> Any:
        """Return the plain value of a prediction, as scores compare it: a label, a number, a text or a list."""
        return prediction

    def expected(self, example: Example) -> Any:
        """Return the value that the prediction of a labelled example should have."""
        raise DataError(f"{self.name} has no labels to score with")

    def score(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Return the task's metrics of predicted values."""
        raise DataError(f"{self.name} has no labels to score with")

    def predict(
        self, backend: Backend, model: Any, examples: Iterable[Example], budget: int | None = None
    ) -> Iterator[Any]:
        """Yield a prediction for each example, in order, reading no further ahead than `WINDOW` examples.

        Args:
            backend: the framework.
            model: the framework's own model, such as `backend.from_pretrained(task.architecture, source)`.
            examples: with or without labels, such as `task.read_examples(records)`.
            budget: tokens per batch; by default measured if there are many examples.

        Raises:
            ValueError: the model's outputs are not finite.
        """
        stream = iter(examples)
        while held := list(islice(stream, WINDOW)):
            if budget is None:
                budget = self.measure_budget(backend, model) if len(held) >= MEASURED else BUDGET
            features = self.build_features(held)
            yield from self.decode(held, features, self.run(backend, model, features, budget))

    def run(self, backend: Backend, model: Any, features: Sequence[Feature], budget: int) -> list[Output]:
        """Return a model's outputs for each feature, run in batches of similar length of at most `budget` tokens."""
        return run_features(backend, model, features, self.tokenizer.pad_token_id, budget, self.keep)


def require_text(value: Any, name: str) -> str:
    """Return a field that must be text; raise `DataError` if it is not, or is empty or absurdly long."""
    if not isinstance(value, str):
        raise DataError(f"its {name} is {type(value).__name__}, not text")
    if not value.strip():
        raise DataError(f"its {name} is empty")
    if not is_unicode(value):
        raise DataError(f"its {name} has half of a surrogate pair, which is not a character")
    if len(value) > LONGEST:
        raise DataError(f"its {name} has {len(value):,} characters; at most {LONGEST:,} are read")
    return value


def require_label(value: Any, column: str = "") -> str:
    """Return a label as text; raise `DataError` if it is missing: None, NaN, empty, SNLI's `-`, or half a character."""
    label = str(value).strip()
    if value is None or isinstance(value, list | dict) or label.lower() in ("", "nan"):
        raise DataError(f"its label is missing: {value!r}")
    if label == "-" and column == "gold_label":
        raise DataError("its annotators did not agree on a label: '-'")
    if not is_unicode(label):
        raise DataError(f"its label {value!r} has half of a surrogate pair, which is not a character")
    return label


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities [..., K] of logits, computed in float64."""
    wide = logits.astype(np.float64)
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
