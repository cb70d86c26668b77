"""Run one implementation in a separate process: `python worker.py NAME FOLDER`.

NAME is a framework of this project (pt, tf, flax), or `pipeline-N` for the pipeline of transformers with a batch size
of N. Each line of standard input is a JSON list of sentences; the answer is a JSON object with the seconds and scores.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version

Scores = list[list[float]]

FACTS: dict[str, str | int] = {}  # the version and settings of the implementation


def load_framework(name: str, folder: str) -> Callable[[list[str]], Scores]:
    """Return a function that classifies as `roberta classify` does; the token budget of a batch is measured once."""
    from roberta_core import backend
    from roberta_core.tasks.classification import ARCHITECTURE, build_task, classify
    from roberta_core.tokenization import RobertaTokenizerFast

    framework, tokenizer = backend.load(name), RobertaTokenizerFast.from_pretrained(folder)
    model = framework.from_pretrained(ARCHITECTURE, folder)
    budget = build_task(tokenizer, model.config).measure_budget(framework, model)
    FACTS.update(version=framework.version, budget=budget)

    def run(sentences: list[str]) -> Scores:
        return [list(one.scores.values()) for one in classify(framework, model, tokenizer, sentences, budget)]

    return run


def load_pipeline(name: str, folder: str) -> Callable[[list[str]], Scores]:
    """Return a function that runs the pipeline of transformers in PyTorch; the name ends with the batch size."""
    build = import_module("transformers").pipeline
    size = int(name.partition("-")[2])
    FACTS.update(version=version("transformers"))
    pipeline = build("text-classification", model=folder, tokenizer=folder, device="cpu", batch_size=size, top_k=None)

    def run(sentences: list[str]) -> Scores:
        answers = pipeline(sentences)
        return [[one["score"] for one in sorted(row, key=lambda one: one["label"])] for row in answers]

    return run


def main(name: str, folder: str) -> None:
    """Load, then answer each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    begin = time.perf_counter()
    run = (load_pipeline if name.startswith("pipeline") else load_framework)(name, folder)
    start = time.perf_counter() - begin
    print(json.dumps({**FACTS, "start": start}), file=answers)
    for line in sys.stdin:
        sentences = json.loads(line)
        begin = time.perf_counter()
        scores = run(sentences)
        print(json.dumps({"seconds": time.perf_counter() - begin, "scores": scores}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
