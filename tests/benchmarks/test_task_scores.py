"""The scores of fine-tuned models in other types: the table, the limits, the exit status."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import task_scores
from benchmarks.finetuning.data import Data

# Predictions of sequences of tags, and the score, by type.
FOUND = {
    "float32": ([["B", "O"], ["O", "O"]], 0.80),
    "int8": ([["B", "O"], ["O", "B"]], 0.785),
    "bfloat16": ([["B", "O"], ["O", "O"]], 0.75),
}


@pytest.fixture
def rows(monkeypatch):
    monkeypatch.setattr(task_scores.backend, "load", lambda name: name)

    def evaluate(backend, model, task, files, recipe, reading, report):
        assert (model, task, files, reading.format) == ("folder", "tagging", ["test.conll"], "conll")
        predictions, score = FOUND[backend.dtype]
        return SimpleNamespace(predictions=predictions, scores={"f1": score}), []

    monkeypatch.setattr(task_scores, "evaluate_task", evaluate)
    data = Data("tagging", "f1", Path("train.conll"), Path("test.conll"), ("--input-format", "conll"))
    monkeypatch.setattr(task_scores, "DATA", {"wnut17": lambda source, work: data})
    return list(task_scores.measure("wnut17", data, "folder", list(task_scores.VARIANTS)))


def test_points_and_equal_predictions_are_compared_with_float32(rows):
    assert [(row.variant, row.equal, row.predictions) for row in rows] == [
        ("float32", 1, 4), ("onnx-int8", 0.75, 4), ("openvino-bf16", 1, 4),
    ]  # fmt: skip
    assert [row.lost for row in rows] == pytest.approx([0, 1.5, 5])
    assert [row.is_good for row in rows] == [True, False, True]  # all predictions of the last are equal
    assert task_scores.make_table(rows).splitlines()[2:4] == [
        "| wnut17 | float32 | 80.0 |  |  |",
        "| wnut17 | onnx-int8 | 78.5 | 1.5 | 75.00% of 4 |",
    ]


def test_the_exit_status_tells_whether_a_type_is_good_enough(rows, tmp_path, capsys):
    given = ["--model", "wnut17=folder", "--data", "x"]
    assert task_scores.main([*given, "--variants", "float32,openvino-bf16"]) == 0
    assert task_scores.main([*given, "--json-file", str(tmp_path / "found.json")]) == 1
    assert "| wnut17 | onnx-int8 | 78.5 |" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        task_scores.main(["--model", "imdb=folder"])
    assert ended.value.code == 2
    assert "imdb is unknown; choose from wnut17" in capsys.readouterr().err
