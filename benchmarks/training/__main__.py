"""`python -m benchmarks.training`: time a masked-LM training step in each framework and in transformers, in turns."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from roberta_bench.process import Process
from roberta_bench.report import describe_machine
from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

HERE = Path(__file__).parent
CONTESTANTS = {**dict.fromkeys(("pt", "tf", "flax"), "triberta.py"), "transformers": "transformers.py"}
PAUSE = 0.3  # seconds between two turns: threads of the previous one may still be spinning
SAME = 1e-4  # relative difference of two losses
SAME_WITH_DROPOUT = 0.05  # each implementation draws its own dropout masks
STDOUT = Path("-")


@dataclass
class Result:
    """Seconds of the first step, which may compile, and of the following ones, and the peak memory in MiB."""

    name: str
    version: str
    tokens: int
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def rate(self) -> float:
        """Return the tokens per second of the median step."""
        return self.tokens / statistics.median(self.seconds)


class Worker(Process):
    """The process of one implementation. Raises `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, *arguments: str):
        file = HERE / "contestants" / CONTESTANTS[name]
        super().__init__(name, [python, str(HERE / "worker.py"), str(file), name, *arguments])
        self.version = self.answer()["version"]

    def step(self, batch: int, length: int, seed: int) -> dict[str, Any]:
        """Run one training step. Returns its seconds, its loss and the peak memory so far."""
        return self.ask([batch, length, seed])


def measure(
    folder: Path, pythons: Mapping[str, str], shape: tuple[int, int], rounds: int, precision: str, dropout: float
) -> list[Result]:
    """Time training steps of implementations that take turns.

    Args:
        folder: The checkpoint.
        pythons: The names of the implementations, each with the Python interpreter of its environment.
        shape: Batch size and length.
        rounds: The number of timed steps after the first step.
        precision: `float32` or `bfloat16`.
        dropout: The rate of both dropouts.

    Raises:
        ValueError: If the losses of two implementations differ.
    """
    with ExitStack() as stack:
        workers, results = [], {}
        for name, python in pythons.items():
            workers.append(Worker(name, python, str(folder), precision, str(dropout)))
            stack.callback(workers[-1].close)
            results[name] = Result(name, workers[-1].version, shape[0] * shape[1])
        for turn in range(rounds + 1):
            losses = {}
            for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
                time.sleep(PAUSE)
                answer, result = worker.step(*shape, turn), results[worker.name]
                losses[worker.name], result.peak = answer["loss"], answer["peak"]
                if turn:
                    result.seconds.append(answer["seconds"])
                else:
                    result.first = answer["seconds"]
            check_losses(losses, SAME_WITH_DROPOUT if dropout or precision != "float32" else SAME)
        return list(results.values())


def check_losses(losses: Mapping[str, float], tolerance: float) -> None:
    """Raise `ValueError` if two losses differ by more than a relative tolerance: then they do not compute the same."""
    name, first = next(iter(losses.items()))
    for other, loss in losses.items():
        if not abs(loss - first) <= tolerance * abs(first):
            raise ValueError(f"the losses differ: {loss:.6f} in {other}, {first:.6f} in {name}")


def build_table(results: list[Result]) -> Table:
    """Return a table of time and memory, and of both relative to transformers if it was measured."""
    table = Table("", "version", "first step", "step", "tokens/s", "peak MiB")
    peers = [result for result in results if result.name == "transformers"]
    for peer in peers:
        table.add_column(f"relative to {peer.name} {peer.version}: tokens/s")
        table.add_column("peak")
    for result in results:
        ratios = [text for peer in peers for text in _compare(result, peer)]
        median = statistics.median(result.seconds)
        table.add_row(
            result.name, result.version, f"{result.first:.1f} s", f"{median * 1e3:,.0f} ms", f"{result.rate:,.0f}",
            f"{result.peak:,}", *ratios,
        )  # fmt: skip
    return table


def _compare(result: Result, peer: Result) -> Iterator[str]:
    yield f"{result.rate / peer.rate:.2f}x"
    yield f"{result.peak / max(peer.peak, 1):.0%}"


def main(
    frameworks: Annotated[str, typer.Option(help="Frameworks, separated by commas.")] = "pt,tf,flax",
    peer: Annotated[
        str, typer.Option(metavar="PYTHON", help="Python interpreter of an environment with transformers.")
    ] = "",
    shape: Annotated[str, typer.Option(help="Batch size and length, such as 8x128.")] = "8x128",
    rounds: Annotated[int, typer.Option(min=1, help="Timed steps after the first step.")] = 5,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    dropout: Annotated[float, typer.Option(help="Rate of both dropouts.")] = 0.1,
    layers: Annotated[int, typer.Option(min=1, help="Number of layers; roberta-base has 12.")] = 12,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE.")] = None,
) -> None:
    """Time a masked-LM step with AdamW at roberta-base's size: same weights and batches, one process each."""
    batch, _, length = shape.partition("x")
    names = [name for name in frameworks.split(",") if name]
    unknown = sorted(set(names) - {"pt", "tf", "flax"})
    if unknown or not (batch.isdecimal() and length.isdecimal()):
        message = f"--frameworks contains {', '.join(unknown)}; choose from pt, tf, flax"
        raise typer.BadParameter(message if unknown else f"--shape {shape} is not BATCHxLENGTH, such as 8x128")
    pythons = dict.fromkeys(names, sys.executable) | ({"transformers": peer} if peer else {})
    with tempfile.TemporaryDirectory() as scratch:
        config = RobertaConfig.base(num_hidden_layers=layers)
        checkpoints.save(Path(scratch), config, "ForMaskedLM", dict(draw(config, "ForMaskedLM", 0)))
        results = measure(Path(scratch), pythons, (int(batch), int(length)), rounds, precision, dropout)
    if json_file is not None:
        found = [asdict(result) | {"tokens_per_second": result.rate} for result in results]
        text = json.dumps(
            {"machine": describe_machine(), "precision": precision, "dropout": dropout, "results": found}, indent=1
        )
        json_file.write_text(text + "\n", encoding="utf-8")
    Console().print(build_table(results))


if __name__ == "__main__":
    typer.run(main)
