"""The loop of fine-tuning: batches of a task, scores on validation data, the best model, early stopping."""

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from roberta_core.data.batches import Batch
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task
from roberta_core.tasks.batches import ShuffledFeatures, batch_features
from roberta_core.tasks.features import INPUTS, Feature, Output, split_outputs
from roberta_core.training.stopping import StopRequested
from roberta_core.training.training_checkpoint import TrainingError
from roberta_core.training.training_loop import TrainingLoop

BATCH = 32  # rows of an evaluation's batch

Run = Callable[[Batch], Mapping[str, Any]]  # a batch's inputs through a model, without dropout


@dataclass
class Evaluated:
    """The scores of predictions, their plain values, and a remark if something about them is odd."""

    scores: dict[str, float]
    predictions: list[Any]
    remark: str


@dataclass
class Validation:
    """The data that a model is evaluated on."""

    examples: Sequence[Example]
    features: Sequence[Feature]


def evaluate(
    task: Task, run: Run, data: Validation, size: int = BATCH, check: Callable[[], None] = lambda: None
) -> Evaluated:
    """Score a model.

    Args:
        task: the task.
        run: runs the model on a batch.
        data: the validation data.
        size: rows per batch.
        check: called before each batch.

    Raises:
        ValueError: the model's outputs are not finite.
    """
    outputs: list[Output] = [{}] * len(data.features)
    for places, batch in batch_features(task, data.features, size):
        check()
        found = run({name: batch[name] for name in INPUTS})
        for place, output in zip(places, split_outputs(found, len(places)), strict=True):
            outputs[place] = task.keep(data.features[place], output)
    predictions = task.decode(data.examples, data.features, outputs)
    values = [task.value_of(prediction) for prediction in predictions]
    return Evaluated(task.score(data.examples, values), values, describe_collapse(task, data.examples, values))


def describe_collapse(task: Task, examples: Sequence[Example], predictions: Sequence[Any]) -> str:
    """Return a sentence if all predictions are the same though the expected ones differ; otherwise nothing."""
    given = _find_distinct(predictions)
    expected = _find_distinct([task.expected(example) for example in examples])
    if len(given) != 1 or len(expected) == 1:
        return ""
    return (
        f"all {len(predictions)} predictions are {next(iter(given))!r}: the model has collapsed or not begun to learn"
    )


def _find_distinct(values: Sequence[Any]) -> set[Hashable]:
    found: set[Hashable] = set()
    for value in values:
        found.update((value or ["no label"]) if isinstance(value, list) else [value])
    return found


