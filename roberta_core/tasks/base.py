"""What every task has: examples out of records, features out of examples, batches of features, scores of predictions.

Shapes: B batch, S sequence, C choices, K labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.batches import IGNORED, Batch
from roberta_core.data.packing import order
from roberta_core.data.records import LONGEST, Columns, DataError, Record, Skipped

STEP = 16  # S is a multiple of this: few shapes suit compilers


@dataclass
class Example:
    """A record that a task can use: its fields by the task's own names."""

    place: str
    fields: dict[str, Any]


@dataclass
class Feature:
    """A row for the model: `ids` [S] or [C, S] (a list of choices), and the `targets` of the class's loss.

    A target is a number, or one for each token. `example` is the place of its example; `notes` are the task's own.
    """

    ids: Any
    targets: dict[str, Any]
    example: int
    notes: Any = None

    def length(self) -> int:
        """S, of the longest choice."""
        return max(map(len, self.ids)) if isinstance(self.ids[0], list) else len(self.ids)


@dataclass
class Task(ABC):
    """A task over a tokenizer. `length` is the most tokens a row may have, `settings` the recipe's table for it.

    `labels` are learnt from the training examples. A checkpoint knows its own: `of_config` takes them from there.
    """

    name: ClassVar[str]
    architecture: ClassVar[str]
    metric: ClassVar[str]  # of the scores, what says which model is best
    tokenizer: Any
    length: int
    settings: Any
    columns: Columns = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @abstractmethod
    def example(self, record: Record) -> Example:
        """The example of a record; `DataError` says what is wrong with it."""

    @abstractmethod
    def features(self, examples: Sequence[Example]) -> list[Feature]:
        """The rows for the model; an example may give several. Examples without targets give rows without."""

    @abstractmethod
    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Any]:
        """A prediction for each example from what the model gave for each feature, padding cut off."""

    @abstractmethod
    def scores(self, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        """How good the predictions are, by the task's measures."""

    @abstractmethod
    def wanted(self, example: Example) -> Any:
        """What the prediction of an example should be."""

    def learn(self, examples: Sequence[Example]) -> None:  # noqa: B027  # not every task has labels
        """Take the labels from training examples."""

    def check(self, example: Example) -> str:
        """What is wrong with an example now that the labels are known; empty if nothing is."""
        return ""

    def config(self) -> dict[str, Any]:
        """What a model's configuration says of the task."""
        return {}

    def of_config(self, config: RobertaConfig) -> None:  # noqa: B027  # not every task has labels
        """Take the labels that a checkpoint was trained for."""

    def examples(self, records: Iterable[Record], skipped: Skipped, learn: bool = False) -> list[Example]:
        """The examples of records, those left out that are wrong; `learn` takes the labels from them."""
        found = []
        for record in records:
            try:
                found.append(self.example(record))
            except DataError as error:
                skipped.add(record.place, str(error))
        if learn:
            self.learn(found)
        kept = []
        for example in found:
            if reason := self.check(example):
                skipped.add(example.place, reason)
            else:
                kept.append(example)
        return kept

    def column(self, record: Record, name: str, known: Sequence[str]) -> Any:
        """A field by the column that the caller named, or the first of the known ones; `DataError` without."""
        for column in [self.columns[name]] if name in self.columns else known:
            if record.fields.get(column) is not None:
                return record.fields[column]
        wanted = self.columns.get(name) or " or ".join(known)
        raise DataError(f"no {name} (in {wanted}); the columns are {', '.join(map(str, record.fields)) or 'none'}")

    def collate(self, features: Sequence[Feature]) -> Batch:
        """`input_ids` and `attention_mask` [B, S] or [B, C, S], and the targets, all of one length."""
        longest = max(feature.length() for feature in features)
        width = min(-(-longest // STEP) * STEP, self.length)
        choices = isinstance(features[0].ids[0], list)
        shape = (len(features), len(features[0].ids), width) if choices else (len(features), width)
        ids, mask = np.full(shape, self.tokenizer.pad_token_id, np.int64), np.zeros(shape, np.int64)
        for row, feature in enumerate(features):
            for choice, values in enumerate(feature.ids) if choices else ((..., feature.ids),):
                ids[row, choice, : len(values)] = values
                mask[row, choice, : len(values)] = 1
        targets = {name: self._targets([f.targets[name] for f in features], width) for name in features[0].targets}
        return {"input_ids": ids, "attention_mask": mask, **targets}

    def _targets(self, values: list[Any], width: int) -> np.ndarray:
        if not isinstance(values[0], list):
            return np.array(values, np.float32 if isinstance(values[0], float) else np.int64)
        found = np.full((len(values), width), IGNORED, np.int64)
        for row, labels in enumerate(values):
            found[row, : len(labels)] = labels
        return found


def text(value: Any, name: str) -> str:
    """A field that must be text; `DataError` if it is none, is blank or absurdly long."""
    if not isinstance(value, str):
        raise DataError(f"its {name} is {type(value).__name__}, not text")
    if not value.strip():
        raise DataError(f"its {name} is empty")
    if len(value) > LONGEST:
        raise DataError(f"its {name} has {len(value):,} characters; at most {LONGEST:,} are read")
    return value


class Shuffled:
    """Features in an order of their own in each epoch, rows of like length together.

    A batch is a function of its number, and has `size` rows: they go on from epoch to epoch.
    """

    def __init__(self, task: Task, features: Sequence[Feature], size: int, seed: int):
        self.task, self.features, self.size, self.seed = task, features, size, seed
        self.lengths = np.array([feature.length() for feature in features])
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, number: int) -> Batch:
        """Batch `number`, counted from 0."""
        rows = []
        for place in range(number * self.size, (number + 1) * self.size):
            epoch, rank = divmod(place, len(self.features))
            if self._order[0] != epoch:
                self._order = (epoch, order(self.lengths, self.seed, epoch, self.size))
            rows.append(self.features[self._order[1][rank]])
        return self.task.collate(rows)


def in_batches(task: Task, features: Sequence[Feature], size: int) -> Iterator[tuple[list[int], Batch]]:
    """Every feature once, longest first, with their places; the last batch is filled up with copies of its last row."""
    places = sorted(range(len(features)), key=lambda place: -features[place].length())
    for start in range(0, len(places), size):
        chosen = places[start : start + size]
        rows = [features[place] for place in chosen]
        yield chosen, task.collate([*rows, *[rows[-1]] * (size - len(rows))])
