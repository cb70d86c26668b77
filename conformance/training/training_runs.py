"""Training runs: data in `cases/training/*.json`, and the comparison of a framework's Trainer with float64 steps.

There are two kinds of run. A run with `batches` has one listed batch for each step, at the peak learning rate; the
weights after the last step are compared. A run with `blocks` draws blocks of tokens, masks them again in each epoch and
follows the learning-rate schedule; the loss of every step is compared.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.parameters import parameters
from roberta_core.training.optimizer_step import split_batch
from roberta_core.training.recipe import Optimizer, Recipe

from ..oracle import Stages
from ..suite.case import draw_input, draw_weight
from ..suite.gradients import is_null
from ..suite.judge import Verdict, compare

FOLDER = Path(__file__).parents[1] / "cases" / "training"


@dataclass(frozen=True)
class Result:
    """The loss and gradient norm [T] of every step, and the tensors after the last one."""

    losses: np.ndarray
    gradient_norms: np.ndarray
    tensors: Stages


@dataclass(frozen=True)
class TrainingRun:
    """A model, its batches, the optimizer's settings and the tolerances for float32.

    `rtol` is the tolerance against float64: of the weights after the last step, or of the losses of the first
    `float64_steps`. `frameworks_rtol` is the tolerance of the losses of all steps between two frameworks.
    """

    name: str
    description: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    rtol: float
    reason: str
    architecture: str = "ForMaskedLM"
    batches: tuple[Mapping[str, Any], ...] = ()
    blocks: Mapping[str, int] | None = None
    float64_steps: int = 0
    frameworks_rtol: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "TrainingRun":
        """Read the run of a file. Raises `TypeError` if a key is unknown or missing."""
        return cls(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def configuration(self) -> RobertaConfig:
        """The model's configuration, without dropout."""
        return RobertaConfig(**self.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    @cached_property
    def settings(self) -> Optimizer:
        """The optimizer's settings."""
        steps: dict[str, Any] = {} if self.blocks else {"steps": len(self.batches), "warmup_steps": 0}
        return Optimizer(**steps, **self.optimizer)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        sizes = {"max_position_embeddings": self.configuration.max_position_embeddings}
        length = self.blocks["length"] if self.blocks else self.configuration.max_sequence_length
        tables = {"model": sizes, "data": {"sequence_length": length}}
        return Recipe.from_dict({**tables, "optimizer": vars(self.settings)})

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights before the first step."""
        table = parameters(self.configuration, self.architecture)
        return {name: draw_weight(self.weights, name, row.kind, row.shape) for name, row in table.items()}

    @cached_property
    def arrays(self) -> list[dict[str, np.ndarray]]:
        """The listed batches."""
        return [{name: draw_input(name, value) for name, value in batch.items()} for batch in self.batches]

    @cached_property
    def masked_blocks(self) -> MaskedBlocks:
        """The blocks: sentences of a few repeated words, of unequal lengths."""
        if self.blocks is None:
            raise ValueError(f"training run {self.name} has listed batches, not blocks")
        count, length, vocabulary = self.blocks["count"], self.blocks["length"], self.configuration.vocab_size
        generator = np.random.default_rng(self.blocks["seed"])
        tokens = generator.integers(4, vocabulary - 1, 23)[generator.integers(0, 23, count * length)]
        starts = np.arange(count) * (length - 2)
        stops = starts + generator.integers(length // 2, length - 1, count)
        masking = Masking(vocabulary, vocabulary - 1, rate=0.3)
        return MaskedBlocks(tokens, np.stack([starts, stops], axis=1), masking, length, self.blocks["seed"])

    def micro_batches(self, step: int) -> list[Batch]:
        """Return the micro-batches of a step, counted from 0."""
        if self.blocks is None:
            return [self.arrays[step]]
        return split_batch(self.masked_blocks.batch(step, self.settings.batch_size), self.settings.micro_batch_size)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.settings.schedule()(step) if self.blocks else self.settings.peak_learning_rate


@cache
def load_training_runs() -> dict[str, TrainingRun]:
    """Read every run, by name; read once."""
    return {path.stem: TrainingRun.read(path) for path in sorted(FOLDER.glob("*.json"))}


def train(backend: Backend, run: TrainingRun, steps: int | None = None) -> Result:
    """Train with a framework's Trainer.

    Args:
        backend: The framework.
        run: The training run.
        steps: The number of steps; by default all of them.
    """
    start = {name: tensor.copy() for name, tensor in run.tensors.items()}  # PyTorch trains in the memory of its input
    model = backend.from_tensors(run.architecture, run.configuration, start)
    trainer = backend.trainer(model, run.recipe)
    rows = [
        trainer.step(run.micro_batches(step), run.learning_rate(step))
        for step in range(run.settings.steps if steps is None else steps)
    ]
    losses, norms = (np.array([float(row[name]) for row in rows]) for name in ("loss", "gradient_norm"))
    return Result(losses, norms, backend.tensors(model))


def judge_weights(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], run: TrainingRun) -> list[Verdict]:
    """Compare the weights after a run, without null directions: the optimizer moves those by rounding noise."""
    layers = run.configuration.num_hidden_layers
    names = [name for name in want if not is_null(name, run.architecture, layers)]
    return [compare(name, got.get(name), want[name], run.rtol) for name in names]


def judge_losses(got: np.ndarray, want: np.ndarray, rtol: float) -> Verdict:
    """Compare the losses of the steps that `want` has: the error is the largest relative difference."""
    differences = np.abs(np.asarray(got[: len(want)], np.float64) - want)
    worst = float((differences / np.abs(want)).max())
    complaint = None if worst <= rtol else f"loss: relative difference {worst:.1e} exceeds the tolerance {rtol:.0e}"
    return Verdict("loss", float(differences.max()), worst, rtol, complaint)


def compare_losses(backends: Iterable[Backend], run: TrainingRun) -> Iterator[tuple[str, Verdict]]:
    """Yield the comparison of each framework with float64, then of each pair of frameworks."""
    from .optimizer_steps import train_in_float64

    curves = {backend.title: train(backend, run).losses for backend in backends}
    for title, got in curves.items():
        yield f"{title} and float64", judge_losses(got, train_in_float64(run.name).losses, run.rtol)
    for one, other in itertools.combinations(curves, 2):
        yield f"{one} and {other}", judge_losses(curves[one], curves[other], run.frameworks_rtol)
