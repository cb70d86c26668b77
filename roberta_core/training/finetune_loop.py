"""The loop of fine-tuning: which batch, which learning rate, when to log, evaluate, keep the best and stop."""

import json
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.data.batches import Batch
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task
from roberta_core.tasks.batches import ShuffledFeatures, batch_features
from roberta_core.tasks.features import INPUTS, Feature, Output, split_outputs
from roberta_core.training.optimizer_step import split_batch
from roberta_core.training.pretrain_loop import LOG, Report, Trainer
from roberta_core.training.recipe import Recipe
from roberta_core.training.training_checkpoint import TrainingError

BATCH = 32  # rows of an evaluation's batch

Run = Callable[[Batch], Mapping[str, Any]]  # a batch's inputs through a model, without dropout


@dataclass
class Evaluated:
    """The scores of predictions, their plain values, and what is odd about them (empty if nothing is)."""

    scores: dict[str, float]
    predictions: list[Any]
    remark: str


@dataclass
class Validation:
    """What a model is evaluated on."""

    examples: Sequence[Example]
    features: Sequence[Feature]


def evaluate(task: Task, run: Run, data: Validation, size: int = BATCH) -> Evaluated:
    """Return a model's scores, `run` in batches of `size` rows; raise `ValueError` if its outputs are not finite."""
    outputs: list[Output] = [{}] * len(data.features)
    for places, batch in batch_features(task, data.features, size):
        found = run({name: batch[name] for name in INPUTS})
        for place, output in zip(places, split_outputs(found, len(places)), strict=True):
            outputs[place] = task.keep(data.features[place], output)
    predictions = task.decode(data.examples, data.features, outputs)
    values = [task.value_of(prediction) for prediction in predictions]
    return Evaluated(task.score(data.examples, values), values, collapse(task, data.examples, values))


def collapse(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> str:
    """A sentence if the model predicts one and the same for all, though the right answers differ."""
    given, wanted = _distinct(predictions), _distinct([task.expected(example) for example in examples])
    if len(given) != 1 or len(wanted) == 1:
        return ""
    return (
        f"all {len(predictions)} predictions are {next(iter(given))!r}: the model has collapsed or not begun to learn"
    )


def _distinct(values: Sequence[Any]) -> set[Hashable]:
    found: set[Hashable] = set()
    for value in values:
        found.update(value if isinstance(value, list) else [value])
    return found


@dataclass
class FineTuning:
    """A run: a trainer, its features, what it is evaluated on, and the folder of its log.

    `run` runs the model without dropout; `keep` saves it, and is called for each model that is better than those
    before, and at the end if nothing was evaluated. `report` is called with each line of the log: {"step", "loss",
    ...}, and after an evaluation {"step", "epoch", "scores", "best", "remark"}.
    """

    trainer: Trainer
    recipe: Recipe
    task: Task
    data: ShuffledFeatures
    run_model: Run
    keep: Callable[[], None]
    folder: Path
    validation: Validation | None = None
    report: Report = lambda line: None
    step: int = 0
    best: dict[str, Any] = field(default_factory=dict)  # the line of the best evaluation
    worse: int = 0  # evaluations since
    pending: list[Mapping[str, Any]] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Train to the last step or until it gets no better; the line of the best evaluation, empty without one.

        `TrainingError` if a loss is no number.
        """
        settings, schedule = self.recipe.optimizer, self.recipe.optimizer.schedule()
        due = self._evaluations()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / LOG).unlink(missing_ok=True)
        started, tokens = time.perf_counter(), 0
        while self.step < settings.steps:
            batch = self.data.batch(self.step)
            scalars = self.trainer.step(split_batch(batch, settings.micro_batch_size), schedule(self.step))
            self.pending.append(scalars)
            tokens += int(batch["attention_mask"].sum())
            self.step += 1
            if self.step % self.recipe.run.log_every == 0 or self.step in due:
                line = {**self._averages(), "learning_rate": schedule(self.step - 1)}
                self._log({**line, "tokens_per_second": round(tokens / (time.perf_counter() - started))})
                started, tokens = time.perf_counter(), 0
            if self.step in due and self._is_enough():
                break
        if self.validation is None:
            self.keep()
        return self.best

    def _evaluations(self) -> set[int]:
        """After which steps the model is evaluated: so often an epoch, and at the end."""
        steps, rows = self.recipe.optimizer.steps, len(self.data.features)
        step = rows / self.data.size / max(self.recipe.task.evaluations, 1)
        count = math.floor(steps / step) if self.recipe.task.evaluations else 0
        return {math.ceil(number * step) for number in range(1, count + 1)} | {steps}

    def _is_enough(self) -> bool:
        """Evaluate, keep the model if it is the best; whether it has got no better for too long."""
        if self.validation is None:
            return False
        found = evaluate(self.task, self.run_model, self.validation)
        metric = self.recipe.task.metric or self.task.metric
        if metric not in found.scores:
            raise ValueError(f"there is no score {metric!r}; this task has {', '.join(found.scores)}")
        better = not self.best or metrics.is_better(metric, found.scores[metric], self.best["scores"][metric])
        self.worse = 0 if better else self.worse + 1
        line = {
            "step": self.step,
            "epoch": round(self.step * self.data.size / len(self.data.features), 3),
            "scores": found.scores,
            "best": better,
            **({"remark": found.remark} if found.remark else {}),
        }
        if better:
            self.keep()
            self.best = line
        enough = bool(self.recipe.task.patience) and self.worse >= self.recipe.task.patience
        self._log({**line, "stopped": f"no better for {self.worse} evaluations"} if enough else line)
        return enough

    def _averages(self) -> dict[str, Any]:
        """The means over the pending steps; `TrainingError` if one is no number."""
        first, rows = self.step - len(self.pending), self.pending
        self.pending = []
        values = [{name: float(value) for name, value in row.items()} for row in rows]
        for step, row in enumerate(values, first + 1):
            if not all(map(math.isfinite, row.values())):
                told = ", ".join(f"{name} {value}" for name, value in row.items())
                raise TrainingError(f"step {step}: {told}. A lower peak_learning_rate or a clip_norm may help")
        return {"step": self.step, **{name: float(np.mean([row[name] for row in values])) for name in values[0]}}

    def _log(self, line: Mapping[str, Any]) -> None:
        with open(self.folder / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.report(line)
