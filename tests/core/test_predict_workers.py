"""Prediction commands with several workers, over a small framework of NumPy: a block has eight rows."""

import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from roberta_core import RobertaTokenizerFast, backend, checkpoints, cli
from roberta_core.cli.predict_blocks import check_address
from roberta_core.cli.predict_folder import BlockFolder
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_core.pipelines import base
from roberta_core.worker_pool import divide_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the states of processes are read from /proc")

CONFIG = RobertaConfig(
    vocab_size=4096, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
    id2label={0: "short", 1: "long"}, max_position_embeddings=14,
)  # fmt: skip
# Labels a text by its number of tokens; the scores depend on the other rows of the batch, as rounding does. A file
# `once` kills the process at its next batch, `later` at the third or a later one, `wait` holds it, and `both` holds it
# until two processes have a batch.
BACKEND = """
import os, signal, time
from pathlib import Path
import numpy as np
from roberta_core.config import RobertaConfig
from roberta_core.outputs import MaskedLMOutput, SequenceClassifierOutput

FOLDER = Path(__file__).parent

class Stub:
    name = title = "stub"
    version = "1"
    config = None
    device = (FOLDER / "device").read_text() if (FOLDER / "device").exists() else "cpu"
    def on(self, device):
        return self
    def from_pretrained(self, architecture, source, **settings):
        self.config, self.architecture = RobertaConfig.from_pretrained(source), architecture
        return self
    def run(self, model, inputs):
        with open(FOLDER / "batches", "a") as file:
            file.write(f"{os.getpid()}\\n")
        late = (FOLDER / "later").exists() and len((FOLDER / "batches").read_text().split()) > 2
        if (FOLDER / "once").exists() or late:
            (FOLDER / "once").unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        while (FOLDER / "wait").exists():
            time.sleep(0.01)
        while (FOLDER / "both").exists() and len(set((FOLDER / "batches").read_text().split())) < 2:
            time.sleep(0.01)
        if self.architecture == "ForMaskedLM":
            ids = inputs["input_ids"]
            return MaskedLMOutput(logits=np.sin(ids.sum(1)[:, None, None] + np.arange(4096.0) + ids[..., None]))
        count = inputs["attention_mask"].sum(1) + inputs["attention_mask"].size / 1e3
        return SequenceClassifierOutput(logits=np.stack([np.zeros(len(count)), count - 6.5], 1).astype(np.float32))

BACKEND = Stub()
"""
FILES = ("batches", "once", "later", "wait", "both", "device")
PROGRAM = "from roberta_core.pipelines import base; base.WINDOW = 8; from roberta_core.cli import main; main()"
TEXTS = ["a door", "", "a small green door opens", "she walked in and the door was open", "x y"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    checkpoints.save(folder, CONFIG, "ForSequenceClassification", dict(draw(CONFIG, "ForSequenceClassification")))
    RobertaTokenizerFast.from_pretrained("roberta-tiny").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """Return a folder on the path in which a distribution with the small framework is installed."""
    folder = tmp_path_factory.mktemp("stub")
    installed = folder / "stub-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stub\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[roberta.backends]\nstub = stub_backend:BACKEND\n")
    (folder / "stub_backend.py").write_text(BACKEND)
    return folder


@pytest.fixture(autouse=True)
def find_stub(stub, monkeypatch):
    """Let this process and its workers find the small framework, and remove the files of the test before."""
    for name in FILES:
        (stub / name).unlink(missing_ok=True)
    monkeypatch.syspath_prepend(stub)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(stub), *filter(None, [os.environ.get("PYTHONPATH")])]))
    for function in (backend.registered, backend.load):
        function.cache_clear()
    yield
    for function in (backend.registered, backend.load):
        function.cache_clear()


