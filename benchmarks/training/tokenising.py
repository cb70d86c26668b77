"""`python -m benchmarks.training.tokenising`: the tokenising pass before pretraining, beside the tokenizer alone.

The tokenizer alone is the `tokenizers` library on sentences that are cut already, its results thrown away; the pass is
the command, from the start of Python to the mapped files on disk: reading, checking, cutting, encoding, writing.
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
from roberta_core.data.corpus import BATCH, TOKENIZER

MEGABYTE = 1e6


def cut(files: Sequence[Path]) -> list[str]:
    """The sentences of documents, as the pass cuts them."""
    found: list[str] = []
    for path in files:
        found += documents.split_sentences(documents.read(path))
    return found


def alone(encode: Callable[..., Sequence[object]], sentences: Sequence[str]) -> float:
    """The seconds in which the library encodes the sentences, `BATCH` at a time."""
    begin = time.perf_counter()
    for start in range(0, len(sentences), BATCH):
        encode(sentences[start : start + BATCH], add_special_tokens=False)
    return time.perf_counter() - begin


def passed(patterns: Sequence[str], tokenizer: Path, recipe: str) -> tuple[float, int]:
    """The seconds of the whole command into a new folder, and how many tokens it wrote."""
    with tempfile.TemporaryDirectory() as output:
        command = [*ROBERTA, "pretrain", "--prepare", "--json", "--recipe", recipe]
        command += ["--tokenizer", str(tokenizer), "--output", output]
        for pattern in patterns:
            command += ["--texts", pattern]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
    if done.returncode:
        raise ChildProcessError(f"the pass ended with status {done.returncode}: {done.stderr.strip()}")
    return seconds, json.loads(done.stdout.splitlines()[-1])["tokens"]


def measure(
    patterns: Sequence[str], tokenizer: Path, recipe: str, rounds: int
) -> tuple[dict[str, list[float]], int, int]:
    """The seconds of each, in turns; the bytes of the texts, and the tokens of the corpus."""
    files = documents.find(patterns)
    sentences = cut(files)
    reader = Tokenizer.from_file(str(tokenizer / TOKENIZER))
    found: dict[str, list[float]] = {"encode_batch": [], "encode_batch_fast": [], "the pass": []}
    tokens = 0
    for _ in range(rounds):
        found["encode_batch"].append(alone(reader.encode_batch, sentences))
        found["encode_batch_fast"].append(alone(reader.encode_batch_fast, sentences))
        seconds, tokens = passed(patterns, tokenizer, recipe)
        found["the pass"].append(seconds)
    return found, sum(path.stat().st_size for path in files), tokens


def table(found: dict[str, list[float]], size: int) -> Table:
    """Seconds, megabytes a second, and the pass beside both ways to call the library."""
    made = Table("", "median", "fastest", "MB/s", "the pass takes")
    own = statistics.median(found["the pass"])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        beside = "" if name == "the pass" else f"{own / median:.2f}x of it"
        made.add_row(name, f"{median:.2f} s", f"{min(seconds):.2f} s", f"{size / MEGABYTE / median:.2f}", beside)
    return made


def main(
    texts: Annotated[list[str], typer.Option(help="Documents: a file, a glob, or @LIST. Repeatable.")],
    tokenizer: Annotated[Path, typer.Option(help="A folder with a tokenizer.json.")],
    recipe: Annotated[str, typer.Option(help="How texts are cut into blocks.")] = "roberta-tiny",
    rounds: Annotated[int, typer.Option(min=1, help="How often each has its turn.")] = 3,
) -> None:
    """Time `roberta pretrain --prepare` beside the tokenizer's own batch rate on the same sentences."""
    found, size, tokens = measure(texts, tokenizer, recipe, rounds)
    print(f"{size / MEGABYTE:.1f} MB, {tokens:,} tokens, {len(os.sched_getaffinity(0))} cores")
    Console().print(table(found, size))


if __name__ == "__main__":
    typer.run(main)
