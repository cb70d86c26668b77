"""`python -m benchmarks.training`: one masked-LM step in each framework, beside transformers, taking turns."""

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
PAUSE = 0.3  # seconds between two turns: threads of the last one may still spin
SAME = 1e-4  # of the loss; with dropout, which each draws for itself, losses may differ by a twentieth
SAME_WITH_DROPOUT = 0.05
STDOUT = Path("-")


@dataclass
class Result:
    """What an implementation did: the seconds of its first step, which may compile, and of the others; MiB at most."""

    name: str
    version: str
    tokens: int
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def rate(self) -> float:
        """Tokens a second, by the median."""
        return self.tokens / statistics.median(self.seconds)


class Worker(Process):
    """The process of one implementation. `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, *arguments: str):
        file = HERE / "contestants" / CONTESTANTS[name]
        super().__init__(name, [python, str(HERE / "worker.py"), str(file), name, *arguments])
        self.version = self.answer()["version"]

    def step(self, batch: int, length: int, seed: int) -> dict[str, Any]:
        """One step: its seconds, its loss and the peak of memory so far."""
        return self.ask([batch, length, seed])


def measure(
    folder: Path, pythons: Mapping[str, str], shape: tuple[int, int], rounds: int, precision: str, dropout: float
) -> list[Result]:
    """Steps of implementations, named with their interpreters, in turns; `ValueError` if their losses differ."""
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
                said, result = worker.step(*shape, turn), results[worker.name]
                losses[worker.name], result.peak = said["loss"], said["peak"]
                if turn:
                    result.seconds.append(said["seconds"])
                else:
                    result.first = said["seconds"]
            agree(losses, SAME_WITH_DROPOUT if dropout or precision != "float32" else SAME)
        return list(results.values())


def agree(losses: Mapping[str, float], tolerance: float) -> None:
    """Raise `ValueError` if two losses differ: they would not do the same work."""
    name, first = next(iter(losses.items()))
    for other, loss in losses.items():
        if not abs(loss - first) <= tolerance * abs(first):
            raise ValueError(f"{other} has a loss of {loss:.6f}, {name} one of {first:.6f}")


def table(results: list[Result]) -> Table:
    """Tokens a second, memory, and both beside transformers where it took part."""
    made = Table("", "version", "first step", "step", "tokens/s", "peak MiB")
    peers = [result for result in results if result.name == "transformers"]
    for peer in peers:
        made.add_column(f"of {peer.name} {peer.version}: tokens/s")
        made.add_column("peak")
    for result in results:
        beside = [text for peer in peers for text in _beside(result, peer)]
        median = statistics.median(result.seconds)
        made.add_row(
            result.name, result.version, f"{result.first:.1f} s", f"{median * 1e3:,.0f} ms", f"{result.rate:,.0f}",
            f"{result.peak:,}", *beside,
        )  # fmt: skip
    return made


def _beside(result: Result, peer: Result) -> Iterator[str]:
    yield f"{result.rate / peer.rate:.2f}x"
    yield f"{result.peak / max(peer.peak, 1):.0%}"


def main(
    frameworks: Annotated[str, typer.Option(help="Which of ours, with commas between.")] = "pt,tf,flax",
    peer: Annotated[
        str, typer.Option(metavar="PYTHON", help="The interpreter of an environment with transformers.")
    ] = "",
    shape: Annotated[str, typer.Option(help="Batch x length.")] = "8x128",
    rounds: Annotated[int, typer.Option(min=1, help="Steps after the first one.")] = 5,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    dropout: Annotated[float, typer.Option(help="The rate of both dropouts.")] = 0.1,
    layers: Annotated[int, typer.Option(min=1, help="Fewer make a smaller model than roberta-base.")] = 12,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE.")] = None,
) -> None:
    """Time a masked-LM step of AdamW at roberta-base's size: the same weights and batches, each in a process."""
    batch, _, length = shape.partition("x")
    names = [name for name in frameworks.split(",") if name]
    unknown = sorted(set(names) - {"pt", "tf", "flax"})
    if unknown or not (batch.isdecimal() and length.isdecimal()):
        raise typer.BadParameter(f"unknown framework {', '.join(unknown)}" if unknown else f"no shape: {shape}")
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
    Console().print(table(results))


if __name__ == "__main__":
    typer.run(main)
