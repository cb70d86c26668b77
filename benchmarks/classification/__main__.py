"""`python -m benchmarks.classification --tokenizer FOLDER --sentences FILE`: measure the speed of text classification.

A random classifier of roberta-base's size classifies the first sentences of a file (one per line) in every installed
framework and, with `--peer PYTHON`, in the transformers pipeline of that environment. Each implementation runs in a
separate process; the processes take turns. The result is the median.
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
SAME = 1e-4  # absolute difference of two probabilities


class Worker(Process):
    """The process of one implementation. Raises `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, folder: Path):
        super().__init__(name, [python, str(WORKER), name, str(folder)])
        self.facts: dict[str, Any] = self.answer()
        self.seconds: list[float] = []

    def run(self, sentences: list[str]) -> tuple[float, np.ndarray]:
        """Classify sentences. Returns the seconds and the scores [sentences, labels]."""
        answer = self.ask(sentences)
        return answer["seconds"], np.asarray(answer["scores"])


def save_random_classifier(folder: Path, tokenizer: Path) -> RobertaTokenizerFast:
    """Save a random classifier of roberta-base's size with a tokenizer, and return the tokenizer."""
    reader = RobertaTokenizerFast.from_pretrained(tokenizer)
    config = RobertaConfig.base(vocab_size=len(reader), num_labels=2, architectures=[f"Roberta{ARCHITECTURE}"])
    config.save_pretrained(folder)
    checkpoints.save(folder, config, ARCHITECTURE, dict(draw(config, ARCHITECTURE, 0)))
    reader.save_pretrained(folder)
    return reader


def measure(workers: list[Worker], sentences: list[str], rounds: int) -> None:
    """Append the seconds of each round to the workers, after a first turn that may compile and is not timed.

    Raises:
        ValueError: If the scores of two workers differ.
    """
    for turn in range(rounds + 1):
        answers = {}
        for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
            seconds, answers[worker.name] = worker.run(sentences)
            worker.seconds += [seconds] if turn else []
        first = next(iter(answers.values()))
        for name, scores in answers.items():
            if not np.abs(scores - first).max() <= SAME:
                raise ValueError(
                    f"{name} and {next(iter(answers))} return different scores: they differ by up to "
                    f"{np.abs(scores - first).max():.1e}"
                )


def format_report(facts: dict[str, Any]) -> str:
    """Return a line per implementation: seconds, tokens per second, and speed relative to the fastest pipeline."""
    rows = {one["name"]: statistics.median(one["seconds"]) for one in facts["results"]}
    best = min((seconds for name, seconds in rows.items() if name.startswith(PIPELINE)), default=None)
    lines = [f"{facts['sentences']} sentences, {facts['tokens']:,} tokens; {facts['machine']}"]
    for one in facts["results"]:
        median = rows[one["name"]]
        ratio = f"{best / median:.2f} times the speed of the fastest pipeline" if best else ""
        spread = f"{min(one['seconds']):.2f} to {max(one['seconds']):.2f} s"
        lines.append(f"{one['name']:12} {median:7.2f} s ({spread})  {facts['tokens'] / median:7.0f} tokens/s  {ratio}")
    return "\n".join(lines)


def run(sentences: list[str], tokenizer: Path, sizes: list[str], peer: str | None, rounds: int) -> dict[str, Any]:
    """Measure every installed framework, and the pipelines if there is a peer; return the result as a dict.

    Args:
        sentences: The sentences to classify.
        tokenizer: A folder with a tokenizer.
        sizes: The batch sizes of the pipelines.
        peer: The Python interpreter of an environment with transformers.
        rounds: The number of timed runs.
    """
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        tokens = sum(len(row) for row in save_random_classifier(Path(scratch), tokenizer)(sentences)["input_ids"])
        pythons = dict.fromkeys(backend.available(), sys.executable)
        pythons |= {f"{PIPELINE}{size}": peer for size in sizes if peer}
        workers = []
        for name, python in pythons.items():
            workers.append(Worker(name, python, Path(scratch)))
            stack.callback(workers[-1].close)
        measure(workers, sentences, rounds)
    results = [{"name": worker.name, **worker.facts, "seconds": worker.seconds} for worker in workers]
    return {"machine": machine, "sentences": len(sentences), "tokens": tokens, "results": results}


def read(path: Path, count: int) -> list[str]:
    """Return the first `count` sentences of a file, without its header and without the text after a tab."""
    lines = path.read_text(encoding="utf-8").splitlines()[1 : count + 1]
    return [line.partition("\t")[0] for line in lines]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the report and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classification", description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument(
        "--sentences",
        type=Path,
        required=True,
        help="file with a header line and one sentence per line; text after a tab is ignored",
    )
    parser.add_argument("--count", type=int, default=400, help="number of sentences (%(default)s)")
    parser.add_argument("--peer", help="Python interpreter of an environment with transformers")
    parser.add_argument(
        "--pipelines", default="1,8,32", help="batch sizes of its pipeline, separated by commas (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each (%(default)s)")
    parser.add_argument("--json-file", type=Path, help="write JSON to this file")
    options = parser.parse_args(arguments)
    sentences = read(options.sentences, options.count)
    facts = run(sentences, options.tokenizer, options.pipelines.split(","), options.peer, options.rounds)
    print(format_report(facts))
    if options.json_file:
        options.json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
