"""Time several implementations: each in a separate process, taking turns, so that all see the same machine load."""

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
OURS = ("pt", "tf", "flax", "onnx", "openvino")  # the backends of this project
VARIANTS = ("pt-compile", "pt-bf16", "tf-bf16", "flax-bf16")
PLAIN = ("pt-plain", "tf-plain", "flax-plain")  # not frozen
EXPORTED = ("onnx", "onnx-int8", "openvino", "openvino-bf16")  # this project's graphs
LIMITS = ("limit", "limit-packed")
TRANSFORMERS = ("pt", "pt-bf16", "tf", "tf-function", "tf-xla", "flax", "flax-jit")
RUNTIMES = ("onnxruntime", "openvino", "openvino-bf16")  # on a graph that is exported from transformers
CONTESTANTS = {
    **dict.fromkeys((*OURS, *VARIANTS, *EXPORTED, *PLAIN), "triberta.py"),
    **{f"transformers-{way}": "transformers.py" for way in TRANSFORMERS},
    **{f"transformers-{way}": "exported.py" for way in RUNTIMES},
    **dict.fromkeys(LIMITS, "limit.py"),
}
PAUSE = 0.3  # seconds between two turns: threads of the previous one may still be spinning
# Outputs that differ by more than this share of the largest value are not the same computation. With the random model
# of roberta-base's size and the default shapes, bfloat16 differed from float32 by up to 2.7e-2 in PyTorch, 2.2e-2 in
# TensorFlow and 1.3e-2 in Flax (26 inputs each); the outputs of two different inputs by 0.39 or more. In
# int8, roberta-tiny differed by up to 1.1e-1.
SAME = 1e-4
ROUNDED = {"bf16": 5e-2, "int8": 3e-1}

Shape = tuple[int, int]


@dataclass
class Timing:
    """Seconds of the first call, which may compile, and of the following ones."""

    first: float
    rest: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the calls after the first."""
        return statistics.median(self.rest)


@dataclass
class Result:
    """What was measured of an implementation.

    Attributes:
        name: Its name in `CONTESTANTS`.
        version: The version of its library.
        imports: Seconds to import it.
        load: Seconds to load the checkpoint.
        peak: Peak memory in MiB.
        error: The largest difference from the outputs of the first implementation in float32, relative to their
            largest value.
        timings: The times by shape.
    """

    name: str
    version: str
    imports: float
    load: float
    peak: int = 0
    error: float = 0.0
    timings: dict[Shape, Timing] = field(default_factory=dict)


class Worker(Process):
    """The process of one implementation. Raises `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, folder: Path):
        contestant = HERE / "contestants" / CONTESTANTS[name]
        super().__init__(name, [python, str(HERE / "worker.py"), str(contestant), name, str(folder)])
        self.result = Result(name, **self.answer())

    def run(self, shape: Shape, seed: int) -> list[float] | None:
        """Time one call and record it in `result`. Returns a sample of the output, or None if there is none."""
        answer = self.ask({"shape": shape, "seed": seed})
        self.result.peak = answer["peak"]
        if shape in self.result.timings:
            self.result.timings[shape].rest.append(answer["seconds"])
        else:
            self.result.timings[shape] = Timing(answer["seconds"])
        return answer["sample"]


def measure(
    folder: Path,
    pythons: Mapping[str, str],
    shapes: Sequence[Shape],
    rounds: int,
    show_progress: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Time implementations.

    Args:
        folder: The checkpoint.
        pythons: The names of the implementations, each with the Python interpreter of its environment.
        shapes: Pairs of batch size and length.
        rounds: The number of timed calls after the first call of each shape.
        show_progress: Called with a description of each step.

    Raises:
        ValueError: If two implementations return different outputs.
    """
    with ExitStack() as stack:
        workers = []
        for name, python in pythons.items():
            show_progress(f"load {name}")
            workers.append(Worker(name, python, folder))
            stack.callback(workers[-1].close)
        for shape in shapes:
            for turn in range(rounds + 1):
                show_progress(f"{shape[0]} x {shape[1]}, round {turn} of {rounds}")
                answers = {}
                first = turn % len(workers)
                for worker in workers[first:] + workers[:first]:
                    time.sleep(PAUSE)
                    answers[worker.name] = worker.run(shape, turn)
                errors = check_agreement({worker.name: answers[worker.name] for worker in workers})
                for worker in workers:
                    worker.result.error = max(worker.result.error, errors.get(worker.name, 0.0))
        return [worker.result for worker in workers]


def is_ours(name: str) -> bool:
    """Whether an implementation is one of this project."""
    return name.partition("-")[0] in OURS


def is_rounded(name: str) -> bool:
    """Whether an implementation computes with fewer than 32 bits."""
    return any(kind in name for kind in ROUNDED)


def check_agreement(answers: Mapping[str, list[float] | None]) -> dict[str, float]:
    """Return the difference of each sample from the first one in float32, relative to its largest value.

    Raises:
        ValueError: The samples differ by more than rounding: the implementations do not compute the same.
    """
    samples = {name: np.asarray(sample) for name, sample in answers.items() if sample is not None}
    errors: dict[str, float] = {}
    reference = min(samples, key=is_rounded, default="")  # the first of those that are not rounded, if there is one
    for name, sample in samples.items():
        error = np.abs(sample - samples[reference]).max() / np.abs(samples[reference]).max()
        bar = max((most for kind, most in ROUNDED.items() if kind in f"{name} {reference}"), default=SAME)
        if not error <= bar:
            raise ValueError(
                f"{name} and {reference} return different outputs: they differ by {error:.1e} of the largest value"
            )
        errors[name] = float(error)
    return errors


def use_own_python(names: Sequence[str]) -> dict[str, str]:
    """Return the interpreter of this process for each name."""
    return dict.fromkeys(names, sys.executable)
