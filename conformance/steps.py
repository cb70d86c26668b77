"""Training under judgement: the weights after some steps of AdamW, against the same steps in float64.

The trainings are data, `trainings/*.json`: as a case, with as many batches as there are steps, and the recipe's
settings of the optimiser.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.autodiff import gradients
from conformance.case import draw_input, draw_weight
from conformance.compare import Verdict, compare
from conformance.gradient import is_null
from conformance.oracle import Oracle, Stages
from roberta_core.config import RobertaConfig
from roberta_core.parameters import has_weight_decay, parameters
from roberta_core.training.recipe import Optimizer

FOLDER = Path(__file__).parent / "trainings"
LOSS = {"loss": np.ones(())}


@dataclass(frozen=True)
class Training:
    """A model, the batches that it learns from, and how exact float32 is there."""

    name: str
    says: str
    architecture: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    batches: tuple[Mapping[str, Any], ...]
    optimizer: Mapping[str, Any]
    rtol: float
    reason: str

    @classmethod
    def read(cls, path: Path) -> "Training":
        """The training of a file; `TypeError` for a key that is unknown or missing."""
        return cls(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def configuration(self) -> RobertaConfig:
        """The model's configuration, without dropout."""
        return RobertaConfig(**self.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    @cached_property
    def settings(self) -> Optimizer:
        """The optimiser's settings; the learning rate stays at its peak."""
        return Optimizer(warmup_steps=0, **self.optimizer)

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights at the start."""
        table = parameters(self.configuration, self.architecture)
        return {name: draw_weight(self.weights, name, row.kind, row.shape) for name, row in table.items()}

    @cached_property
    def arrays(self) -> list[dict[str, np.ndarray]]:
        """The batches."""
        return [{name: draw_input(name, value) for name, value in batch.items()} for batch in self.batches]

    @cached_property
    def expected(self) -> Stages:
        """The weights after the last batch."""
        return AdamW(self).run()


@cache
def load_trainings() -> dict[str, Training]:
    """The trainings, by name."""
    return {path.stem: Training.read(path) for path in sorted(FOLDER.glob("*.json"))}


def judge_steps(got: Mapping[str, np.ndarray], training: Training, want: Stages | None = None) -> list[Verdict]:
    """The verdict on each tensor, null directions left out: there an optimiser makes steps of rounding noise."""
    want = training.expected if want is None else want
    layers = training.configuration.num_hidden_layers
    names = [name for name in want if not is_null(name, training.architecture, layers)]
    return [compare(name, got.get(name), want[name], training.rtol) for name in names]


class AdamW:
    """Loshchilov & Hutter (2019), algorithm 2, in float64; each choice that is made differently is a method."""

    model: type[Oracle] = Oracle

    def __init__(self, training: Training):
        self.training, self.settings, self.steps = training, training.settings, 0
        self.table = parameters(training.configuration, training.architecture)
        self.tensors = {name: tensor.astype(np.float64) for name, tensor in training.tensors.items()}
        self.first = {name: np.zeros(tensor.shape) for name, tensor in self.tensors.items()}
        self.second = {name: np.zeros(tensor.shape) for name, tensor in self.tensors.items()}

    def run(self) -> Stages:
        """The weights after every batch."""
        for batch in self.training.arrays:
            self.step(self.gradients(batch))
        return self.tensors

    def gradients(self, batch: Mapping[str, np.ndarray]) -> Stages:
        """Those of the loss."""
        training = self.training
        return gradients(self.model, training.configuration, training.architecture, self.tensors, batch, LOSS)

    def step(self, found: Stages) -> None:
        """One step of every tensor."""
        self.steps += 1
        settings = self.settings
        for name, gradient in found.items():
            self.first[name] = settings.beta1 * self.first[name] + (1 - settings.beta1) * gradient
            self.second[name] = settings.beta2 * self.second[name] + (1 - settings.beta2) * gradient**2
            step = self.corrected(self.first[name], settings.beta1) / self.root(self.second[name])
            self.tensors[name] = self.tensors[name] - settings.peak_learning_rate * (step + self.decay(name))

    def corrected(self, moment: np.ndarray, beta: float) -> np.ndarray:
        """A moment without its bias towards 0."""
        return moment / (1 - beta**self.steps)

    def root(self, second: np.ndarray) -> np.ndarray:
        """What a step is divided by: eps is added to the root of the corrected moment."""
        return np.sqrt(self.corrected(second, self.settings.beta2)) + self.settings.epsilon

    def decay(self, name: str) -> np.ndarray:
        """Decoupled weight decay, of matrices and tables alone."""
        return self.settings.weight_decay * self.tensors[name] * has_weight_decay(self.table[name])


class EpsBeforeCorrection(AdamW):
    """Eps added to the root before its correction, as Keras does."""

    def root(self, second: np.ndarray) -> np.ndarray:
        """As Keras has it."""
        return (np.sqrt(second) + self.settings.epsilon) / math.sqrt(1 - self.settings.beta2**self.steps)


class EpsInRoot(AdamW):
    """Eps added inside the root."""

    def root(self, second: np.ndarray) -> np.ndarray:
        """With eps inside."""
        return np.sqrt(self.corrected(second, self.settings.beta2) + self.settings.epsilon)


class NoCorrection(AdamW):
    """Moments as they are, as in the first BERT's optimiser."""

    def corrected(self, moment: np.ndarray, beta: float) -> np.ndarray:
        """The moment itself."""
        return moment


class DecayOfAll(AdamW):
    """Weight decay of biases and norms too."""

    def decay(self, name: str) -> np.ndarray:
        """Of every tensor."""
        return self.settings.weight_decay * self.tensors[name]


class NoDecay(AdamW):
    """No weight decay."""

    def decay(self, name: str) -> np.ndarray:
        """None."""
        return np.zeros(())


class DecayInGradient(AdamW):
    """Weight decay as a part of the gradient, as in Adam with a penalty."""

    def step(self, found: Stages) -> None:
        """With the penalty's gradient."""
        super().step({name: gradient + AdamW.decay(self, name) for name, gradient in found.items()})

    def decay(self, name: str) -> np.ndarray:
        """None of its own."""
        return np.zeros(())


class DecayUnscaled(AdamW):
    """Weight decay that the learning rate does not scale."""

    def decay(self, name: str) -> np.ndarray:
        """As much, whatever the learning rate."""
        return super().decay(name) / self.settings.peak_learning_rate


class GradientsAddUp(AdamW):
    """Gradients that nobody sets to zero between two steps."""

    def step(self, found: Stages) -> None:
        """With those of all steps before."""
        before = getattr(self, "before", dict.fromkeys(found, 0.0))
        self.before = {name: before[name] + gradient for name, gradient in found.items()}
        super().step(self.before)


class OneStepLess(AdamW):
    """The last batch left out."""

    def run(self) -> Stages:
        """Without the last one."""
        for batch in self.training.arrays[:-1]:
            self.step(self.gradients(batch))
        return self.tensors


class OtherOrder(AdamW):
    """The batches in another order."""

    def run(self) -> Stages:
        """From the last to the first."""
        for batch in self.training.arrays[::-1]:
            self.step(self.gradients(batch))
        return self.tensors


UPDATES: dict[str, type[AdamW]] = {
    "eps before the bias correction": EpsBeforeCorrection,
    "eps inside the root": EpsInRoot,
    "no bias correction": NoCorrection,
    "weight decay of biases and norms": DecayOfAll,
    "no weight decay": NoDecay,
    "weight decay in the gradient": DecayInGradient,
    "weight decay not scaled by the learning rate": DecayUnscaled,
    "gradients that add up over the steps": GradientsAddUp,
    "one step less": OneStepLess,
    "the batches in another order": OtherOrder,
}
