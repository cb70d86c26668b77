"""`python -m benchmarks.pipelines --peer PYTHON --tokenizer FOLDER --texts FILE`: measure the speed of each task.

A random model of roberta-base's size runs each task on texts of 5 to 300 words, in every installed framework and in the
pipeline of transformers with several batch sizes. Each implementation runs in a separate process; the processes take
turns. A table has the tokens per second of the median and the speed relative to the fastest batch size of transformers.
`text-generation` is not measured: transformers counts positions differently there, so the texts are not the same.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pipelines.worker import LABELS, SCORES
from roberta_bench.process import Process
from roberta_bench.report import describe_machine
from roberta_core import backend, checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_core.tokenization import RobertaTokenizerFast

WORKER = Path(__file__).with_name("worker.py")
PIPELINE = "pipeline-"
SAME = 1e-4  # absolute difference of two scores
WORDS = (5, 300)  # of a text, drawn so that the logarithm is uniform
QUESTION = "What happened then?"
ARCHITECTURES = {
    "text-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "question-answering": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
    "feature-extraction": "Model",
    "zero-shot-classification": "ForSequenceClassification",
}
NLI = ("contradiction", "neutral", "entailment")
TINY = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40}


class Worker(Process):
    """The process of one implementation. Raises `OSError` if it ends before it has answered."""

    def __init__(self, name: str, python: str, task: str, folder: Path):
        super().__init__(name, [python, str(WORKER), name, task, str(folder)])
        self.facts: dict[str, Any] = self.answer()
        self.seconds: list[float] = []


def save_random_model(folder: Path, tokenizer: Path, architecture: str, tiny: bool) -> RobertaTokenizerFast:
    """Save a random model with a tokenizer, and return the tokenizer; `tiny` is for a trial of the benchmark."""
    reader = RobertaTokenizerFast.from_pretrained(tokenizer, model_max_length=512)
    labels = {"id2label": dict(enumerate(NLI)), "label2id": {label: k for k, label in enumerate(NLI)}}
    fields = (labels if architecture.endswith("Classification") else {}) | (TINY if tiny else {})
    config = RobertaConfig.base(vocab_size=len(reader), architectures=[f"Roberta{architecture}"], **fields)
    config.save_pretrained(folder)
    checkpoints.save(folder, config, architecture, dict(draw(config, architecture, 0)))
    reader.save_pretrained(folder)
    return reader


def draw_texts(path: Path, count: int) -> list[str]:
    """Return consecutive words of a file in texts of mixed lengths, the same in each run."""
    words = path.read_text(encoding="utf-8").split()
    generator = random.Random(0)
    texts, place = [], 0
    for _ in range(count):
        size = round(WORDS[0] * (WORDS[1] / WORDS[0]) ** generator.random())
        texts.append(" ".join(words[place : place + size]))
        place = (place + size) % max(1, len(words) - WORDS[1])
    return texts


def build_inputs(task: str, texts: Sequence[str]) -> list[Any]:
    """Return the inputs of a task."""
    if task == "question-answering":
        return [{"question": QUESTION, "context": text} for text in texts]
    return [f"{text}<mask>" for text in texts] if task == "fill-mask" else list(texts)


def count_tokens(task: str, tokenizer: RobertaTokenizerFast, texts: Sequence[str]) -> int:
    """Return the number of tokens that a task reads: of zero-shot classification those of each label's row."""
    rows = tokenizer(list(texts))["input_ids"]
    return sum(map(len, rows)) * (len(LABELS) if task == "zero-shot-classification" else 1)


def measure(workers: list[Worker], inputs: list[Any], rounds: int) -> None:
    """Append the seconds of each round to the workers, after a first turn that may compile and is not timed.

    Raises:
        ValueError: The scores of two workers differ.
    """
    for turn in range(rounds + 1):
        answers = {}
        for worker in workers[turn % len(workers) :] + workers[: turn % len(workers)]:
            answer = worker.ask(inputs)
            answers[worker.name] = answer["scores"]
            worker.seconds += [answer["seconds"]] if turn else []
        first, expected = next(iter(answers.items()))
        for name, scores in answers.items():
            shapes = [list(map(len, found)) for found in (scores, expected)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"{name} and {first} return different numbers of scores")
            error = max(float(np.abs(np.subtract(*rows)).max()) for rows in zip(scores, expected, strict=True))
            if not error <= SAME:
                raise ValueError(f"{name} and {first} return different scores: they differ by up to {error:.1e}")


def run_task(task: str, texts: list[str], pythons: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Measure a task with every implementation and return its facts."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        tokenizer = save_random_model(Path(scratch), options.tokenizer, ARCHITECTURES[task], options.tiny)
        workers = []
        for name, python in pythons.items():
            workers.append(Worker(name, python, task, Path(scratch)))
            stack.callback(workers[-1].close)
        measure(workers, build_inputs(task, texts), options.rounds)
    results = [{"name": worker.name, **worker.facts, "seconds": worker.seconds} for worker in workers]
    return {"task": task, "tokens": count_tokens(task, tokenizer, texts), "results": results}


def format_report(facts: Sequence[dict[str, Any]]) -> str:
    """Return a line for each task and implementation: tokens per second, and speed relative to the fastest pipeline."""
    lines = ["| task | implementation | tokens/s | relative to the fastest pipeline |", "| --- | --- | --- | --- |"]
    for one in facts:
        medians = {result["name"]: statistics.median(result["seconds"]) for result in one["results"]}
        best = min((seconds for name, seconds in medians.items() if name.startswith(PIPELINE)), default=None)
        for name, seconds in medians.items():
            ratio = f"{best / seconds:.2f}" if best else ""
            lines.append(f"| {one['task']} | {name} | {one['tokens'] / seconds:,.0f} | {ratio} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipelines", description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--texts", type=Path, required=True, help="file of running text")
    parser.add_argument("--peer", help="Python interpreter of an environment with transformers 4.57.6")
    parser.add_argument("--frameworks", help="frameworks, separated by commas; by default all that are installed")
    parser.add_argument("--tasks", default=",".join(SCORES), help="tasks, separated by commas (%(default)s)")
    parser.add_argument("--batch-sizes", default="1,8,32", help="batch sizes of transformers (%(default)s)")
    parser.add_argument("--count", type=int, default=64, help="number of texts (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of two small layers, to try the benchmark")
    parser.add_argument("--json-file", type=Path, help="write JSON to this file")
    options = parser.parse_args(arguments)
    names = options.frameworks.split(",") if options.frameworks else backend.available()
    pythons = dict.fromkeys(names, sys.executable)
    pythons |= {f"{PIPELINE}{size}": options.peer for size in options.batch_sizes.split(",") if options.peer}
    texts = draw_texts(options.texts, options.count)
    facts = [run_task(task, texts, pythons, options) for task in options.tasks.split(",")]
    print(f"{len(texts)} texts; {describe_machine()}\n\n{format_report(facts)}")
    if options.json_file:
        options.json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
