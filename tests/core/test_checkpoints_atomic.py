import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from roberta_core.checkpoints import CheckpointError, finish, safetensors_file
from roberta_core.checkpoints.atomic import NOTE, is_plain_name, refuse_unfinished, transaction

# Three checkpoints with the same file names: old and new have the same shapes, other has more layers and only one file.
COMMON = """
import json, os, random, resource, signal, sys, time
import numpy as np
from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

os.fsync = lambda handle: None  # a killed process, unlike a power cut, loses nothing that it wrote
SIZES = dict(vocab_size=101, hidden_size=12, num_attention_heads=3, intermediate_size=20, max_position_embeddings=19)
CASES = {}
for name, layers, seed, shard in [("old", 1, 0, "2KB"), ("new", 1, 1, "2KB"), ("other", 2, 2, "5GB")]:
    config = RobertaConfig(num_hidden_layers=layers, layer_norm_eps=(seed + 1) / 100, **SIZES)
    CASES[name] = config, dict(draw(config, "ForMaskedLM", seed)), shard

def save(folder, name):
    config, tensors, shard = CASES[name]
    checkpoints.save(folder, config, "ForMaskedLM", tensors, max_shard_size=shard)

def found(folder):
    "Which of the three a user gets from the folder; 'mixed' if none of them."
    config = RobertaConfig.from_pretrained(folder)
    tensors, _ = checkpoints.load(folder, config, "ForMaskedLM")
    for name, (want, arrays, _) in CASES.items():
        if config.layer_norm_eps == want.layer_norm_eps and arrays.keys() == tensors.keys():
            if all(arrays[key].tobytes() == tensors[key].tobytes() for key in arrays):
                return name
    return "mixed"

def outcome(folder):
    try:
        return found(folder)
    except checkpoints.CheckpointError as error:
        assert "between two checkpoints" in str(error), error
        assert checkpoints.finish(folder)
        assert not [file for file in os.listdir(folder) if file.endswith(".saving")]
        return "between, then " + found(folder)

def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid
"""

EVERY_STEP = """
def killed_before(step, work):
    "Kill this process before its step-th call that changes what is on the disk."
    count = 0
    def counted(call):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return wrapped
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    work()

before, after = sys.argv[2:]
outcomes = []
while True:
    folder = f"{sys.argv[1]}/{len(outcomes)}"
    save(folder, before)
    pid = child(lambda: killed_before(len(outcomes) + 1, lambda: save(folder, after)))
    status = os.waitpid(pid, 0)[1]
    outcomes.append(outcome(folder))
    save(folder, before)  # what is left does not stand in the way of the next save
    assert found(folder) == before
    assert not [file for file in os.listdir(folder) if file.endswith(".saving")]
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(outcomes))
"""

RANDOM = """
folder = sys.argv[1]
chance = random.Random(int(sys.argv[2]))
def forever():
    while True:
        for name in CASES:
            save(folder, name)
start = time.perf_counter()
for name in CASES:
    save(folder, name)
duration = time.perf_counter() - start
outcomes = []
for _ in range(40):
    pid = child(forever)
    time.sleep(chance.uniform(0, min(3 * duration, 0.1)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    outcomes.append(outcome(folder))
print(json.dumps(outcomes))
"""

FULL = """
folder = sys.argv[1]
save(folder, "old")
before = sorted(os.listdir(folder))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    save(folder, "other")
except checkpoints.CheckpointError as error:
    print(json.dumps([str(error), sorted(os.listdir(folder)) == before, found(folder)]))
"""

READ_ONLY = """
folder = sys.argv[1]
save(folder, "old")
os.chmod(folder, 0o555)
root = os.geteuid() == 0
if root:
    os.seteuid(65534)  # root writes everywhere
try:
    save(sys.argv[2].format(folder), "new")
except checkpoints.CheckpointError as error:
    if root:
        os.seteuid(0)
    print(json.dumps([str(error), found(folder)]))
"""


