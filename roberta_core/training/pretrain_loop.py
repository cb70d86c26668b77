"""The training loop: which batch, which learning rate, when to log, evaluate and save. A framework does the steps."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.training import training_checkpoint
from roberta_core.training.optimizer_step import split_batch
from roberta_core.training.recipe import Recipe
from roberta_core.training.training_checkpoint import State, TrainingError

LOG = "log.jsonl"
RISEN = 1.5  # a mean loss of so many times the lowest one is told: noise between lines of the log is a few per cent


class Trainer(Protocol):
    """A model with its optimiser. Scalars come out lazily: `float()` waits for them."""

    model: Any

    def step(self, batches: Sequence[Batch], learning_rate: float) -> Mapping[str, Any]:
        """One step of the optimiser on the mean loss of all labels of the micro-batches.

        What they show before it: `loss`, and `gradient_norm` before clipping. A batch has what the class takes, labels
        included, or for pretraining the masked inputs with `masked_positions` and `masked_labels`.
        """
        ...

    def evaluate(self, batch: Batch) -> Mapping[str, Any]:
        """Summed over the labels: `loss` and `correct`; and their `count`."""
        ...

    def state(self) -> State:
        """All that the next steps depend on."""
        ...

    def load_state(self, state: State) -> None:
        """Go on from there."""
        ...


Report = Callable[[Mapping[str, Any]], None]


@dataclass
class Pretraining:
    """A run: a trainer, what it trains on, and the folder of its checkpoints and log.

    `report` is called with each line of the log: {"step", "loss", "learning_rate", ...} after every `log_every` steps,
    {"step", "held_out_loss", "held_out_accuracy"} after an evaluation, {"step", "checkpoint"} after a save. A loss that
    has risen far above its lowest comes with a `remark`.
    """

    trainer: Trainer
    recipe: Recipe
    config: Mapping[str, Any]
    data: MaskedBlocks
    folder: Path
    held_out: MaskedBlocks | None = None
    report: Report = lambda line: None
    step: int = 0
    pending: list[Mapping[str, Any]] = field(default_factory=list)  # steps since the last line of the log
    lowest: tuple[float, int] = (math.inf, 0)  # mean loss of a line of the log, and its step

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint; whether there is one. `TrainingError` if its recipe is another."""
        path = training_checkpoint.find_newest(self.folder)
        if path is None:
            return False
        state, notes = training_checkpoint.load(path)
        wanted = json.loads(json.dumps(self.recipe.to_dict()))
        found = json.loads(json.dumps(Recipe.from_dict(notes["recipe"]).to_dict()))  # with what is new since then
        if found != wanted:
            differ = [name for name in wanted if found[name] != wanted[name]]
            raise TrainingError(f"{path} was trained with another recipe (see its {', '.join(differ)})")
        if notes["data"] != self._data():
            raise TrainingError(f"{path} was trained on other texts: {notes['data']} then, {self._data()} now")
        self.trainer.load_state(state)
        self.step = state.steps
        return True

    def run(self) -> None:
        """Train to the recipe's last step. `TrainingError` if the loss is no longer a number or a save fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        training_checkpoint.remove_unfinished(self.folder)
        optimizer, run = self.recipe.optimizer, self.recipe.run
        schedule = optimizer.schedule()
        started, tokens = time.perf_counter(), 0
        while self.step < optimizer.steps:
            batch = self.data.batch(self.step, optimizer.batch_size)
            batches = split_batch(batch, optimizer.micro_batch_size)
            self.pending.append(self.trainer.step(batches, schedule(self.step)))
            tokens += int(batch["attention_mask"].sum())
            self.step += 1
            if self._is_due(run.log_every):
                line = self._averages()
                speed = tokens / (time.perf_counter() - started)
                self._log({**line, "learning_rate": schedule(self.step - 1), "tokens_per_second": round(speed)})
            if self._is_due(run.evaluate_every) and self.held_out is not None:
                self._log(self._evaluated(self.held_out))
            if self._is_due(run.checkpoint_every):
                self._settled()
                self._save()
            if self._is_due(run.log_every):
                started, tokens = time.perf_counter(), 0

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.recipe.optimizer.steps

    def _settled(self) -> list[Mapping[str, float]]:
        """The scalars of the pending steps, waited for; one that is no number ends the run."""
        first = self.step - len(self.pending)
        self.pending = [{name: float(value) for name, value in scalars.items()} for scalars in self.pending]
        for step, row in enumerate(self.pending, first + 1):
            if not all(map(math.isfinite, row.values())):
                raise TrainingError(
                    f"step {step}: {', '.join(f'{name} {value}' for name, value in row.items())}; the last checkpoint "
                    "is from before. A lower peak_learning_rate or a clip_norm may help"
                )
        return self.pending

    def _averages(self) -> dict[str, Any]:
        """The means over the pending steps, which are then done with."""
        rows, self.pending = self._settled(), []
        line = {"step": self.step, **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]}}
        self.lowest = min(self.lowest, (line["loss"], self.step))
        return line | self._collapse(line["loss"])

    def _collapse(self, loss: float) -> dict[str, str]:
        """A remark on a loss that has risen far above the lowest of the run."""
        least, step = self.lowest
        if loss <= RISEN * least:
            return {}
        return {
            "remark": f"the loss has risen to {loss:.3f} from {least:.3f} at step {step}: the model has collapsed. "
            "A lower peak_learning_rate or a clip_norm may help"
        }

    def _evaluated(self, data: MaskedBlocks) -> dict[str, Any]:
        run = self.recipe.run
        rows = [
            self.trainer.evaluate(batch) for batch in data.once(self.recipe.optimizer.batch_size, run.evaluation_blocks)
        ]
        loss, correct, count = (sum(float(row[name]) for row in rows) for name in ("loss", "correct", "count"))
        return {"step": self.step, "held_out_loss": loss / count, "held_out_accuracy": correct / count}

    def _save(self) -> None:
        samples = self.step * self.recipe.optimizer.batch_size
        epoch, position = divmod(samples, len(self.data))
        notes = {"epoch": epoch, "position": position, "data": self._data(), "recipe": self.recipe.to_dict()}
        path = training_checkpoint.save(
            self.folder, self.trainer.state(), self.config, notes, self.recipe.run.kept_checkpoints
        )
        self._log({"step": self.step, "checkpoint": path.name})

    def _data(self) -> dict[str, int]:
        return {"tokens": len(self.data.tokens), "blocks": len(self.data)}

    def _log(self, line: Mapping[str, Any]) -> None:
        with open(self.folder / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.report(line)
