"""The benchmark of pipelines: inputs of each task, comparison of scores, and the report."""

import sys

import pytest

from benchmarks.pipelines import __main__ as benchmark
from benchmarks.pipelines.__main__ import ARCHITECTURES, Worker, build_inputs, draw_texts, format_report, measure
from benchmarks.pipelines.worker import SCORES

# A worker whose scores are the lengths of the inputs.
FAKE = """
import json, sys
name = sys.argv[1]
print(json.dumps({"version": "1.0"}), flush=True)
for line in sys.stdin:
    scores = [[len(text) + (name == "wrong") * 1e-3] * (2 if name == "more" else 1) for text in json.loads(line)]
    print(json.dumps({"seconds": 2.0 if name.startswith("pipeline") else 0.5, "scores": scores}), flush=True)
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Return a function that starts workers with given names, which need no framework."""
    (tmp_path / "worker.py").write_text(FAKE)
    monkeypatch.setattr(benchmark, "WORKER", tmp_path / "worker.py")
    workers = []

    def make(*names):
        workers.extend(Worker(name, sys.executable, "fill-mask", tmp_path) for name in names)
        return workers

    yield make
    for one in workers:
        one.close()


def test_texts_have_mixed_lengths_and_are_the_same_in_each_run(tmp_path):
    (tmp_path / "text.txt").write_text("one two three four five six seven " * 100, encoding="utf-8")
    texts = draw_texts(tmp_path / "text.txt", 30)
    assert texts == draw_texts(tmp_path / "text.txt", 30)
    sizes = sorted(len(text.split()) for text in texts)
    assert 5 <= sizes[0] < 20
    assert 150 < sizes[-1] <= 300


def test_every_task_has_inputs_scores_and_a_model():
    assert set(SCORES) == set(ARCHITECTURES)
    assert build_inputs("question-answering", ["a"])[0]["context"] == "a"
    assert build_inputs("fill-mask", ["a"]) == ["a<mask>"]


@pytest.mark.parametrize(("name", "message"), [("wrong", r"differ by up to 1\.0e-03"), ("more", "different numbers")])
def test_different_scores_are_an_error(fakes, name, message):
    with pytest.raises(ValueError, match=message):
        measure(fakes("pt", name), ["a", "bc"], 1)


def test_the_report_compares_with_the_fastest_pipeline(fakes):
    workers = fakes("pt", "pipeline-8")
    measure(workers, ["a", "bc"], 3)
    results = [{"name": worker.name, **worker.facts, "seconds": worker.seconds} for worker in workers]
    report = format_report([{"task": "fill-mask", "tokens": 100, "results": results}])
    assert report.splitlines()[2:] == ["| fill-mask | pt | 200 | 4.00 |", "| fill-mask | pipeline-8 | 50 | 1.00 |"]
