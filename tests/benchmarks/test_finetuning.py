"""The benchmark of fine-tuning: its data, its baselines and its table, without training anything."""

import json
from pathlib import Path

import pytest

from benchmarks.finetuning.baselines import baselines
from benchmarks.finetuning.data import DATA, Data, _spread
from benchmarks.finetuning.table import table


def test_the_table_has_each_run_the_baselines_and_the_noise():
    data = {"sst2": Data("classification", "accuracy", Path(), Path())}
    done = {
        "sst2/baselines": {"who": "baselines", "all": {"random": {"accuracy": 0.5}}},
        "sst2/adapted": {"seconds": 3},
        **{
            f"sst2/pt-{seed}": {"who": "PyTorch 2", "scores": {"accuracy": score}}
            for seed, score in ((1, 0.8), (2, 0.81), (3, 0.85))
        },
        "sst2/peer-1": {"who": "transformers 5, Trainer", "scores": {"accuracy": 0.79}},
        "other/pt-1": {"who": "PyTorch 2", "scores": {"accuracy": 0.1}},
    }
    lines = table(done, data).splitlines()
    assert "| random | 50.0 |" in lines
    assert "| PyTorch 2, seed 2 | 81.0 |" in lines
    assert "| PyTorch 2, median of 3 seeds | 81.0, deviation 2.6 |" in lines
    assert "| transformers 5, Trainer, seed 1 | 79.0 |" in lines
    assert len(lines) == 2 + 6


def test_the_questions_of_a_slice_are_spread_over_all_articles(tmp_path):
    articles = [{"paragraphs": [{"context": "c", "qas": [{"id": f"{a}-{q}"} for q in range(10)]}]} for a in range(5)]
    (tmp_path / "all.json").write_text(json.dumps({"data": articles}))
    kept = json.loads(_spread(tmp_path / "all.json", tmp_path / "some.json", 10).read_text())["data"]
    assert [[asked["id"] for asked in a["paragraphs"][0]["qas"]] for a in kept] == [
        [f"{a}-0", f"{a}-5"] for a in range(5)
    ]


def test_the_baselines_do_better_than_chance(shared, tmp_path):
    pytest.importorskip("sklearn")
    found = baselines(DATA["sst2"](shared / "data", tmp_path))
    assert 0.45 < found["random"]["accuracy"] < 0.55
    assert found["TF-IDF + logistic regression"]["accuracy"] > 0.77
    found = baselines(DATA["squad"](shared / "data", tmp_path))
    assert found["span among the question's words"]["f1"] > found["random span"]["f1"]
