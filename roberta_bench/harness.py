"""Implementations side by side: each in its own process, taking turns, so that a busy machine is as busy for all."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from roberta_bench.process import Process

HERE = Path(__file__).parent
OURS = ("pt", "tf", "flax")
VARIANTS = ("pt-compile", "pt-bf16", "tf-bf16", "flax-bf16")
LIMITS = ("limit", "limit-packed")
TRANSFORMERS = ("pt", "pt-bf16", "tf", "tf-function", "tf-xla", "flax", "flax-jit")
CONTESTANTS = {
    **dict.fromkeys((*OURS, *VARIANTS), "triberta.py"),
    **{f"transformers-{way}": "transformers.py" for way in TRANSFORMERS},
    **dict.fromkeys(("onnxruntime", "openvino", "openvino-bf16"), "exported.py"),
    **dict.fromkeys(LIMITS, "limit.py"),
}
PAUSE = 0.3  # seconds between two turns: threads of the last one may still spin
# Two implementations that differ by more of the largest value do not compute the same. With the random model of
# roberta-base's size and the four shapes that `roberta bench` takes, bfloat16 differed from float32 by up to 2.7e-2 in
# PyTorch, 2.2e-2 in TensorFlow and 1.3e-2 in Flax (26 inputs each); the answers to two other inputs by 0.39 or more.
SAME, SAME_IN_BFLOAT16 = 1e-4, 5e-2
BFLOAT16 = "bf16"

Shape = tuple[int, int]


@dataclass
class Timing:
    """Seconds a call: the first one, which may compile, and the ones after it."""

    first: float
    rest: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the calls after the first."""
        return statistics.median(self.rest)


@dataclass
class Result:
    """What an implementation did: seconds to import and to load, times by shape, the peak of its memory in MiB."""

    name: str
    version: str
    imports: float
    load: float
    peak: int = 0
    timings: dict[Shape, Timing] = field(default_factory=dict)


class Worker(Process):
    """The process of one implementation. `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, folder: Path):
        contestant = HERE / "contestants" / CONTESTANTS[name]
        super().__init__(name, [python, str(HERE / "worker.py"), str(contestant), name, str(folder)])
        self.result = Result(name, **self.answer())

    def run(self, shape: Shape, seed: int) -> list[float] | None:
        """One call, noted in the result; a sample of its answer, or None if it has none."""
        said = self.ask({"shape": shape, "seed": seed})
        self.result.peak = said["peak"]
        if shape in self.result.timings:
            self.result.timings[shape].rest.append(said["seconds"])
        else:
            self.result.timings[shape] = Timing(said["seconds"])
        return said["sample"]


def measure(
    folder: Path,
    pythons: Mapping[str, str],
    shapes: Sequence[Shape],
    rounds: int,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Times of implementations, named with the interpreter of their environment, in `rounds` after the first call.

    `ValueError` if two of them answer differently.
    """
    with ExitStack() as stack:
        workers = []
        for name, python in pythons.items():
            tell(f"load {name}")
            workers.append(Worker(name, python, folder))
            stack.callback(workers[-1].close)
        for shape in shapes:
            for turn in range(rounds + 1):
                tell(f"{shape[0]} x {shape[1]}, round {turn} of {rounds}")
                answers = {}
                first = turn % len(workers)
                for worker in workers[first:] + workers[:first]:
                    time.sleep(PAUSE)
                    answers[worker.name] = worker.run(shape, turn)
                agree(answers)
        return [worker.result for worker in workers]


def agree(answers: Mapping[str, list[float] | None]) -> None:
    """Raise `ValueError` if the samples of two implementations differ: they would not do the same work."""
    given = {name: np.asarray(sample) for name, sample in answers.items() if sample is not None}
    for name, sample in given.items():
        reference = next(iter(given))
        error = np.abs(sample - given[reference]).max() / np.abs(given[reference]).max()
        bar = SAME_IN_BFLOAT16 if BFLOAT16 in f"{name} {reference}" else SAME
        if not error <= bar:
            raise ValueError(f"{name} and {reference} give different answers: {error:.1e} of the largest value")


def here(names: Sequence[str]) -> dict[str, str]:
    """The interpreter of this process for each name."""
    return dict.fromkeys(names, sys.executable)