@pytest.fixture
def run(capsys, monkeypatch, checkpoint):
    """Return `run(*arguments, stdin="")`, which returns the exit status, stdout and stderr."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(base, "WINDOW", 8)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            cli.main(["classify", "--model", str(checkpoint), "--framework", "stub", "--json", *map(str, arguments)])
        return ended.value.code, *capsys.readouterr()

    return run


def test_fill_mask_computes_a_file_in_processes(stub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(base, "WINDOW", 8)
    path, output = tmp_path / "texts", tmp_path / "filled.jsonl"
    path.write_text("".join(f"{TEXTS[number % 5]} {number}<mask>\n" for number in range(19)) + "no mask\n")
    found = []
    for extra in ((), ("--processes", "2"), ("--processes", "2", "--output", str(output))):
        (stub / "batches").unlink(missing_ok=True)
        if extra:
            (stub / "both").touch()
        with pytest.raises(SystemExit) as ended:
            cli.main(["fill-mask", "--framework", "stub", "--json", "--file", str(path), *extra])
        found.append((ended.value.code, capsys.readouterr().out or output.read_text()))
        assert count_workers(stub) == (2 if extra else 1)
    assert found == found[:1] * 3
    assert found[0][0] == 1
    assert len(found[0][1].splitlines()) == 20


@pytest.fixture
def rows(tmp_path):
    """A file of 29 rows, two of which have errors: three blocks and a rest."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"{TEXTS[number % 5]} {number}"}) for number in range(29)]
    lines[3], lines[20] = '{"txt": "a"}', "{broken"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def count_workers(stub: Path) -> int:
    return len(set((stub / "batches").read_text().split()))


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"


def test_two_processes_print_what_one_prints(run, rows, stub, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise ImportError('found in the working directory')")
    monkeypatch.chdir(tmp_path)
    plain = run(rows)
    assert plain[0] == 1
    assert plain[2] == "roberta: 2 of 29 rows have an error\n"
    assert len(plain[1].splitlines()) == 29
    (stub / "batches").unlink()
    (stub / "both").touch()
    assert run(rows, "--processes", 2) == plain
    assert count_workers(stub) == 2
    (stub / "both").unlink()
    # Standard input too, and a worker that is killed once.
    (stub / "once").touch()
    texts = "".join(f"{TEXTS[number % 5]} {number}\n" for number in range(20))
    code, out, err = run("--processes", 2, stdin=texts)
    assert not (stub / "once").exists()
    assert (code, out, err) == run(stdin=texts)
    assert [json.loads(line)["place"] for line in out.splitlines()] == [
        f"standard input, line {number}" for number in range(1, 21)
    ]


def test_a_block_that_kills_two_workers_ends_the_command_and_a_rerun_computes_what_is_missing(
    run, rows, stub, tmp_path
):
    plain, output = run(rows)[1], tmp_path / "labels.jsonl"
    (stub / "batches").unlink()
    (stub / "later").touch()
    code, _, err = run(rows, "--processes", 1, "--output", output)
    assert (code, output.exists()) == (1, False)
    assert err == (
        "roberta: two worker processes in a row ended in the same block of rows (killed by signal 9); if the memory is "
        "full, lower --processes or --max-batch-tokens\n"
    )
    blocks = sorted(path.name for path in tmp_path.glob("labels.jsonl.blocks/block-*"))
    assert blocks == ["block-00000000.jsonl", "block-00000001.jsonl"]
    for name in ("later", "batches"):
        (stub / name).unlink()
    # Other options or other rows are refused.
    code, _, err = run(rows, "--processes", 1, "--output", output, "--long", "tail")
    assert (code, "labels.jsonl.blocks has finished blocks of a run with other values of long: remove" in err) == (
        1,
        True,
    )
    content = rows.read_text()
    lines = rows.with_suffix(".txt")
    lines.write_text(content)
    code, _, err = run(lines, "--processes", 1, "--output", output)
    assert (code, "other values of the suffix of the input: remove" in err) == (1, True)
    lines.unlink()
    rows.write_text(content + content)
    code, _, err = run(rows, "--processes", 1, "--output", output)
    assert (code, "other values of the content of the input: remove" in err) == (1, True)
    rows.write_text(content)
    # The last two blocks alone are computed, by any number of processes, and the folder of blocks is removed.
    assert run(rows, "--processes", 2, "--output", output)[0] == 1
    assert output.read_text() == plain
    assert len((stub / "batches").read_text().split()) == 2
    assert sorted(tmp_path.iterdir()) == [output, rows]


def test_inputs_and_outputs_that_are_no_files_are_read_and_written_as_they_are(run, rows, tmp_path):
    plain = run(rows)[1]
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(rows.read_bytes()))
    writer.start()
    code, _, err = run(pipe, "--processes", 1, "--output", tmp_path / "labels.jsonl")
    writer.join()
    assert (code, "2 of 29 rows" in err) == (1, True)
    assert (tmp_path / "labels.jsonl").read_text() == plain.replace("rows.jsonl", "pipe.jsonl")
    target, link = tmp_path / "run.jsonl", tmp_path / "latest.jsonl"
    target.touch()
    link.symlink_to(target)
    run(rows, "--processes", 1, "--output", link)
    assert link.is_symlink()
    assert target.read_text() == plain
    assert sorted(path.name for path in tmp_path.glob("*.blocks")) == []


