"""Courses in float64: the steps that every framework's Trainer should take, and planted ones that go astray."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from conformance.autodiff import backward, differentiable
from conformance.courses import Course, load_courses
from conformance.oracle import Oracle, Stages
from conformance.steps import AdamW, DecayOfAll, EpsBeforeCorrection, EpsInRoot
from roberta_core.data.batches import IGNORED, Batch
from roberta_core.training.optimizer_step import compute_shares


class Exact:
    """The same steps in float64; each choice that is made differently is a method."""

    update: type[AdamW] = AdamW

    def __init__(self, course: Course):
        self.course, self.schedule = course, course.settings.schedule()
        training: Any = course  # as much of one as AdamW asks for
        self.adam = self.update(training)

    def run(self, steps: int) -> Stages:
        """The `loss` and `gradient_norm` of each step [T]."""
        rows = [self.step(step) for step in range(steps)]
        return {name: np.array([row[name] for row in rows]) for name in ("loss", "gradient_norm")}

    def step(self, step: int) -> dict[str, float]:
        """One step: its loss, and the norm of the gradients before clipping."""
        batches = self.batches(step)
        total, loss = dict.fromkeys(self.adam.tensors, np.zeros(())), 0.0
        for batch, share in zip(batches, self.shares(batches), strict=True):
            value, found = self.gradients(batch)
            loss += share * value
            total = {name: total[name] + share * gradient for name, gradient in found.items()}
        norm = float(np.sqrt(sum(float((gradient**2).sum()) for gradient in total.values())))
        clip = self.course.settings.clip_norm
        scale = min(clip / norm, 1.0) if clip else 1.0
        self.adam.settings = replace(self.course.settings, peak_learning_rate=self.rate(step))
        self.adam.step({name: scale * gradient for name, gradient in total.items()})
        return {"loss": loss, "gradient_norm": norm}

    def gradients(self, batch: Batch) -> tuple[float, Stages]:
        """The loss of a micro-batch and its gradients, the head scoring every position."""
        run = differentiable(Oracle)(self.course.configuration, self.course.architecture, self.adam.tensors)
        loss: Any = run.run(**labelled(batch))["loss"]
        found = backward(loss)
        return float(loss.value), {name: found[leaf.number] for name, leaf in run.tensors.items()}

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.schedule(step)

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step."""
        return self.course.batches(step)

    def shares(self, batches: list[Batch]) -> list[float]:
        """What the mean of each micro-batch counts."""
        return compute_shares(self.course.configuration, self.course.architecture, batches)


def labelled(batch: Batch) -> dict[str, np.ndarray]:
    """A batch with a label for every token [B, S], as the class takes it."""
    labels = np.full_like(batch["input_ids"], IGNORED)
    rows, places = np.nonzero(batch["masked_labels"] != IGNORED)
    labels[rows, batch["masked_positions"][rows, places]] = batch["masked_labels"][rows, places]
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


class NormsDecay(Exact):
    """Weight decay of biases and norms too."""

    update = DecayOfAll


class EpsInside(Exact):
    """Eps added inside the root."""

    update = EpsInRoot


class EpsBefore(Exact):
    """Eps added to the root before its correction, as Keras does."""

    update = EpsBeforeCorrection


class WarmUpOffByOne(Exact):
    """A warm-up that begins at 0 and reaches its peak a step later."""

    def rate(self, step: int) -> float:
        """That of the step before."""
        return self.schedule(step - 1) if step else 1e-30


class MeanOfMeans(Exact):
    """Every micro-batch counted alike, however many labels it has."""

    def shares(self, batches: list[Batch]) -> list[float]:
        """The same for each."""
        return [1 / len(batches)] * len(batches)


class SumOfMicroBatches(Exact):
    """Gradients of micro-batches added up and not divided."""

    def shares(self, batches: list[Batch]) -> list[float]:
        """1 for each."""
        return [1.0] * len(batches)


class MaskedTwice(Exact):
    """Tokens masked again by another draw, whose labels nobody asks for."""

    def batches(self, step: int) -> list[Batch]:
        """With the masks of another seed too."""
        blocks = self.course.blocks
        twice = []
        for batch, other in zip(
            super().batches(step), replace_seed(self.course, blocks.seed + 1).batches(step), strict=True
        ):
            hidden = (other["input_ids"] == blocks.masking.mask_id) & (batch["input_ids"] != blocks.pad)
            twice.append(batch | {"input_ids": np.where(hidden, blocks.masking.mask_id, batch["input_ids"])})
        return twice


class MaskedOnce(Exact):
    """The masks of the first epoch in every epoch."""

    def batches(self, step: int) -> list[Batch]:
        """Of the epoch before, from the second one on."""
        epoch = len(self.course.blocks) // self.course.settings.batch_size
        return super().batches(step % epoch)


def replace_seed(course: Course, seed: int) -> Course:
    """The same blocks in the same order, masked from another seed."""
    other = replace(course)
    blocks = replace(course.blocks, seed=seed)
    blocks._ordered = course.blocks._ordered  # the order is drawn from the seed too
    vars(other)["blocks"] = blocks
    return other


ASTRAY: dict[str, type[Exact]] = {
    "a course with weight decay of biases and norms": NormsDecay,
    "a course with eps inside the root": EpsInside,
    "a course with eps before the bias correction": EpsBefore,
    "a course with warm-up off by one": WarmUpOffByOne,
    "a course with a mean of means": MeanOfMeans,
    "a course with micro-batches summed": SumOfMicroBatches,
    "a course with tokens masked twice": MaskedTwice,
    "a course with the same masks in every epoch": MaskedOnce,
}


@cache
def exact(name: str) -> Stages:
    """The first steps of a course in float64."""
    course = load_courses()[name]
    return Exact(course).run(course.exact_steps)
