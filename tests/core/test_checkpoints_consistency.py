"""A reader gets all files of the same save, even if another save runs while it reads."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from roberta_core import checkpoints, load_tokenizer
from roberta_core.checkpoints import CheckpointError, consistency, conversion
from roberta_core.checkpoints.atomic import NOTE, exclude_saves, transaction
from roberta_core.checkpoints.consistency import read_consistently
from roberta_core.tokenization import tokenizer_base, tokenizer_fast

PATH = Path(__file__).with_name("read_while_saving.py")
SPEC = importlib.util.spec_from_file_location("read_while_saving", PATH)
assert SPEC is not None
assert SPEC.loader is not None
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)

FORMS = [("safetensors", "5GB"), ("safetensors", "10KB"), ("bin", "5GB")]


@pytest.fixture(params=FORMS, ids="-".join)
def way(request):
    return request.param


@pytest.fixture
def folder(tmp_path, way):
    script.save(tmp_path, 0, way)
    return tmp_path


def save_after(monkeypatch, owner, name, folder, way):
    """Patch a function so that its first call is followed by a save of the other checkpoint."""
    original, calls = getattr(owner, name), []

    def call(*arguments, **named):
        value = original(*arguments, **named)
        calls.append(1)
        if len(calls) == 1:
            script.save(folder, 1, way)
        return value

    monkeypatch.setattr(owner, name, call)
    return calls


def test_a_model_is_loaded_again_if_its_folder_was_replaced(monkeypatch, folder, way):
    calls = save_after(monkeypatch, script.RobertaConfig, "from_pretrained", folder, way)
    assert script.read_model(folder) == 1
    assert len(calls) == 2


def test_a_conversion_opens_its_source_again_if_it_was_replaced(monkeypatch, folder, way):
    calls = save_after(monkeypatch, conversion.RobertaConfig, "from_pretrained", folder, way)
    assert script.read_for_conversion(folder) == 1
    assert len(calls) == 2


@pytest.mark.parametrize("owner", [tokenizer_base, tokenizer_fast])
def test_a_tokenizer_is_loaded_again_if_its_folder_was_replaced(monkeypatch, folder, way, owner):
    calls = save_after(monkeypatch, owner, "read_settings", folder, way)
    load = load_tokenizer if owner is tokenizer_fast else script.RobertaTokenizerFast.from_pretrained
    tokenizer = load(folder)
    assert (tokenizer.model_max_length, "<checkpoint-1>" in tokenizer.get_vocab()) == (21, True)
    assert len(calls) == 2


def test_files_copied_with_a_model_are_of_the_same_save(monkeypatch, folder, way):
    from roberta_core.checkpoints import hub

    save_after(monkeypatch, hub, "read_bytes", folder, way)
    carried = hub.read_carried_files(folder, folder / "elsewhere")
    assert carried == script.CASES[1][2]


def test_an_error_in_an_unchanged_folder_is_raised_at_once(tmp_path):
    calls = []

    def read():
        calls.append(1)
        raise CheckpointError("broken")

    with pytest.raises(CheckpointError, match="broken"):
        read_consistently(tmp_path, read)
    assert len(calls) == 1


def test_a_folder_that_keeps_changing_is_refused_after_some_attempts(tmp_path, monkeypatch):
    monkeypatch.setattr(consistency, "PATIENCE", 0.2)
    counter = iter(range(10_000))
    with pytest.raises(CheckpointError, match="kept changing for 0 s while it was read; try again"):
        read_consistently(tmp_path, lambda: (tmp_path / "config.json").write_text("x" * next(counter)))


def test_an_interrupted_save_is_refused_at_once(folder):
    (folder / NOTE).write_text('{"renames": {}, "removals": []}')
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="between two checkpoints"):
        script.read_model(folder)
    assert time.monotonic() - start < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_reader_waits_for_a_running_save_and_a_save_for_a_locked_reader(tmp_path):
    script.save(tmp_path, 0, FORMS[0])
    pid = os.fork()
    if not pid:  # a slow save that has written its note
        with transaction(tmp_path):
            (tmp_path / NOTE).write_text('{"renames": {}, "removals": []}')
            time.sleep(0.5)
            (tmp_path / NOTE).unlink()
        os._exit(0)
    while not (tmp_path / NOTE).exists():
        time.sleep(0.01)
    assert script.read_model(tmp_path) == 0
    os.waitpid(pid, 0)
    with exclude_saves(tmp_path, time.monotonic() + 5):
        pid = os.fork()
        if not pid:
            script.save(tmp_path, 1, FORMS[0])
            os._exit(0)
        time.sleep(0.3)
        assert script.read_model(tmp_path) == 0
    os.waitpid(pid, 0)
    assert script.read_model(tmp_path) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_readers_never_get_a_mixture_while_a_writer_runs(tmp_path):
    command = [sys.executable, str(PATH), "--formats", "safetensors", "--seconds", "1", "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " reads, 0 wrong" in ended.stdout


def test_a_pretrained_model_is_exported_with_its_tokenizer_and_recipe_or_not_at_all(tmp_path, monkeypatch):
    from roberta_core.checkpoints import atomic
    from roberta_core.training import pretrain_run

    config, tensors, _ = script.CASES[0]
    source = checkpoints.resolve("roberta-tiny")
    vocabulary = SimpleNamespace(folder=source)

    def export():
        recipe = SimpleNamespace(to_dict=dict)
        pretrain_run.export(tmp_path / "model", tensors, config, vocabulary, recipe)

    def fail(*_):
        raise OSError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_carry_out", fail)
        with pytest.raises(CheckpointError, match="the new files are complete"):
            export()
    with pytest.raises(CheckpointError, match="between two checkpoints"):
        load_tokenizer(tmp_path / "model")
    assert checkpoints.finish(tmp_path / "model")
    names = {"config.json", "model.safetensors", "recipe.json", *pretrain_run.TOKENIZER_FILES}
    assert set(os.listdir(tmp_path / "model")) == names
