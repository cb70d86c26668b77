"""`python -m benchmarks.training.sentences`: time fine-tuning on sentences of real lengths, in turns.

Each implementation trains on the same sentences, in batches as it makes them itself: transformers takes them in random
order and pads to the longest of a batch; triberta puts sentences of similar length together, and computes no padding.
Only the lengths are real: ids, labels and weights are random, of the size of roberta-base.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.training.__main__ import PAUSE, SAME, Result, Worker, build_table, check_losses
from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.data.packing import shuffle_blocks
from roberta_core.data.records import Skipped, read
from roberta_core.parameters import draw
from roberta_core.tokenization import RobertaTokenizerFast

ARCHITECTURE = "ForSequenceClassification"
NOISE = 0.2  # relative difference of two losses of a batch with dropout


def read_lengths(file: Path, tokenizer: Path, column: str, count: int) -> np.ndarray:
    """Return the lengths in tokens of sentences, drawn from those of a file.

    Args:
        file: a file with a column of sentences.
        tokenizer: the folder of a tokenizer.
        column: the name of the column.
        count: how many are drawn.

    Raises:
        ValueError: the file has fewer sentences.
    """
    texts = [record.fields[column] for record in read(file, Skipped(strict=True))]
    if len(texts) < count:
        raise ValueError(f"{file} has {len(texts)} sentences; {count} are needed")
    chosen = np.random.default_rng(0).choice(len(texts), count, replace=False)
    encoded = RobertaTokenizerFast.from_pretrained(str(tokenizer))([texts[number] for number in chosen])
    return np.array([len(ids) for ids in encoded["input_ids"]])


def plan_batches(lengths: np.ndarray, size: int, grouped: bool) -> list[list[int]]:
    """Return the lengths of the sentences of each batch, in random order or with similar ones together."""
    order = shuffle_blocks(lengths, 0, 0, size) if grouped else np.arange(len(lengths))
    return lengths[order].reshape(-1, size).tolist()


def measure(folder: Path, pythons: Mapping[str, str], lengths: np.ndarray, size: int, dropout: float) -> list[Result]:
    """Train on all sentences twice, the implementations taking turns; the second time is timed.

    Raises:
        ValueError: The losses of a first batch, which is the same for all, differ.
    """
    with ExitStack() as stack:
        workers, results, plans = [], {}, {}
        for name, python in pythons.items():
            workers.append(Worker(name, python, str(folder), "float32", str(dropout)))
            stack.callback(workers[-1].close)
            results[name] = Result(name, workers[-1].version, round(size * lengths.mean()))
            plans[name] = plan_batches(lengths, size, name != "transformers")
        check_losses(
            _take_turn(workers, results, {name: lengths[:size].tolist() for name in pythons}, 0),
            NOISE if dropout else SAME,
        )
        for turn in range(2 * len(lengths) // size):
            number = turn % (len(lengths) // size)
            if not number:
                for result in results.values():
                    result.seconds.clear()
            _take_turn(workers, results, {name: plan[number] for name, plan in plans.items()}, turn + 1)
    for result in results.values():
        result.seconds = [statistics.mean(result.seconds)]  # batches have different lengths: a median would be of one
    return list(results.values())


def _take_turn(
    workers: Sequence[Worker], results: Mapping[str, Result], batches: Mapping[str, list[int]], turn: int
) -> dict[str, float]:
    """Have each implementation train on its batch, and return their losses."""
    losses = {}
    for worker in [*workers[turn % len(workers) :], *workers[: turn % len(workers)]]:
        time.sleep(PAUSE)
        answer, result = worker.ask([batches[worker.name], turn]), results[worker.name]
        losses[worker.name], result.peak = answer["loss"], answer["peak"]
        result.first = result.first or answer["seconds"]
        result.seconds.append(answer["seconds"])
    return losses


def main(
    sentences: Annotated[Path, typer.Option(help="A file with a column of sentences, such as SST-2's train.tsv.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder of a tokenizer.")],
    column: Annotated[str, typer.Option(help="Name of the column.")] = "sentence",
    frameworks: Annotated[str, typer.Option(help="Frameworks, separated by commas.")] = "pt,tf,flax",
    peer: Annotated[
        str, typer.Option(metavar="PYTHON", help="Python interpreter of an environment with transformers.")
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Sentences of a batch.")] = 32,
    batches: Annotated[int, typer.Option(min=1, help="Number of batches.")] = 10,
    dropout: Annotated[float, typer.Option(help="Rate of both dropouts.")] = 0.1,
    layers: Annotated[int, typer.Option(min=1, help="Number of layers; roberta-base has 12.")] = 12,
) -> None:
    """Time fine-tuning a classifier of roberta-base's size on sentences of real lengths."""
    pythons = dict.fromkeys(frameworks.split(","), sys.executable) | ({"transformers": peer} if peer else {})
    lengths = read_lengths(sentences, tokenizer, column, batch * batches)
    with tempfile.TemporaryDirectory() as scratch:
        config = RobertaConfig.base(num_hidden_layers=layers)
        checkpoints.save(Path(scratch), config, ARCHITECTURE, dict(draw(config, ARCHITECTURE, 0)))
        results = measure(Path(scratch), pythons, lengths, batch, dropout)
    Console().print(build_table(results))


if __name__ == "__main__":
    typer.run(main)
