"""`python -m benchmarks.training.tokenising`: compare tokenising before pretraining with the tokenizer library alone.

The library encodes sentences that are already split, and its results are discarded. The command
`roberta pretrain --prepare` is timed from the start of Python to the memory-mapped files on disk: it reads, checks,
splits, encodes and writes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from roberta_bench.process import ROBERTA
from roberta_core.data import texts as documents
from roberta_core.data.corpus_parts import BATCH, TOKENIZER
from roberta_core.data.sources import File, read_state

MEGABYTE = 1e6
COMMAND = "roberta pretrain --prepare"


def split_documents(files: Sequence[File]) -> list[str]:
    """Return the sentences of documents, split as the command splits them."""
    found: list[str] = []
    for path in files:
        found += documents.split_sentences(documents.read(path))
    return found


def time_library(encode: Callable[..., Sequence[object]], sentences: Sequence[str]) -> float:
    """Return the seconds that the library takes to encode the sentences, `BATCH` at a time."""
    begin = time.perf_counter()
    for start in range(0, len(sentences), BATCH):
        encode(sentences[start : start + BATCH], add_special_tokens=False)
    return time.perf_counter() - begin


def time_command(patterns: Sequence[str], tokenizer: Path, recipe: str) -> tuple[float, int]:
    """Run the command with a new output folder; return its seconds and the number of tokens that it wrote."""
    with tempfile.TemporaryDirectory() as output:
        command = [*ROBERTA, "pretrain", "--prepare", "--json", "--recipe", recipe]
        command += ["--tokenizer", str(tokenizer), "--output", output]
        for pattern in patterns:
            command += ["--texts", pattern]
        begin = time.perf_counter()
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
    if completed.returncode:
        raise ChildProcessError(f"{COMMAND} exited with status {completed.returncode}: {completed.stderr.strip()}")
    return seconds, json.loads(completed.stdout.splitlines()[-1])["tokens"]


def measure(
    patterns: Sequence[str], tokenizer: Path, recipe: str, rounds: int
) -> tuple[dict[str, list[float]], int, int]:
    """Time the library and the command in turns.

    Returns:
        The seconds of every run by name, the size of the texts in bytes, and the number of tokens of the corpus.
    """
    files = documents.find(patterns)
    sentences = split_documents(files)
    reader = Tokenizer.from_file(str(tokenizer / TOKENIZER))
    found: dict[str, list[float]] = {"encode_batch": [], "encode_batch_fast": [], COMMAND: []}
    tokens = 0
    for _ in range(rounds):
        found["encode_batch"].append(time_library(reader.encode_batch, sentences))
        found["encode_batch_fast"].append(time_library(reader.encode_batch_fast, sentences))
        seconds, tokens = time_command(patterns, tokenizer, recipe)
        found[COMMAND].append(seconds)
    return found, sum(read_state(file).size for file in files), tokens


def build_table(found: dict[str, list[float]], size: int) -> Table:
    """Return a table of seconds, megabytes per second and the command's time relative to the library's."""
    table = Table("", "median", "fastest", "MB/s", "time of the command")
    own = statistics.median(found[COMMAND])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        ratio = "" if name == COMMAND else f"{own / median:.2f}x"
        table.add_row(name, f"{median:.2f} s", f"{min(seconds):.2f} s", f"{size / MEGABYTE / median:.2f}", ratio)
    return table


def main(
    texts: Annotated[list[str], typer.Option(help="Documents: a file, a glob, or @LIST. Repeatable.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder with a tokenizer.json.")],
    recipe: Annotated[str, typer.Option(help="Recipe that sets how texts are split into blocks.")] = "roberta-tiny",
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of each.")] = 3,
) -> None:
    """Compare the time of `roberta pretrain --prepare` with that of the tokenizer library on the same sentences."""
    found, size, tokens = measure(texts, tokenizer, recipe, rounds)
    print(f"{size / MEGABYTE:.1f} MB, {tokens:,} tokens, {len(os.sched_getaffinity(0))} cores")
    Console().print(build_table(found, size))


if __name__ == "__main__":
    typer.run(main)
