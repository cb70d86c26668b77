"""Training checkpoints: whole or not there."""

import json
import os
import shutil

import numpy as np
import pytest

from roberta_core.training import training_checkpoint
from roberta_core.training.training_checkpoint import State, TrainingError


def state(steps):
    arrays = {name: np.full(shape, steps, np.float32) for name, shape in (("a.weight", (3, 5)), ("a.bias", (5,)))}
    halves = {name: array / 2 for name, array in arrays.items()}
    quarters = {name: array / 4 for name, array in arrays.items()}
    return State(arrays, halves, quarters, steps, {"pt": np.arange(steps, dtype=np.uint8)})


def saved(folder, *steps, keep=2):
    for step in steps:
        training_checkpoint.save(folder, state(step), {"vocab_size": 101}, {"epoch": 0}, keep)
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    saved(tmp_path, 7)
    found, notes = training_checkpoint.load(tmp_path / "step-0000007")
    for part in ("tensors", "first_moments", "second_moments", "random"):
        wanted, got = getattr(state(7), part), getattr(found, part)
        assert set(wanted) == set(got)
        assert all((wanted[name] == got[name]).all() and wanted[name].dtype == got[name].dtype for name in wanted)
    assert (found.steps, notes["epoch"]) == (7, 0)


def test_the_files_are_those_of_a_model_with_the_optimizer_beside(tmp_path):
    saved(tmp_path, 7)
    assert sorted(path.name for path in (tmp_path / "step-0000007").iterdir()) == [
        "config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "random.safetensors",
        "trainer.json",
    ]


def test_the_last_two_are_kept(tmp_path):
    assert saved(tmp_path, 8, 9, 10, 1000) == ["step-0000010", "step-0001000"]


def test_the_newest_whole_one_is_found(tmp_path):
    saved(tmp_path, 9, 10)
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000010"
    with open(tmp_path / "step-0000010" / "optimizer.safetensors", "r+b") as stream:
        stream.truncate(40)
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"
    (tmp_path / "step-0000009" / "trainer.json").unlink()
    assert training_checkpoint.find_newest(tmp_path) is None
    assert training_checkpoint.find_newest(tmp_path / "none") is None


def test_half_written_ones_are_passed_over_and_cleaned_away(tmp_path):
    saved(tmp_path, 9)
    shutil.copytree(tmp_path / "step-0000009", tmp_path / f"step-0000011{training_checkpoint.UNFINISHED}")
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"
    training_checkpoint.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000009"]


@pytest.mark.parametrize("failing", ["rename", "fsync"])
def test_a_save_that_fails_leaves_the_older_one(tmp_path, monkeypatch, failing):
    saved(tmp_path, 9)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(TrainingError, match=r"step-0000010 could not be saved: .*No space left"):
        training_checkpoint.save(tmp_path, state(10), {}, {})
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"


def test_a_step_can_be_saved_again(tmp_path):
    assert saved(tmp_path, 9, 9) == ["step-0000009"]


def test_a_broken_one_is_refused_by_name(tmp_path):
    saved(tmp_path, 9)
    path = tmp_path / "step-0000009"
    notes = json.loads((path / "trainer.json").read_text())
    (path / "trainer.json").write_text(json.dumps({**notes, "format": 99}))
    with pytest.raises(TrainingError, match="step-0000009 is of format 99"):
        training_checkpoint.load(path)
    (path / "trainer.json").write_text("{")
    with pytest.raises(TrainingError, match="step-0000009 is no whole training checkpoint"):
        training_checkpoint.load(path)
