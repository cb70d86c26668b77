"""Short runs of the long checks of checkpoints: they pass, and they detect injected faults."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(script, *arguments):
    return subprocess.run([sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, timeout=300)


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kill_saves():
    return load_script("kill_saves")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_saves_leave_nothing_wrong(tmp_path):
    ended = run("kill_saves.py", "--kills", "20", "--folder", str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "20 kills in " in ended.stdout
    assert " 0 wrong" in ended.stdout


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_mixture_of_two_checkpoints_is_found(tmp_path, kill_saves, file):
    kill_saves.SOURCES = tmp_path / "sources"
    kill_saves.make_sources()
    writer = kill_saves.WRITERS["safetensors"]
    for name in ("old", "new"):
        writer.save(tmp_path / name, name)
        assert kill_saves.examine(writer, tmp_path / name) == name
    shutil.copy(tmp_path / "old" / file, tmp_path / "new" / file)
    assert kill_saves.examine(writer, tmp_path / "new") not in kill_saves.RIGHT["over an old one"]


def test_fuzzing_finds_nothing_and_prints_its_totals(tmp_path):
    ended = run("fuzz_checkpoints.py", "--inputs", "360", "--findings", str(tmp_path / "found"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("360 inputs, 0 crashes, 0 hangs, at most ")
    assert not (tmp_path / "found").exists()


FAULTY = """
import sys, time
sys.path.insert(0, {here!r})
import fuzz_checkpoints
from roberta_core.checkpoints import torch_file
def broken(file):
    {fault}
    raise torch_file.CheckpointError("injected")
assert torch_file.find_records
torch_file.find_records = broken
fuzz_checkpoints.SLOW = 0.5
sys.argv = ["fuzz", "--inputs", "30", "--findings", {findings!r}]
fuzz_checkpoints.main()
"""


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("raise KeyError('injected')", "crash: KeyError"),
        ("while True: pass", "hang"),
        ("time.sleep(0.6)", None),  # as if the machine were suspended
    ],
)
def test_fuzzing_finds_a_reader_that_crashes_or_hangs(tmp_path, fault, found):
    code = FAULTY.format(here=str(HERE), fault=fault, findings=str(tmp_path / "found"))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ended.returncode == (found is not None), ended.stdout + ended.stderr
    assert (tmp_path / "found").exists() == (found is not None)
    if found:
        assert f" {found} " in ended.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures the memory of the process with /proc")
def test_hostile_pickles_are_read_or_refused_within_their_limits(tmp_path):
    ended = run("fuzz_pickles.py", "--inputs", "60", "--findings", str(tmp_path / "found"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("60 inputs, 0 tracebacks, 0 killed (over 2 s or 500 MB), ")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures the memory of the process with /proc")
@pytest.mark.parametrize(
    ("work", "outcome"),
    [
        (lambda: "read", "read"),
        (lambda: "refused", "refused"),
        (lambda: {}["injected"], "traceback"),
        (lambda: bytearray(600 << 20), "traceback"),
        (lambda: any(iter(int, 1)), "killed by signal "),  # it never ends
    ],
)
def test_work_over_its_limits_is_found(tmp_path, work, outcome):
    found = load_script("limited").run_limited(work, tmp_path / "report", 1, 500 << 20)
    assert found.startswith(outcome)
    assert (tmp_path / "report").exists() == (outcome == "traceback")


def test_mutated_configurations_are_accepted_or_refused_in_one_sentence():
    ended = run("fuzz_configs.py", "--inputs", "90")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("90 configurations: ")
    assert " 0 wrong" in ended.stdout
