"""Training in float64: the steps that every framework's Trainer must take.

Each choice that an implementation can get wrong is a method, so that a fault is a subclass that overrides it.
"""

from functools import cache
from typing import Any

import numpy as np

from roberta_core.data.batches import IGNORED, Batch
from roberta_core.parameters import has_weight_decay, parameters
from roberta_core.training.optimizer_step import compute_shares

from ..oracle import Oracle, Stages
from ..oracle.autodiff import backward, trace_parameters
from .training_runs import Result, TrainingRun, load_training_runs


class Float64Trainer:
    """AdamW (Loshchilov & Hutter 2019, algorithm 2) with micro-batches and gradient clipping."""

    def __init__(self, run: TrainingRun):
        self.run, self.settings, self.steps = run, run.settings, 0
        self.table = parameters(run.configuration, run.architecture)
        self.tensors = {name: tensor.astype(np.float64) for name, tensor in run.tensors.items()}
        self.first = {name: np.zeros(tensor.shape) for name, tensor in self.tensors.items()}
        self.second = {name: np.zeros(tensor.shape) for name, tensor in self.tensors.items()}

    def train(self, steps: int | None = None) -> Result:
        """Train for `steps`, by default for all that are compared with float64."""
        count = steps or self.run.float64_steps or self.run.settings.steps
        rows = np.array([self.step(step) for step in range(count)])
        return Result(rows[:, 0], rows[:, 1], self.tensors)

    def step(self, step: int) -> tuple[float, float]:
        """Train for one step. Returns its loss and the norm of the gradients before clipping."""
        batches = self.micro_batches(step)
        total, loss = dict.fromkeys(self.tensors, np.zeros(())), 0.0
        for batch, share in zip(batches, self.shares(batches), strict=True):
            value, found = self.gradients(batch)
            loss += share * value
            total = {name: total[name] + share * gradient for name, gradient in found.items()}
        norm = float(np.sqrt(sum(float((gradient**2).sum()) for gradient in total.values())))
        scale = min(self.settings.clip_norm / norm, 1.0) if self.settings.clip_norm else 1.0
        self.update({name: scale * gradient for name, gradient in total.items()}, self.learning_rate(step))
        return loss, norm

    def gradients(self, batch: Batch) -> tuple[float, Stages]:
        """Return the loss of a micro-batch and its gradients; the head computes logits at every position."""
        model = trace_parameters(Oracle)(self.run.configuration, self.run.architecture, self.tensors)
        loss: Any = model.run(**label_every_token(batch))["loss"]
        found = backward(loss)
        leaves = model.tensors.items()
        return float(loss.value), {name: found.get(leaf.number, np.zeros(leaf.shape)) for name, leaf in leaves}

    def micro_batches(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step."""
        return self.run.micro_batches(step)

    def shares(self, batches: list[Batch]) -> list[float]:
        """Return the weight of each micro-batch's mean loss."""
        return compute_shares(self.run.configuration, self.run.architecture, batches)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.run.learning_rate(step)

    def update(self, gradients: Stages, rate: float) -> None:
        """Update every tensor and its moments."""
        self.steps += 1
        beta1, beta2 = self.settings.beta1, self.settings.beta2
        for name, gradient in gradients.items():
            self.first[name] = beta1 * self.first[name] + (1 - beta1) * gradient
            self.second[name] = beta2 * self.second[name] + (1 - beta2) * gradient**2
            step = self.correct_bias(self.first[name], beta1) / self.root(self.second[name])
            self.tensors[name] = self.tensors[name] - rate * (step + self.decay(name, rate))

    def correct_bias(self, moment: np.ndarray, beta: float) -> np.ndarray:
        """Return a moment without its bias towards 0."""
        return moment / (1 - beta**self.steps)

    def root(self, second: np.ndarray) -> np.ndarray:
        """Return the divisor of a step: eps is added to the root of the corrected second moment."""
        return np.sqrt(self.correct_bias(second, self.settings.beta2)) + self.settings.epsilon

    def decay(self, name: str, rate: float) -> np.ndarray:
        """Return the decoupled weight decay, which applies to matrices and tables only."""
        return self.settings.weight_decay * self.tensors[name] * has_weight_decay(self.table[name])


def label_every_token(batch: Batch) -> dict[str, np.ndarray]:
    """Return the arguments of the class: labels [B, S] instead of the labels of the masked positions only."""
    if "masked_labels" not in batch:
        return dict(batch)
    labels = np.full_like(batch["input_ids"], IGNORED)
    rows, places = np.nonzero(batch["masked_labels"] != IGNORED)
    labels[rows, batch["masked_positions"][rows, places]] = batch["masked_labels"][rows, places]
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


@cache
def train_in_float64(name: str) -> Result:
    """Train a run in float64; computed once."""
    return Float64Trainer(load_training_runs()[name]).train()