def run(script, *arguments):
    command = [sys.executable, "-c", COMMON + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def memory(tmp_path):
    """Return a folder in memory if possible: hundreds of saves to a busy disk take minutes."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def put(folder, contents=(), **more):
    with transaction(folder) as save:
        for name, content in [*contents, *more.items()]:
            save.write(name, content)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("before", "after"), [("old", "new"), ("old", "other"), ("other", "old")])
def test_a_save_killed_at_any_step_leaves_the_old_or_new_checkpoint_or_is_detected(memory, before, after):
    outcomes = run(EVERY_STEP, memory, before, after)
    order = [before, f"between, then {after}", after]
    assert set(outcomes) == set(order)
    assert [order.index(outcome) for outcome in outcomes] == sorted(order.index(outcome) for outcome in outcomes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_saves_killed_at_random_moments_leave_a_whole_checkpoint_or_are_detected(memory):
    outcomes = run(RANDOM, memory, 0)
    whole = {"old", "new", "other"}
    assert set(outcomes) <= whole | {f"between, then {name}" for name in whole}
    assert len(set(outcomes)) > 1


@pytest.mark.parametrize("limit", [100, 1500, 3000, 20_000])
def test_a_full_disk_is_reported_and_keeps_the_old_checkpoint(tmp_path, limit):
    sentence, clean, left = run(FULL, tmp_path, limit)
    assert "File too large" in sentence
    assert str(tmp_path) in sentence
    assert "the old files are unchanged" in sentence
    assert clean
    assert left == "old"


@pytest.mark.parametrize("target", ["{}", "{}/new"])
def test_a_read_only_folder_is_reported(target):
    with tempfile.TemporaryDirectory() as outer:  # other users cannot access the folders of pytest
        os.chmod(outer, 0o755)
        folder = Path(outer) / "checkpoint"
        sentence, left = run(READ_ONLY, folder, target)
        assert "Permission denied" in sentence
        assert str(folder) in sentence
        assert left == "old"
        os.chmod(folder, 0o755)


def test_files_are_synced_before_they_get_their_names(tmp_path, monkeypatch):
    calls = []

    def record(name, call):
        def wrapped(*arguments):
            calls.append(name)
            return call(*arguments)

        monkeypatch.setattr(os, name, wrapped)

    record("fsync", os.fsync)
    record("replace", os.replace)
    put(tmp_path, a=b"new")
    assert calls == ["fsync", "replace", "fsync"]
    calls.clear()
    put(tmp_path, a=b"newer", b=b"newer")
    assert calls == ["fsync"] * 4 + ["replace", "fsync"] + ["replace"] * 2 + ["fsync"] * 2


def test_a_file_in_place_of_the_folder_is_reported(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(CheckpointError, match=r"saving to .* failed"):
        safetensors_file.write(tmp_path / "model", {})
    assert (tmp_path / "model").read_text() == "mine"


def test_a_folder_with_the_name_of_a_file_is_reported_before_anything_changes(tmp_path):
    put(tmp_path, a=b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(CheckpointError, match="a folder has the name of the file"):
        put(tmp_path, a=b"new", b=b"new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_nothing_behind(tmp_path, stop):
    def values():
        yield "a", b"new"
        raise stop

    with pytest.raises(stop):
        put(tmp_path, values())
    assert os.listdir(tmp_path) == []


def test_a_symbolic_link_is_replaced_and_its_target_is_not_changed(tmp_path):
    (tmp_path / "blob").write_bytes(b"shared")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").symlink_to(tmp_path / "blob")
    put(tmp_path / "model", a=b"shared")
    assert not (tmp_path / "model" / "a").is_symlink()
    assert (tmp_path / "blob").read_bytes() == b"shared"


def test_unchanged_small_files_are_not_written_again(tmp_path):
    for _ in range(2):
        with transaction(tmp_path) as save:
            save.write("config.json", b"{}")
            planned = list(save.renames)
    assert planned == []


def test_files_get_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    put(tmp_path, a=b"new")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_temporary_files_of_killed_saves_are_deleted(tmp_path):
    (tmp_path / ".model.safetensors.123.saving").touch()
    (tmp_path / ".mine.saving").touch()
    put(tmp_path, a=b"new")
    assert sorted(os.listdir(tmp_path)) == [".mine.saving", "a"]


def leave(folder, renames, removals=()):
    (folder / NOTE).write_text(json.dumps({"renames": renames, "removals": list(removals)}))


def test_the_next_save_completes_an_interrupted_one_even_if_it_fails(tmp_path):
    (tmp_path / ".a.1.saving").write_bytes(b"new")
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"gone in the new one")
    leave(tmp_path, {".a.1.saving": "a", ".c.1.saving": "c"}, ["b"])
    (tmp_path / "c").write_bytes(b"new already")
    with pytest.raises(CheckpointError, match="between two checkpoints"):
        refuse_unfinished(tmp_path)
    with pytest.raises(RuntimeError), transaction(tmp_path):
        raise RuntimeError
    assert {file: (tmp_path / file).read_bytes() for file in os.listdir(tmp_path)} == {"a": b"new", "c": b"new already"}
    assert not finish(tmp_path)


@pytest.mark.parametrize(
    "note",
    [
        "{",
        "[]",
        '{"renames": 1, "removals": []}',
        '{"renames": {".a.1.saving": "../a"}, "removals": []}',
        '{"renames": {"a": "b"}, "removals": []}',
        '{"renames": {"../.a.1.saving": "b"}, "removals": []}',
        '{"renames": {}, "removals": ["/a"]}',
        '{"renames": {".gone.1.saving": "gone"}, "removals": []}',
    ],
)
def test_a_note_not_written_by_a_save_is_refused_and_changes_nothing(tmp_path, note):
    (tmp_path / "a").write_bytes(b"mine")
    (tmp_path / NOTE).write_text(note)
    with pytest.raises(CheckpointError):
        finish(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == sorted(["a", NOTE])


def test_only_names_in_the_same_folder_are_plain():
    assert is_plain_name("model-00001-of-00002.safetensors")
    assert not any(map(is_plain_name, ["", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0", None, 1, ["a"]]))


SAVE_MANY = """
import os, sys, time
import numpy as np
from roberta_core.checkpoints import safetensors_file
folder, number = sys.argv[1:]
os.close(os.open(f"{folder}/ready-{number}", os.O_CREAT))
while sum(name.startswith("ready") for name in os.listdir(folder)) < 3:
    time.sleep(0.001)
for _ in range(100):
    safetensors_file.write(f"{folder}/model", {str(i): np.full(100, int(number)) for i in range(8)}, None, 1000)
"""


def test_processes_that_save_at_the_same_time_take_turns(memory):
    commands = [[sys.executable, "-c", SAVE_MANY, str(memory), str(number)] for number in range(3)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert errors == ["", "", ""]
    values = np.stack([safetensors_file.read(memory / "model")[str(i)] for i in range(8)])
    assert (values == values[0, 0]).all()


@pytest.mark.skipif(os.name != "posix", reason="needs file modes")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_its_mode_and_a_new_one_follows_the_umask(tmp_path, mode):
    old = os.umask(0o027)
    try:
        for content in (b"one", b"two"):
            with transaction(tmp_path) as save:
                save.write("a.txt", content)
                with save.open("b.bin") as stream:
                    stream.write(content)
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
            assert modes == ({"a.txt": 0o640, "b.bin": 0o640} if content == b"one" else {"a.txt": mode, "b.bin": mode})
            for path in tmp_path.iterdir():
                path.chmod(mode)
    finally:
        os.umask(old)
