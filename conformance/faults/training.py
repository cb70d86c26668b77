"""Faults of training: float64 trainers that do one step wrong, as implementations have been seen to."""
# ruff: noqa: D102 -- each method overrides the correct one with the fault that its class names

import math
from dataclasses import replace

import numpy as np

from roberta_core.data.batches import Batch

from ..oracle import Stages
from ..training.optimizer_steps import Float64Trainer
from ..training.training_runs import Result, TrainingRun


class EpsBeforeCorrection(Float64Trainer):
    """Adds eps to the root before the bias correction, as Keras does."""

    def root(self, second: np.ndarray) -> np.ndarray:
        return (np.sqrt(second) + self.settings.epsilon) / math.sqrt(1 - self.settings.beta2**self.steps)


class EpsInsideRoot(Float64Trainer):
    """Adds eps inside the root."""

    def root(self, second: np.ndarray) -> np.ndarray:
        return np.sqrt(self.correct_bias(second, self.settings.beta2) + self.settings.epsilon)


class NoBiasCorrection(Float64Trainer):
    """Uses moments without bias correction, as the first BERT's optimizer does."""

    def correct_bias(self, moment: np.ndarray, beta: float) -> np.ndarray:
        return moment


class DecayOfEveryTensor(Float64Trainer):
    """Applies weight decay to biases and norms too."""

    def decay(self, name: str, rate: float) -> np.ndarray:
        return self.settings.weight_decay * self.tensors[name]


class NoDecay(Float64Trainer):
    """Applies no weight decay."""

    def decay(self, name: str, rate: float) -> np.ndarray:
        return np.zeros(())


class DecayInGradient(Float64Trainer):
    """Adds the weight decay to the gradient, as Adam with an L2 penalty does."""

    def update(self, gradients: Stages, rate: float) -> None:
        decay = super().decay
        super().update({name: gradient + decay(name, rate) for name, gradient in gradients.items()}, rate)

    def decay(self, name: str, rate: float) -> np.ndarray:
        return np.zeros(())


class DecayNotScaled(Float64Trainer):
    """Does not scale the weight decay by the learning rate."""

    def decay(self, name: str, rate: float) -> np.ndarray:
        return super().decay(name, rate) / rate


class GradientsNotZeroed(Float64Trainer):
    """Accumulates gradients over all steps."""

    def update(self, gradients: Stages, rate: float) -> None:
        before = getattr(self, "before", dict.fromkeys(gradients, 0.0))
        self.before = {name: before[name] + gradient for name, gradient in gradients.items()}
        super().update(self.before, rate)


class OneStepFewer(Float64Trainer):
    """Skips the last step."""

    def train(self, steps: int | None = None) -> Result:
        return super().train(len(self.run.batches) - 1)


class OrderReversed(Float64Trainer):
    """Reads the batches in reverse order."""

    def micro_batches(self, step: int) -> list[Batch]:
        return super().micro_batches(len(self.run.batches) - 1 - step)


class WarmUpOffByOne(Float64Trainer):
    """Starts the warm-up at 0, so that it reaches its peak one step later."""

    def learning_rate(self, step: int) -> float:
        return super().learning_rate(step - 1) if step else 1e-30


class MeanOfMeans(Float64Trainer):
    """Weights every micro-batch equally, however many labels it has."""

    def shares(self, batches: list[Batch]) -> list[float]:
        return [1 / len(batches)] * len(batches)


class SumOfMicroBatches(Float64Trainer):
    """Adds the gradients of micro-batches without dividing."""

    def shares(self, batches: list[Batch]) -> list[float]:
        return [1.0] * len(batches)


class MaskedTwice(Float64Trainer):
    """Masks tokens a second time, without labels for them."""

    def micro_batches(self, step: int) -> list[Batch]:
        blocks = self.run.masked_blocks
        others = with_mask_seed(self.run, blocks.seed + 1).micro_batches(step)
        masked_twice = []
        for batch, other in zip(super().micro_batches(step), others, strict=True):
            masked = (other["input_ids"] == blocks.masking.mask_id) & (batch["input_ids"] != blocks.pad)
            masked_twice.append(batch | {"input_ids": np.where(masked, blocks.masking.mask_id, batch["input_ids"])})
        return masked_twice


class SameMasks(Float64Trainer):
    """Uses the masks of the first epoch in every epoch."""

    def micro_batches(self, step: int) -> list[Batch]:
        epoch = len(self.run.masked_blocks) // self.run.settings.batch_size
        return super().micro_batches(step % epoch)


def with_mask_seed(run: TrainingRun, seed: int) -> TrainingRun:
    """Return a run with the same blocks in the same order, masked with another seed."""
    other = replace(run)
    blocks = replace(run.masked_blocks, seed=seed)
    blocks._ordered = run.masked_blocks._ordered  # the order depends on the seed too
    vars(other)["masked_blocks"] = blocks
    return other


# Caught by the weights of a run with listed batches.
WEIGHT_FAULTS: dict[str, type[Float64Trainer]] = {
    "eps before the bias correction": EpsBeforeCorrection,
    "eps inside the root": EpsInsideRoot,
    "no bias correction": NoBiasCorrection,
    "weight decay of biases and norms": DecayOfEveryTensor,
    "no weight decay": NoDecay,
    "weight decay in the gradient": DecayInGradient,
    "weight decay not scaled by the learning rate": DecayNotScaled,
    "gradients accumulated over steps": GradientsNotZeroed,
    "one step fewer": OneStepFewer,
    "batches in another order": OrderReversed,
}

# Caught by the losses of a run with blocks.
LOSS_FAULTS: dict[str, type[Float64Trainer]] = {
    "losses with weight decay of biases and norms": DecayOfEveryTensor,
    "losses with eps inside the root": EpsInsideRoot,
    "losses with eps before the bias correction": EpsBeforeCorrection,
    "losses with warm-up off by one": WarmUpOffByOne,
    "losses with a mean of means": MeanOfMeans,
    "losses with micro-batches summed": SumOfMicroBatches,
    "losses with tokens masked twice": MaskedTwice,
    "losses with the same masks in every epoch": SameMasks,
}
