"""The benchmark of fine-tuning: data, baselines and table; no model is trained."""

import inspect
import json
from pathlib import Path

import pytest

from benchmarks.finetuning.baselines import score_baselines
from benchmarks.finetuning.data import DATA, Data, select_questions
from benchmarks.finetuning.table import format_table


def test_the_table_has_every_run_the_baselines_and_the_deviation():
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
    lines = format_table(done, data).splitlines()
    assert "| random | 50.0 |" in lines
    assert "| PyTorch 2, seed 2 | 81.0 |" in lines
    assert "| PyTorch 2, median of 3 seeds | 81.0, deviation 2.6 |" in lines
    assert "| transformers 5, Trainer, seed 1 | 79.0 |" in lines
    assert len(lines) == 2 + 6


def test_the_selected_questions_are_evenly_spaced_over_all_articles(tmp_path):
    articles = [{"paragraphs": [{"context": "c", "qas": [{"id": f"{a}-{q}"} for q in range(10)]}]} for a in range(5)]
    (tmp_path / "all.json").write_text(json.dumps({"data": articles}))
    kept = json.loads(select_questions(tmp_path / "all.json", tmp_path / "some.json", 10).read_text())["data"]
    assert [[question["id"] for question in a["paragraphs"][0]["qas"]] for a in kept] == [
        [f"{a}-0", f"{a}-5"] for a in range(5)
    ]


def test_the_options_of_the_data_are_those_of_the_command(tmp_path):
    from roberta_core.cli.finetune import finetune

    names = {f"--{name.replace('_', '-')}" for name in inspect.signature(finetune).parameters}
    options = [DATA[name](tmp_path, tmp_path).options for name in ("wnut17", "codah")]
    assert [set(given[::2]) - names for given in options] == [set(), set()]
    assert all(options)


def test_the_baselines_do_better_than_chance(shared, tmp_path):
    pytest.importorskip("sklearn")
    found = score_baselines(DATA["sst2"](shared / "data", tmp_path))
    assert 0.45 < found["random"]["accuracy"] < 0.55
    assert found["TF-IDF + logistic regression"]["accuracy"] > 0.77
    found = score_baselines(DATA["squad"](shared / "data", tmp_path))
    assert found["span among the question's words"]["f1"] > found["random span"]["f1"]
