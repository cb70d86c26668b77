"""Whole trainings under judgement: the losses of 100 steps in every framework, against each other and float64 steps.

A course is data, `courses/*.json`: a configuration and weights as in a case, the sizes of blocks that are drawn, masked
anew in each epoch, and the recipe's settings of the optimiser. Each framework's own Trainer takes the steps.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.case import draw_weight
from conformance.compare import Verdict
from conformance.oracle import Stages
from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.parameters import parameters
from roberta_core.training.optimizer_step import split_batch
from roberta_core.training.recipe import Optimizer, Recipe

FOLDER = Path(__file__).parent / "courses"
ARCHITECTURE = "ForMaskedLM"


@dataclass(frozen=True)
class Course:
    """A model, what it learns from, and how exact float32 is there: over all its steps, and over the first ones.

    `steps` are compared among the frameworks at `rtol`, the first `exact_steps` of them with float64 at `exact_rtol`.
    """

    name: str
    says: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    data: Mapping[str, int]
    optimizer: Mapping[str, Any]
    exact_steps: int
    rtol: float
    exact_rtol: float
    reason: str
    architecture: str = ARCHITECTURE

    @classmethod
    def read(cls, path: Path) -> "Course":
        """The course of a file; `TypeError` for a key that is unknown or missing."""
        return cls(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def configuration(self) -> RobertaConfig:
        """The model's configuration, without dropout."""
        return RobertaConfig(**self.config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)

    @cached_property
    def settings(self) -> Optimizer:
        """The optimiser's settings."""
        return Optimizer(**self.optimizer)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the run."""
        sizes = {"max_position_embeddings": self.configuration.max_position_embeddings}
        return Recipe.from_dict(
            {"model": sizes, "data": {"sequence_length": self.data["length"]}, "optimizer": dict(self.optimizer)}
        )

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights at the start."""
        table = parameters(self.configuration, self.architecture)
        return {name: draw_weight(self.weights, name, row.kind, row.shape) for name, row in table.items()}

    @cached_property
    def blocks(self) -> MaskedBlocks:
        """What the batches come from: sentences that repeat a few words, in blocks of unequal lengths."""
        count, length, vocabulary = self.data["blocks"], self.data["length"], self.configuration.vocab_size
        generator = np.random.default_rng(self.data["seed"])
        tokens = generator.integers(4, vocabulary - 1, 23)[generator.integers(0, 23, count * length)]
        starts = np.arange(count) * (length - 2)
        stops = starts + generator.integers(length // 2, length - 1, count)
        masking = Masking(vocabulary, vocabulary - 1, rate=0.3)
        return MaskedBlocks(tokens, np.stack([starts, stops], axis=1), masking, length, self.data["seed"])

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step."""
        return split_batch(self.blocks.batch(step, self.settings.batch_size), self.settings.micro_batch_size)


@cache
def load_courses() -> dict[str, Course]:
    """The courses, by name."""
    return {path.stem: Course.read(path) for path in sorted(FOLDER.glob("*.json"))}


def trained(backend: Backend, course: Course, steps: int | None = None) -> Stages:
    """The `loss` and `gradient_norm` of each step [T] of a framework's Trainer."""
    start = {name: tensor.copy() for name, tensor in course.tensors.items()}  # PyTorch trains in their memory
    model = backend.from_tensors(course.architecture, course.configuration, start)
    trainer, schedule = backend.trainer(model, course.recipe), course.settings.schedule()
    rows = [
        trainer.step(course.batches(step), schedule(step))
        for step in range(course.settings.steps if steps is None else steps)
    ]
    return {name: np.array([float(row[name]) for row in rows]) for name in ("loss", "gradient_norm")}


def judge_course(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], rtol: float) -> Verdict:
    """The verdict on a curve of losses: the largest relative difference at a step, over the steps that `want` has."""
    steps = len(want["loss"])
    differences = np.abs(np.asarray(got["loss"][:steps], np.float64) - want["loss"])
    worst = float((differences / np.abs(want["loss"])).max())
    complaint = None if worst <= rtol else f"a loss is off by {worst:.1e}, over {rtol:.0e}"
    return Verdict("loss", float(differences.max()), worst, rtol, complaint)


def compared(backends: Iterable[Backend], course: Course) -> Iterator[tuple[str, Verdict]]:
    """The verdict on each framework beside float64, and on each two beside each other."""
    from conformance.exact import exact

    curves = {backend.title: trained(backend, course) for backend in backends}
    for title, got in curves.items():
        yield f"{title} and float64", judge_course(got, exact(course.name), course.exact_rtol)
    for one, other in itertools.combinations(curves, 2):
        yield f"{one} and {other}", judge_course(curves[one], curves[other], course.rtol)


def main() -> int:
    """A table of every course in every framework that is installed; 1 if a loss is off by more than it may."""
    from rich.console import Console
    from rich.table import Table

    from roberta_core import backend

    table, ok = Table("course", "losses of", "steps", "largest relative difference", "tolerance"), True
    backends = [backend.load(name) for name in backend.available()]
    for course in load_courses().values():
        for what, verdict in compared(backends, course):
            steps = course.exact_steps if what.endswith("float64") else course.settings.steps
            table.add_row(course.name, what, str(steps), f"{verdict.max_rel:.1e}", f"{verdict.rtol:.0e}")
            ok &= verdict.ok
    Console().print(table)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