@dataclass(kw_only=True)
class FineTuning(TrainingLoop):
    """A run of fine-tuning.

    The log has {"step", "loss", ...} after every `log_every` steps and before an evaluation, and {"step", "epoch",
    "scores", "best", "remark"} after one.

    Args:
        task: the task.
        data: the features to train on.
        run_model: runs the model without dropout.
        keep: saves the model as the best one: called after each evaluation with the best score so far, and at the end
            if there is no validation data.
        validation: the data to evaluate on, or None.
    """

    task: Task
    data: ShuffledFeatures
    run_model: Run
    keep: Callable[[], None]
    validation: Validation | None = None
    best: dict[str, Any] = field(default_factory=dict)  # the line of the best evaluation
    worse: int = 0  # evaluations since then

    def run(self) -> None:
        """Train to the last step, or until `patience` evaluations bring no better score.

        Raises:
            ValueError: the scores cannot be computed, or the recipe's metric is not among them; before training.
            TrainingError: a loss is not finite, or a checkpoint cannot be saved.
            Stopped: SIGINT or SIGTERM arrived; a checkpoint was saved.
        """
        self._check_metric()
        super().run()
        if self.validation is None and self.processes.is_first:
            self.keep()

    def _check_metric(self) -> None:
        """Score the expected predictions: whatever the scores need is found missing before training."""
        if self.validation is None:
            return
        examples, metric = self.validation.examples, self.recipe.task.metric or self.task.metric
        scores = self.task.score(examples, [self.task.expected(example) for example in examples])
        if metric not in scores:
            raise ValueError(f"there is no score {metric!r}; this task has {', '.join(scores)}")

    def build_batch(self, step: int) -> Batch:
        """Return this process's rows of the batch of a step."""
        return self.data.batch(step)

    def is_finished(self) -> bool:
        """Whether the last step is done, or the score has not improved for `patience` evaluations."""
        return super().is_finished() or self._is_out_of_patience()

    def _is_out_of_patience(self) -> bool:
        return bool(self.recipe.task.patience) and self.worse >= self.recipe.task.patience

    def is_evaluation_due(self) -> bool:
        """Whether the model is evaluated: so many times per epoch as the recipe says, and after the last step."""
        return self.validation is not None and self.step in self.evaluation_steps

    @cached_property
    def evaluation_steps(self) -> set[int]:
        """The steps after which the model is evaluated."""
        steps, rows, times = self.recipe.optimizer.steps, len(self.data.features), self.recipe.task.evaluations
        interval = rows / self.data.size / max(times, 1)  # in steps
        count = math.floor(steps / interval) if times else 0
        return {math.ceil(number * interval) for number in range(1, count + 1)} | {steps}

    def is_log_due_with(self, evaluation: bool) -> bool:
        """Whether the log gets a line before an evaluation."""
        return evaluation

    def evaluate(self) -> None:
        """Log the scores, and keep the model if they are the best so far."""
        scores, remark = self._compute_scores()
        metric = self.recipe.task.metric or self.task.metric
        better = not self.best or metrics.is_better(metric, scores[metric], self.best["scores"][metric])
        self.worse = 0 if better else self.worse + 1
        line = {
            "step": self.step,
            "epoch": round(self.step * self.data.size / len(self.data.features), 3),
            "scores": scores,
            "best": better,
            **({"remark": remark} if remark else {}),
        }
        if better:
            if self.processes.is_first:
                self.keep()
            self.best = line
        if self._is_out_of_patience():
            line = {**line, "stopped": f"no better for {self.worse} evaluations"}
        self.log.add(line)

    def _compute_scores(self) -> tuple[dict[str, float], str]:
        """Have process 0 evaluate the model, and return its scores and a remark in every process."""
        assert self.validation is not None
        outcome: dict[str, Any] = {}
        failure: Exception | None = None
        try:
            if self.processes.is_first:
                found = evaluate(self.task, self.run_model, self.validation, BATCH, self.signals.check)
                outcome = {"scores": found.scores, "remark": found.remark}
        except StopRequested:
            outcome = {"stop": True}
        except (ValueError, ArithmeticError, LookupError, TypeError, ImportError, OSError) as error:
            outcome, failure = {"error": str(error)}, error
        outcome = self.processes.broadcast(outcome)
        if "stop" in outcome:
            self.check_stop()
        if "error" in outcome:
            saved = self._save_now()
            raise TrainingError(f"{outcome['error']}. The model was saved before it was scored: {saved}") from failure
        return outcome["scores"], outcome["remark"]

    def describe_data(self) -> dict[str, Any]:
        """Return the task, its labels, and a digest of the training rows."""
        rows, labels = len(self.data.features), list(self.task.labels)
        return {"task": self.task.name, "labels": labels, "rows": rows, "digest": self.digest}

    @cached_property
    def digest(self) -> str:
        """A digest of the training rows."""
        digest = hashlib.blake2b(digest_size=16)
        for feature in self.data.features:
            digest.update(repr((feature.ids, feature.targets)).encode())
        return digest.hexdigest()

    def describe_progress(self) -> dict[str, Any]:
        """Return the best evaluation, and how many were worse since."""
        return {"best": self.best, "worse": self.worse}

    def restore_progress(self, notes: Mapping[str, Any]) -> None:
        """Restore the best evaluation, and how many were worse since."""
        self.best, self.worse = notes["best"], notes["worse"]
