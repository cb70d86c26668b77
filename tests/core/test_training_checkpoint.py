"""Training checkpoints are complete or absent."""

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


def save(folder, *steps, keep=2):
    for step in steps:
        training_checkpoint.save(folder, state(step), {"vocab_size": 101}, {"epoch": 0}, keep)
    return sorted(path.name for path in folder.iterdir())


def test_a_saved_state_is_loaded(tmp_path):
    save(tmp_path, 7)
    found, notes = training_checkpoint.load(tmp_path / "step-0000007")
    for part in ("tensors", "first_moments", "second_moments", "random"):
        expected, got = getattr(state(7), part), getattr(found, part)
        assert set(expected) == set(got)
        assert all((expected[name] == got[name]).all() and expected[name].dtype == got[name].dtype for name in expected)
    assert (found.steps, notes["epoch"]) == (7, 0)


def test_a_checkpoint_has_the_files_of_a_model_and_of_the_optimizer(tmp_path):
    save(tmp_path, 7)
    assert sorted(path.name for path in (tmp_path / "step-0000007").iterdir()) == [
        "config.json",
        "model.safetensors",
        "optimizer.safetensors",
        "random.safetensors",
        "trainer.json",
    ]


def test_the_last_two_are_kept(tmp_path):
    assert save(tmp_path, 8, 9, 10, 1000) == ["step-0000010", "step-0001000"]


def test_the_newest_complete_checkpoint_is_found(tmp_path):
    save(tmp_path, 9, 10)
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000010"
    with open(tmp_path / "step-0000010" / "optimizer.safetensors", "r+b") as stream:
        stream.truncate(40)
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"
    (tmp_path / "step-0000009" / "trainer.json").unlink()
    assert training_checkpoint.find_newest(tmp_path) is None
    assert training_checkpoint.find_newest(tmp_path / "none") is None


def damage(path):
    with open(path / "optimizer.safetensors", "r+b") as stream:
        stream.truncate(40)


def test_damaged_checkpoints_do_not_count_as_kept(tmp_path):
    save(tmp_path, 7)
    for step in (8, 9):
        shutil.copytree(tmp_path / "step-0000007", tmp_path / f"step-000000{step}")
        damage(tmp_path / f"step-000000{step}")
    assert save(tmp_path, 10) == [f"step-{step:07d}" for step in (7, 8, 9, 10)]
    assert save(tmp_path, 11) == [f"step-{step:07d}" for step in (8, 9, 10, 11)]


def test_a_run_resumes_from_the_newest_complete_checkpoint_and_names_damaged_ones(tmp_path):
    save(tmp_path, 9, 10)
    damage(tmp_path / "step-0000010")
    path, damages = training_checkpoint.find_resumable(tmp_path)
    assert path == tmp_path / "step-0000009"
    assert len(damages) == 1
    assert "step-0000010 is damaged: optimizer.safetensors has 40 bytes instead of " in damages[0]


@pytest.mark.parametrize(
    ("contents", "part"),
    [
        (None, "trainer.json: No such file or directory"),
        ("{", "trainer.json cannot be read"),
        ("[]", "trainer.json holds a list, not an object"),
        ('{"sizes": 3}', "trainer.json cannot be read"),
        ("[" * 100_000, "trainer.json is nested too deeply"),
        ('{"sizes": {}}', "instead of None"),
        ('{"sizes": {"gone": 3}}', "instead of None"),
    ],
)
def test_the_damage_is_named_if_no_checkpoint_is_complete(tmp_path, contents, part):
    save(tmp_path, 9)
    trainer = tmp_path / "step-0000009" / "trainer.json"
    trainer.unlink() if contents is None else trainer.write_text(contents)
    with pytest.raises(
        TrainingError, match=rf"no whole checkpoint to resume from: .*step-0000009 is damaged: .*{part}"
    ):
        training_checkpoint.find_resumable(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_no_checkpoint(tmp_path):
    save(tmp_path, 9)
    trainer = tmp_path / "step-0000009" / "trainer.json"
    trainer.unlink()
    os.mkfifo(trainer)
    with pytest.raises(TrainingError, match=r"step-0000009 is damaged: trainer.json cannot be read: .* not a regular"):
        training_checkpoint.find_resumable(tmp_path)


def test_without_a_run_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(TrainingError, match=r"nothing to resume: .*none does not exist"):
        training_checkpoint.find_resumable(tmp_path / "none")
    with pytest.raises(TrainingError, match="holds no training run"):
        training_checkpoint.find_resumable(tmp_path)
    training_checkpoint.mark_begun(tmp_path, {})
    assert training_checkpoint.find_resumable(tmp_path) == (None, [])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "random.safetensors", "config.json"])
def test_contents_that_have_changed_since_are_refused(tmp_path, name):
    save(tmp_path, 9)
    path = tmp_path / "step-0000009" / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(TrainingError, match=rf"is damaged: the contents of {name} have changed"):
        training_checkpoint.load(path.parent)


def test_the_files_have_the_modes_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        save(tmp_path, 9)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "step-0000009").iterdir()} == {0o640}


def test_incomplete_checkpoints_are_skipped_and_deleted(tmp_path):
    save(tmp_path, 9)
    shutil.copytree(tmp_path / "step-0000009", tmp_path / f"step-0000011{training_checkpoint.UNFINISHED}")
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"
    training_checkpoint.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000009"]


@pytest.mark.parametrize("failing", ["rename", "fsync"])
def test_a_failed_save_keeps_the_older_checkpoint(tmp_path, monkeypatch, failing):
    save(tmp_path, 9)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(TrainingError, match=r"step-0000010 could not be saved: .*No space left"):
        training_checkpoint.save(tmp_path, state(10), {}, {})
    assert training_checkpoint.find_newest(tmp_path).name == "step-0000009"


def test_a_step_can_be_saved_again(tmp_path):
    assert save(tmp_path, 9, 9) == ["step-0000009"]


def test_a_broken_checkpoint_is_refused_with_its_name(tmp_path):
    save(tmp_path, 9)
    path = tmp_path / "step-0000009"
    notes = json.loads((path / "trainer.json").read_text())
    (path / "trainer.json").write_text(json.dumps({**notes, "format": 99}))
    with pytest.raises(TrainingError, match="step-0000009 is of format 99"):
        training_checkpoint.load(path)
    (path / "trainer.json").write_text("{")
    with pytest.raises(TrainingError, match="step-0000009 is not a whole training checkpoint"):
        training_checkpoint.load(path)
