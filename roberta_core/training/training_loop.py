"""The loop that pretraining and fine-tuning share: steps, log, evaluations, checkpoints, resuming and stopping."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from roberta_core.data.batches import Batch
from roberta_core.training import training_checkpoint
from roberta_core.training.optimizer_step import split_batch
from roberta_core.training.processes import ALONE, Processes, compute_digest
from roberta_core.training.recipe import Recipe
from roberta_core.training.run_log import Report, RunLog, Speedometer, StepScalars
from roberta_core.training.stopping import Stopped, StopRequested, StopSignals
from roberta_core.training.training_checkpoint import State, TrainingError


class Trainer(Protocol):
    """A model with its optimizer. Scalars are lazy: `float()` waits for them."""

    model: Any

    def step(self, batches: Sequence[Batch], learning_rate: float) -> Mapping[str, Any]:
        """Take one optimizer step on the mean loss over all labels of the micro-batches.

        Args:
            batches: the inputs of the model's class, labels included, or for pretraining the masked inputs with
                `masked_positions` and `masked_labels`.
            learning_rate: the learning rate of this step.

        Returns:
            The `loss` before the step, and the `gradient_norm` before clipping.
        """
        ...

    def evaluate(self, batch: Batch) -> Mapping[str, Any]:
        """Return `loss` and `correct`, summed over the labels, and the `count` of labels."""
        ...

    def state(self) -> State:
        """Return everything that the next steps depend on."""
        ...

    def load_state(self, state: State) -> None:
        """Continue from a state."""
        ...


class ShardedTrainer(Trainer, Protocol):
    """A trainer whose processes share out the parameters; all processes call `state` together."""

    def gather(self) -> None:
        """Copy the trained parameters to `model`; all processes call this together."""
        ...


@dataclass(kw_only=True)
class TrainingLoop(ABC):
    """A run: a trainer, its data, and the folder of its log and checkpoints.

    It ends with the same bits whether it is interrupted and resumed or not. SIGINT and SIGTERM end it after the step
    that is being taken, with a checkpoint; of several processes, a signal to one ends all.

    Args:
        trainer: the model and its optimizer.
        recipe: the settings.
        config: fields of the model's configuration, saved with each checkpoint.
        folder: the folder of the run.
        report: called with each line of the log.
        processes: the processes that share the run.
    """

    trainer: Trainer
    recipe: Recipe
    config: Mapping[str, Any]
    folder: Path
    report: Report = lambda line: None
    processes: Processes = ALONE
    step: int = 0  # steps that are done
    evaluated: int = 0  # the step of the last evaluation
    saved: int = 0  # the step of the last checkpoint
    loaded: int = 0  # a checksum of the checkpoint that a run with sharding was resumed from
    scalars: StepScalars = field(default_factory=StepScalars)
    speed: Speedometer = field(default_factory=Speedometer)
    signals: StopSignals = field(default_factory=StopSignals)

    @property
    def log(self) -> RunLog:
        """The log of the run, which process 0 writes."""
        return RunLog(self.folder, self.report, self.processes.is_first)

    # What a run is about

    @abstractmethod
    def build_batch(self, step: int) -> Batch:
        """Return this process's rows of the batch of a step, counted from 0."""

    @abstractmethod
    def is_evaluation_due(self) -> bool:
        """Whether the model is evaluated after the current step."""

    @abstractmethod
    def evaluate(self) -> None:
        """Evaluate the model and log the result. Stops between batches if a signal has arrived."""

    @abstractmethod
    def describe_data(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with this one, besides the recipe."""

    def describe_progress(self) -> dict[str, Any]:
        """Return further state of the run, for the checkpoint."""
        return {}

    def restore_progress(self, notes: Mapping[str, Any]) -> None:  # noqa: B027  # not every run has more state
        """Restore the state that `describe_progress` returned."""

    def is_finished(self) -> bool:
        """Whether no step is left to take."""
        return self.step >= self.recipe.optimizer.steps

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is saved after the current step."""
        return self.step % self.recipe.run.checkpoint_every == 0

    # The run

    def resume(self) -> bool:
        """Continue from the newest whole checkpoint.

        Returns:
            Whether there is one; if not, the run ended before its first checkpoint and starts again.

        Raises:
            TrainingError: the folder holds no run, no checkpoint is whole, or the run had another recipe or other data.
        """
        path, damages = training_checkpoint.find_resumable(self.folder)
        if path is None:
            return False
        state, notes = training_checkpoint.load(path)
        self._check_recipe(path, notes["recipe"])
        if notes["data"] != (data := json.loads(json.dumps(self.describe_data()))):
            raise TrainingError(f"{path} was trained on other data: {notes['data']} then, {data} now")
        self.trainer.load_state(state)
        self.loaded = compute_digest(state) if self.processes.sharded else 0
        self.step = self.saved = state.steps
        self.evaluated = notes.get("evaluated", state.steps)
        self.scalars.rows = list(notes.get("pending", []))
        self.restore_progress(notes)
        self.report({"resumed": path.name, "step": self.step, "damaged": damages})
        return True

    def _check_recipe(self, path: Path, recorded: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(self.recipe.to_dict()))
        found = json.loads(json.dumps(Recipe.from_dict(recorded).to_dict()))  # with settings that are new since then
        if found != wanted:
            differ = [name for name in wanted if found[name] != wanted[name]]
            raise TrainingError(f"{path} was trained with another recipe (see its {', '.join(differ)})")

    def run(self) -> None:
        """Train to the last step.

        Raises:
            TrainingError: a loss is not finite, a checkpoint cannot be saved, or another process has ended.
            Stopped: SIGINT or SIGTERM arrived; a checkpoint was saved.
            Ended: another process reports an error.
        """
        self.processes.check_batch_size(self.recipe.optimizer.batch_size)
        self._prepare_folder()
        self.signals.repeats = self.processes.count > 1
        with self.signals, self.processes.train(self.folder, self._describe_resuming):
            if self.processes.count > 1:
                self._check_agreement()
            self.speed = Speedometer()
            try:
                self._finish_step()
                while not self.is_finished():
                    self.check_stop()
                    self._take_step()
                    self._finish_step()
                self._gather()
            except StopRequested:
                assert self.signals.received is not None
                raise Stopped(self.signals.received, self.step, self._save_now()) from None

    def _check_agreement(self) -> None:
        """Raise `TrainingError` unless all processes start alike; parameters that are shared out are process 0's."""
        facts = {"step": self.step, "recipe": self.recipe.to_dict(), "data": self.describe_data()}
        if self.processes.sharded:
            self.processes.check_agreement(facts | {"checkpoint": self.loaded})
        else:
            self.processes.check_agreement(facts, self.trainer.state())

    def _prepare_folder(self) -> None:
        """Have process 0 remove what a killed run left, and mark the folder as that of a run."""
        with self.processes.first_before_others():
            if self.processes.is_first:
                self.folder.mkdir(parents=True, exist_ok=True)
                training_checkpoint.remove_unfinished(self.folder)
                training_checkpoint.mark_begun(self.folder, self.describe_data())
                self.log.truncate(self.step)

    def _describe_resuming(self) -> str:
        newest = training_checkpoint.find_newest(self.folder)
        saved = f"the newest checkpoint is {newest}" if newest else "there is no checkpoint yet"
        return f"The run stopped after step {self.step}; {saved}. Start all processes again with --resume"

    def check_stop(self) -> None:
        """Raise `StopRequested` if a signal has arrived, in all processes if it arrived in one of them."""
        if self.processes.count > 1:
            self.signals.agree(self.processes.sum)
        self.signals.check()

    def _take_step(self) -> None:
        optimizer, batch = self.recipe.optimizer, self.build_batch(self.step)
        batches = split_batch(batch, optimizer.micro_batch_size * self.processes.devices)
        self.scalars.add(self.trainer.step(batches, optimizer.schedule()(self.step)))
        self.speed.add(int(batch["attention_mask"].sum()))
        self.step += 1

    def _finish_step(self) -> None:
        """Log, evaluate and save as the current step requires; after resuming only what was not done before."""
        if not self.step:
            return
        evaluation = self.is_evaluation_due() and self.evaluated < self.step
        checkpoint = self.is_checkpoint_due() and self.saved < self.step
        if self.scalars.rows and (self.is_due(self.recipe.run.log_every) or self.is_log_due_with(evaluation)):
            self._log_means()
        if not evaluation and not checkpoint:
            return
        self.scalars.settle(self.step)  # so that the time of the steps is counted before the pause
        with self.speed.pause():
            if evaluation:
                self._gather()
                self.evaluate()
                self.evaluated = self.step
            if checkpoint:
                self._save()

    def _gather(self) -> None:
        """Bring the model up to date if the processes share out the parameters that are trained."""
        if self.processes.sharded:
            cast(ShardedTrainer, self.trainer).gather()

    def is_due(self, every: int) -> bool:
        """Whether something that is done every so many steps, and after the last one, is done now."""
        return self.step % every == 0 or self.step == self.recipe.optimizer.steps

    def is_log_due_with(self, evaluation: bool) -> bool:
        """Whether the log gets a line before an evaluation."""
        return False

    def describe_means(self, means: Mapping[str, float]) -> dict[str, Any]:
        """Return what the log says of the means of the last steps, besides the means."""
        return {}

    def _log_means(self) -> None:
        means = self.scalars.take_means(self.step)
        rate = self.recipe.optimizer.schedule()(self.step - 1)
        line = {"step": self.step, **means, **self.describe_means(means)}
        (speed,) = self.processes.sum([self.speed.take_rate()])
        self.log.add({**line, "learning_rate": rate, "tokens_per_second": round(speed)})

    def _save_now(self) -> Path | None:
        """Save a checkpoint of the current step unless there is one, and return it; None before the first step."""
        if not self.step:
            return None
        if self.saved < self.step:
            self.scalars.settle(self.step)
            self._save()
        return training_checkpoint.locate(self.folder, self.step)

    def _save(self) -> None:
        """Have process 0 save a checkpoint; the others wait for it."""
        state = self.trainer.state() if self.processes.is_first or self.processes.sharded else None
        if state is not None and self.processes.is_first:
            notes = {
                **self.describe_progress(),
                "data": self.describe_data(),
                "recipe": self.recipe.to_dict(),
                "evaluated": self.evaluated,
                "pending": self.scalars.rows,
            }
            kept = self.recipe.run.kept_checkpoints
            training_checkpoint.save(self.folder, state, self.config, notes, kept)
        self.processes.wait()
        self.saved = self.step
        self.log.add({"step": self.step, "checkpoint": training_checkpoint.locate(self.folder, self.step).name})