@pytest.fixture
def store(monkeypatch):
    """Return an object store in memory that is empty."""
    import fsspec

    system = fsspec.filesystem("memory")
    monkeypatch.setattr(type(system), "store", {})
    monkeypatch.setattr(type(system), "pseudo_dirs", [""])
    return system


def test_files_of_an_object_store_are_read_and_written_as_local_ones(run, rows, stub, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, lines = run(rows)[1], run("--input-format", "lines", rows)[1]
    store.pipe_file("/in/rows.jsonl.gz", gzip.compress(rows.read_bytes()))
    store.pipe_file("/in/rows.txt.gz", gzip.compress(rows.read_bytes()))
    code, out, err = run("memory://in/rows.jsonl.gz")
    assert (code, out) == (1, plain.replace(str(rows), "memory://in/rows.jsonl.gz"))
    assert err == "roberta: 2 of 29 rows have an error\n"
    assert run("memory://in/rows.txt.gz")[1] == lines.replace(str(rows), "memory://in/rows.txt.gz")
    # The output, of this process and of workers.
    for workers in ((), ("--processes", 1)):
        code, out, _ = run(rows, *workers, "--output", "memory://out/labels.jsonl")
        assert (code, out, store.cat_file("/out/labels.jsonl").decode()) == (1, "", plain)
        store.rm_file("/out/labels.jsonl")
        assert list(tmp_path.iterdir()) == [rows]


def test_an_output_of_an_object_store_appears_when_it_is_complete(run, rows, stub, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, output = run(rows)[1], "memory://out/labels.jsonl"
    (stub / "batches").unlink()
    (stub / "later").touch()
    assert run(rows, "--processes", 1, "--output", output)[0] == 1
    (stub / "later").unlink()
    assert not store.exists("/out/labels.jsonl")
    # Another output of the same name is refused; the finished blocks are used again.
    code, _, err = run(rows, "--processes", 1, "--output", "memory://other/labels.jsonl")
    assert (code, "labels.jsonl.blocks has finished blocks of a run with other values of --output: remove" in err) == (
        1,
        True,
    )

    # An error while it is uploaded leaves neither a part of it nor the results lost.
    def fail(source, target, length):
        target.write(source.read(100))
        raise OSError("the connection was closed")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("shutil.copyfileobj", fail)
    reason = f"roberta: {output} cannot be written: OSError: the connection was closed"
    assert run(rows, "--processes", 1, "--output", output)[::2] == (1, f"{reason}\n")
    assert (tmp_path / "labels.jsonl.blocks").exists()
    code, _, err = run(rows, "--output", output)
    (kept,) = tmp_path.glob("*-labels.jsonl")
    assert (code, err, kept.read_text()) == (1, f"{reason}; the results are in {kept}\n", plain)
    assert not store.exists("/out/labels.jsonl")


def test_the_rows_that_are_done_are_shown_on_a_terminal(run, rows, monkeypatch, tmp_path):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, plain, err = run(rows)
    assert err == "roberta: 2 of 29 rows have an error\n"
    _, _, err = run(rows, "--output", tmp_path / "labels.jsonl")
    assert "\x1b[2K29 rows" in err
    assert err.splitlines()[-1].endswith("roberta: 2 of 29 rows have an error")
    assert (tmp_path / "labels.jsonl").read_text() == plain


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("memory://in/gone.jsonl",), "memory://in/gone.jsonl: there is no such file"),
        (("s3://in/rows.jsonl",), "s3://in/rows.jsonl: files of s3:// need s3fs: pip install s3fs"),
        (("ROWS", "--output", "gs://out/a.jsonl"), "gs://out/a.jsonl: files of gs:// need gcsfs: pip install gcsfs"),
        (("ROWS", "--output", "s4://out/a.jsonl"), "s4://out/a.jsonl: Protocol not known: s4"),
        (("ROWS", "--output", "memory://out"), "memory://out is a folder: give the name of a file"),
        (("ROWS", "--output", "a.jsonl.gz"), "a.jsonl.gz ends with .gz, but the output is not compressed: specify"),
        (("ROWS", "--html", "s3://out/a.html"), "s3://out/a.html: this can only be a file of this machine"),
        (("CUT",), "1 of 30 rows have an error"),
        (("memory://out",), "memory://out cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_used_is_reported(run, rows, store, monkeypatch, arguments, sentence):
    for package in ("s3fs", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(rows.parent)
    store.mkdir("/out")
    cut = rows.with_name("cut.txt.gz")
    cut.write_bytes(gzip.compress(rows.read_bytes())[:-9])
    code, _, err = run(*({"ROWS": rows, "CUT": cut}.get(one, one) for one in arguments))
    assert (code, err.splitlines()[-1].startswith(f"roberta: {sentence}")) == (1, True), err
    assert sorted(path.name for path in rows.parent.iterdir()) == ["cut.txt.gz", "rows.jsonl"]


def test_two_commands_do_not_share_a_folder(tmp_path):
    first, second = (BlockFolder(tmp_path / "labels", {"command": "classify"}) for _ in range(2))
    with (
        first.open_output(),
        pytest.raises(ValueError, match=r"another command is writing .*labels: wait"),
        second.open_output(),
    ):
        pass
    assert (tmp_path / "labels").exists()


def test_a_rerun_with_another_version_of_the_framework_is_refused(tmp_path):
    first = BlockFolder(tmp_path / "labels", {"command": "classify"})
    first.add_settings({"the version of the framework": "stub 1"})
    with suppress(OSError), first.open_output():
        first.write(0, ["a"])
        raise OSError
    second = BlockFolder(tmp_path / "labels", {"command": "classify"})
    with pytest.raises(ValueError, match="other values of the version of the framework: remove"):
        second.add_settings({"the version of the framework": "stub 2"})


def test_actors_of_ray_print_what_one_process_prints(run, rows, stub, tmp_path):
    pytest.importorskip("ray")
    (code, plain, _), output = run(rows), tmp_path / "labels.jsonl"
    (stub / "once").touch()
    found, _, err = run(rows, "--engine", "ray", "--processes", 2, "--output", output)
    assert (found, err.splitlines()[-1]) == (code, "roberta: 2 of 29 rows have an error")
    assert not (stub / "once").exists()
    assert output.read_text() == plain
    assert sorted(tmp_path.iterdir()) == [output, rows]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--engine", "ray"), 1, "--engine ray needs Ray ("),
        (("--engine", "spark"), 2, "--engine is spark; expected ray"),
        (("--address", "auto"), 2, "--address is for --engine ray"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(run, rows, monkeypatch, arguments, code, sentence):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "roberta_core.cli.predict_ray", raising=False)
    found, out, err = run(rows, *arguments, "--output", rows.with_name("labels.jsonl"))
    assert (found, out) == (code, "")
    assert sentence in err
    assert list(rows.parent.iterdir()) == [rows]


def test_an_address_without_a_program_is_refused_at_once():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens
        address = f"127.0.0.1:{held.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            with pytest.raises(ValueError, match=f"--address is {given}, but Ray cannot be reached there"):
                check_address(given)
        held.listen()
        check_address(address)
    for local in (None, "auto", "local"):
        check_address(local)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_command(checkpoint, rows, stub, end):
    (stub / "wait").touch()
    command = [sys.executable, "-P", "-c", PROGRAM, "classify", "--model", str(checkpoint), "--framework", "stub"]
    process = subprocess.Popen(
        [*command, str(rows), "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit = time.monotonic() + 60
    while not (stub / "batches").exists() or count_workers(stub) < 2:
        assert time.monotonic() < limit
        time.sleep(0.01)
    (os.killpg if end == signal.SIGINT else os.kill)(process.pid, end)  # a terminal interrupts a group of processes
    _, err = process.communicate(timeout=10)
    if end == signal.SIGINT:
        assert (process.returncode, err) == (130, "roberta: interrupted\n")
    limit = time.monotonic() + 10
    for worker in set((stub / "batches").read_text().split()):
        while is_running(int(worker)):
            assert time.monotonic() < limit
            time.sleep(0.01)


def test_several_processes_on_one_accelerator_are_refused(run, rows, stub):
    (stub / "device").write_text("cuda:0")
    code, out, err = run(rows, "--processes", 2)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "roberta: --processes is 2, but the model runs on cuda:0, which one process uses best: specify --processes 1, "
        "or --device cpu"
    )
    code, _, err = run(rows, "--processes", 2, "--device", "cuda")
    assert code == 2
    assert "--processes is 2, but --device cuda serves one process best" in err


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [([0, 4, 1, 5], 2, [[0, 4], [1, 5]]), ([0, 1, 2], 2, [[0], [1, 2]]), ([3, 7], 3, [[3], [7], [3]])],
)
def test_cores_are_divided_among_the_processes(cores, count, shares):
    assert divide_cores(cores, count) == shares
