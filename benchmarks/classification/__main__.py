"""`python -m benchmarks.classification --tokenizer FOLDER --sentences FILE`: sentences a second, side by side.

A random classifier of roberta-base's size reads the first sentences of a file, one a line, in every framework that is
installed, and with `--peer PYTHON` in the pipeline of transformers that this interpreter has. Each lives in a process
of its own; they take turns, and the median counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from roberta_bench.process import Process
from roberta_bench.report import describe_machine
from roberta_core import backend, checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_core.tokenization import RobertaTokenizerFast

WORKER = Path(__file__).with_name("worker.py")
PIPELINE = "pipeline-"
ARCHITECTURE = "ForSequenceClassification"
SAME = 1e-4  # of a probability


class Worker(Process):
    """The process of one implementation. `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, folder: Path):
        super().__init__(name, [python, str(WORKER), name, str(folder)])
        self.facts: dict[str, Any] = self.answer()
        self.seconds: list[float] = []

    def run(self, sentences: list[str]) -> tuple[float, np.ndarray]:
        """Seconds and scores [sentences, labels]."""
        said = self.ask(sentences)
        return said["seconds"], np.asarray(said["scores"])


def classifier(folder: Path, tokenizer: Path) -> RobertaTokenizerFast:
    """A random classifier of roberta-base's size with a tokenizer, written into a folder."""
    reader = RobertaTokenizerFast.from_pretrained(tokenizer)
    config = RobertaConfig.base(vocab_size=len(reader), num_labels=2, architectures=[f"Roberta{ARCHITECTURE}"])
    config.save_pretrained(folder)
    checkpoints.save(folder, config, ARCHITECTURE, dict(draw(config, ARCHITECTURE, 0)))
    reader.save_pretrained(folder)
    return reader


def measured(workers: list[Worker], sentences: list[str], rounds: int) -> None:
    """Note each worker's seconds, after a first turn that may compile; `ValueError` if two disagree."""
    for turn in range(rounds + 1):
        answers = {}
        for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
            seconds, answers[worker.name] = worker.run(sentences)
            worker.seconds += [seconds] if turn else []
        first = next(iter(answers.values()))
        for name, scores in answers.items():
            if not np.abs(scores - first).max() <= SAME:
                raise ValueError(f"{name} gives other scores: {np.abs(scores - first).max():.1e} off")


def report(facts: dict[str, Any]) -> str:
    """A line for each implementation: seconds, tokens a second, and how many times the best pipeline's speed."""
    rows = {one["name"]: statistics.median(one["seconds"]) for one in facts["results"]}
    best = min((seconds for name, seconds in rows.items() if name.startswith(PIPELINE)), default=None)
    lines = [f"{facts['sentences']} sentences, {facts['tokens']:,} tokens; {facts['machine']}"]
    for one in facts["results"]:
        median = rows[one["name"]]
        ratio = f"{best / median:.2f} of the best pipeline" if best else ""
        spread = f"{min(one['seconds']):.2f} to {max(one['seconds']):.2f} s"
        lines.append(f"{one['name']:12} {median:7.2f} s ({spread})  {facts['tokens'] / median:7.0f} tokens/s  {ratio}")
    return "\n".join(lines)


def run(sentences: list[str], tokenizer: Path, sizes: list[str], peer: str | None, rounds: int) -> dict[str, Any]:
    """Everything that is measured, for a file."""
    where = describe_machine()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        tokens = sum(len(row) for row in classifier(Path(scratch), tokenizer)(sentences)["input_ids"])
        pythons = dict.fromkeys(backend.available(), sys.executable)
        pythons |= {f"{PIPELINE}{size}": peer for size in sizes if peer}
        workers = []
        for name, python in pythons.items():
            workers.append(Worker(name, python, Path(scratch)))
            stack.callback(workers[-1].close)
        measured(workers, sentences, rounds)
    results = [{"name": worker.name, **worker.facts, "seconds": worker.seconds} for worker in workers]
    return {"machine": where, "sentences": len(sentences), "tokens": tokens, "results": results}


def read(path: Path, count: int) -> list[str]:
    """The first sentences of a file, without its heading and what follows a tab."""
    lines = path.read_text(encoding="utf-8").splitlines()[1 : count + 1]
    return [line.partition("\t")[0] for line in lines]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.classification", description=__doc__)
    options.add_argument("--tokenizer", type=Path, required=True, help="a folder with the vocabulary")
    options.add_argument(
        "--sentences", type=Path, required=True, help="a file with a heading; text after a tab is ignored"
    )
    options.add_argument("--count", type=int, default=400)
    options.add_argument("--peer", help="the interpreter of an environment with transformers")
    options.add_argument("--pipelines", default="1,8,32", help="its sizes of a batch (%(default)s)")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json-file", type=Path)
    given = options.parse_args(arguments)
    sentences = read(given.sentences, given.count)
    facts = run(sentences, given.tokenizer, given.pipelines.split(","), given.peer, given.rounds)
    print(report(facts))
    if given.json_file:
        given.json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
