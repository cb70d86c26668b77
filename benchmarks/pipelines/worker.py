"""Run one pipeline in a separate process: `python worker.py NAME TASK FOLDER`.

NAME is a framework of this project (pt, tf, flax), or `pipeline-N` for the pipeline of transformers with a batch size
of N. Each line of standard input is a JSON list of inputs; the answer is a JSON object with the seconds and scores.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

LABELS = ("travel", "cooking", "politics")
OPTIONS: dict[str, dict[str, Any]] = {
    "text-classification": {"top_k": None},
    "token-classification": {"ignore_labels": []},
    "zero-shot-classification": {"candidate_labels": list(LABELS)},
}
# One or several numbers of a result: implementations that compute the same return the same.
SCORES: dict[str, Callable[[Any], list[float]]] = {
    "text-classification": lambda result: [one["score"] for one in sorted(result, key=lambda one: one["label"])],
    "token-classification": lambda result: [one["score"] for one in result],
    "question-answering": lambda result: [result["score"]],
    "fill-mask": lambda result: [one["score"] for one in result],
    "feature-extraction": lambda result: result[0][0][:4],
    "zero-shot-classification": lambda result: result["scores"],
}


def load(name: str, task: str, folder: str) -> Callable[[list[Any]], list[Any]]:
    """Return a pipeline of this project with a measured token budget, or of transformers with a fixed batch size."""
    if not name.startswith("pipeline-"):
        return import_module("roberta_core").pipeline(task, folder, framework=name, budget=None)
    size = int(name.partition("-")[2])
    return import_module("transformers").pipeline(task, folder, framework="pt", device="cpu", batch_size=size)


def main(name: str, task: str, folder: str) -> None:
    """Load, then answer each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    pipeline, options, read = load(name, task, folder), OPTIONS.get(task, {}), SCORES[task]
    package = "transformers" if name.startswith("pipeline-") else "triberta"
    print(json.dumps({"version": version(package)}), file=answers)
    for line in sys.stdin:
        inputs = json.loads(line)
        begin = time.perf_counter()
        results = pipeline(inputs, **options)
        seconds = time.perf_counter() - begin
        scores = [[float(score) for score in read(result)] for result in results]
        print(json.dumps({"seconds": seconds, "scores": scores}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
