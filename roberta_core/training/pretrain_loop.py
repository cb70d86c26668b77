"""The loop of pretraining: masked blocks in, held-out loss and accuracy out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.training.training_loop import TrainingLoop

RISEN = 1.5  # a mean loss this many times the lowest is remarked on: noise between lines of the log is a few per cent


@dataclass(kw_only=True)
class Pretraining(TrainingLoop):
    """A run of pretraining.

    The log has {"step", "loss", "learning_rate", ...} after every `log_every` steps, {"step", "held_out_loss",
    "held_out_accuracy"} after an evaluation, and {"step", "checkpoint"} after a checkpoint. A loss far above the lowest
    of the run comes with a `remark`.

    Args:
        data: the blocks to train on.
        held_out: the blocks to evaluate on, or None.
    """

    data: MaskedBlocks
    held_out: MaskedBlocks | None = None
    lowest: tuple[float, int] = (math.inf, 0)  # lowest mean loss of a line of the log, and its step

    def build_batch(self, step: int) -> Batch:
        """Return this process's rows of the batch of a step."""
        return self.data.batch(step, self.recipe.optimizer.batch_size // self.processes.count)

    def is_evaluation_due(self) -> bool:
        """Whether the model is evaluated after the current step."""
        return self.held_out is not None and self.is_due(self.recipe.run.evaluate_every)

    def is_checkpoint_due(self) -> bool:
        """Whether a checkpoint is saved: every `checkpoint_every` steps and after the last one."""
        return self.is_due(self.recipe.run.checkpoint_every)

    def evaluate(self) -> None:
        """Log the loss and the accuracy on the held-out blocks."""
        assert self.held_out is not None
        size, limit = self.recipe.optimizer.batch_size, self.recipe.run.evaluation_blocks
        count, (index, processes) = min(len(self.held_out), limit), self.processes.shard
        batches = self.held_out.iterate(size, limit, start=index, step=processes)
        totals = np.zeros(3)
        for _ in range(0, count, size * processes):  # each process takes one batch, if there is one for it
            self.check_stop()
            if batch := next(batches, None):
                found = self.trainer.evaluate(batch)
                totals += [float(found[name]) for name in ("loss", "correct", "count")]
        loss, correct, labels = self.processes.sum(totals.tolist())
        loss, accuracy = loss / labels, correct / labels
        self.log.add({"step": self.step, "held_out_loss": loss, "held_out_accuracy": accuracy})

    def describe_means(self, means: Mapping[str, float]) -> dict[str, Any]:
        """Return a remark if the loss has risen far above the lowest of the run."""
        self.lowest = min(self.lowest, (means["loss"], self.step))
        lowest, step = self.lowest
        if means["loss"] <= RISEN * lowest:
            return {}
        return {
            "remark": f"the loss has risen to {means['loss']:.3f} from {lowest:.3f} at step {step}: the model has "
            "collapsed. A lower peak_learning_rate or a clip_norm may help"
        }

    def describe_data(self) -> dict[str, Any]:
        """Return the size of the training data."""
        return {"tokens": len(self.data.tokens), "blocks": len(self.data)}

    def describe_progress(self) -> dict[str, Any]:
        """Return the position in the data, and the lowest loss so far."""
        epoch, position = divmod(self.step * self.recipe.optimizer.batch_size, len(self.data))
        lowest = list(self.lowest) if math.isfinite(self.lowest[0]) else None
        return {"epoch": epoch, "position": position, "lowest": lowest}

    def restore_progress(self, notes: Mapping[str, Any]) -> None:
        """Restore the lowest loss so far."""
        if notes.get("lowest"):
            loss, step = notes["lowest"]
            self.lowest = (loss, step)
