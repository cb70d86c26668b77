"""The benchmark of text classification: turns, comparison of scores, and the report."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.classification import __main__ as benchmark
from benchmarks.classification import worker
from benchmarks.classification.__main__ import Worker, format_report, measure, read, run, save_random_classifier
from roberta_core.config import RobertaConfig

SENTENCES = ["She opened the door.", "No.", "And then they went in, one after the other."]

# A worker whose scores are the lengths of the sentences.
FAKE = """
import json, sys, time
name = sys.argv[1]
if name == "broken":
    sys.exit(3)
print(json.dumps({"version": "1.0", "start": 0.5}), flush=True)
for line in sys.stdin:
    scores = [[len(text) / 99, 1 - len(text) / 99 + (name == "wrong") * 1e-3] for text in json.loads(line)]
    print(json.dumps({"seconds": 2.0 if name.startswith("pipeline") else 0.5, "scores": scores}), flush=True)
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Return a function that starts workers with given names, which need no framework."""
    (tmp_path / "worker.py").write_text(FAKE)
    monkeypatch.setattr(benchmark, "WORKER", tmp_path / "worker.py")
    workers = []

    def make(*names):
        workers.extend(Worker(name, sys.executable, tmp_path) for name in names)
        return workers

    yield make
    for one in workers:
        one.close()


def test_the_first_turn_is_not_timed(fakes):
    workers = fakes("pt", "pipeline-8")
    measure(workers, SENTENCES, 3)
    assert [one.seconds for one in workers] == [[0.5] * 3, [2.0] * 3]
    assert workers[0].facts == {"version": "1.0", "start": 0.5}


def test_different_scores_are_an_error(fakes):
    with pytest.raises(ValueError, match=r"wrong and pt return different scores: they differ by up to 1\.0e-03"):
        measure(fakes("pt", "wrong"), SENTENCES, 1)


def test_a_worker_that_exits_is_reported_by_name(fakes):
    with pytest.raises(ChildProcessError, match="broken exited with status 3"):
        fakes("broken")


def test_a_framework_is_compared_with_the_fastest_pipeline():
    results = [
        {"name": name, "seconds": seconds}
        for name, seconds in (("pt", [1.0, 0.5, 9.0]), ("pipeline-1", [4.0]), ("pipeline-8", [3.0]))
    ]
    lines = format_report({"sentences": 3, "tokens": 60, "machine": {}, "results": results}).splitlines()
    assert "1.00 s (0.50 to 9.00 s)" in lines[1]
    assert "60 tokens/s  3.00 times the speed of the fastest pipeline" in lines[1]
    assert "0.75 times the speed of the fastest pipeline" in lines[2]


def test_the_header_and_the_labels_of_the_file_are_skipped(tmp_path):
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nOne .\t0\nTwo .\t1\nThree .\t1\n")
    assert read(tmp_path / "dev.tsv", 2) == ["One .", "Two ."]


@pytest.fixture
def vocabulary():
    """Return the folder of the embedded model, which has the tokenizer."""
    return Path(benchmark.__file__).parents[2] / "roberta_core" / "embedded" / "roberta-tiny"


def test_every_framework_runs_the_same_classifier(vocabulary, monkeypatch, tmp_path):
    names = benchmark.backend.available()
    if not names:
        pytest.skip("no framework is installed")
    sizes = {"hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 20, "num_hidden_layers": 1}
    base = RobertaConfig.base
    monkeypatch.setattr(RobertaConfig, "base", lambda **given: base(**sizes, **given))
    facts = run(SENTENCES, vocabulary, [], None, 1)
    assert [one["name"] for one in facts["results"]] == list(names)
    assert facts["sentences"] == 3
    assert all(one["budget"] >= 256 and len(one["seconds"]) == 1 for one in facts["results"])
    reader = save_random_classifier(tmp_path, vocabulary)
    assert facts["tokens"] == sum(map(len, reader(SENTENCES)["input_ids"]))
    first, second = (
        np.asarray(worker.load_framework(name, str(tmp_path))(SENTENCES)) for name in (names[0], names[-1])
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert np.ptp(first[:, 0]) > 0


def test_the_result_is_written(fakes, monkeypatch, tmp_path, capsys):
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\nOne .\t0\n")
    monkeypatch.setattr(benchmark, "run", lambda *given: {"sentences": 1, "tokens": 4, "machine": {}, "results": []})
    arguments = ["--tokenizer", "x", "--sentences", tmp_path / "dev.tsv", "--json-file", tmp_path / "found.json"]
    benchmark.main(list(map(str, arguments)))
    assert json.loads((tmp_path / "found.json").read_text())["tokens"] == 4
    assert "1 sentences, 4 tokens" in capsys.readouterr().out
