import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.training import __main__ as benchmark
from benchmarks.training import worker
from benchmarks.training.__main__ import Result, check_losses, measure
from roberta_core.config import RobertaConfig

CONTESTANT = """
import time

def version(name):
    return "1.0"

def load(name, folder, precision, dropout):
    print("a greeting", precision, dropout)
    if name == "broken":
        raise RuntimeError("no")
    def step(ids, positions, labels):
        time.sleep(0.02 if name == "slow" else 0)
        return float(labels.sum() + ids.sum()) * (1.001 if name == "wrong" else 1)
    return step
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of a checkpoint's configuration, with contestants that need only NumPy."""
    (tmp_path / "contestants").mkdir()
    (tmp_path / "contestants" / "contestant.py").write_text(CONTESTANT)
    (tmp_path / "worker.py").write_text(Path(worker.__file__).read_text())
    monkeypatch.setattr(benchmark, "HERE", tmp_path)
    names = ("quick", "slow", "wrong", "broken")
    monkeypatch.setattr(benchmark, "CONTESTANTS", dict.fromkeys(names, "contestant.py"))
    monkeypatch.setattr(benchmark, "PAUSE", 0)
    RobertaConfig(vocab_size=50).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(folder, *names, dropout=0.0):
    return measure(folder, dict.fromkeys(names, sys.executable), (2, 20), 3, "float32", dropout)


def test_implementations_take_turns_after_an_untimed_first_step(folder):
    quick, slow = run(folder, "quick", "slow")
    assert (quick.name, quick.version, quick.tokens) == ("quick", "1.0", 40)
    assert len(quick.seconds) == len(slow.seconds) == 3
    assert quick.rate > slow.rate
    assert slow.rate < 40 / 0.02


def test_a_different_loss_is_an_error_unless_dropout_explains_it(folder):
    with pytest.raises(ValueError, match=r"the losses differ: \d+\.\d{6} in wrong, \d+\.\d{6} in quick"):
        run(folder, "quick", "wrong")
    run(folder, "quick", "wrong", dropout=0.1)


def test_a_worker_that_exits_is_reported_with_its_command(folder):
    with pytest.raises(ChildProcessError, match=r"broken exited with status 1; to see why, run: .*worker.py"):
        run(folder, "broken")


@pytest.mark.parametrize(("loss", "fine"), [(5.0004, True), (5.0006, False), (np.nan, False)])
def test_losses_agree_within_a_ten_thousandth(loss, fine):
    if fine:
        check_losses({"one": 5.0, "other": loss}, benchmark.SAME)
    else:
        with pytest.raises(ValueError, match=r"the losses differ: .* in other, 5\.000000 in one"):
            check_losses({"one": 5.0, "other": loss}, benchmark.SAME)


def test_batches_are_the_same_for_all_and_masked_at_the_labelled_positions():
    ids, positions, labels = worker.make_inputs(3, 40, 50, seed=1)
    again = worker.make_inputs(3, 40, 50, seed=1)
    assert all((one == other).all() for one, other in zip((ids, positions, labels), again, strict=True))
    assert ids.shape == (3, 40)
    assert positions.shape == labels.shape == (3, 7)
    for row in range(3):
        kept = labels[row] != -100
        assert 5 < kept.sum() <= 7
        assert (ids[row, positions[row][kept]] == 49).all()
        assert (ids[row] == 49).sum() == kept.sum()


def test_the_table_compares_with_transformers():
    found = [Result("pt", "2", 1024, 3.0, [2.0, 1.0, 9.0], 300), Result("transformers", "5", 1024, 5.0, [4.0], 400)]
    cells = [str(cell) for column in benchmark.build_table(found).columns for cell in column.cells]
    assert {"512", "2.00x", "75%"} <= set(cells)


def test_wrong_usage_is_refused():
    import typer

    app = typer.Typer()
    app.command()(benchmark.main)
    for arguments in (["--frameworks", "mxnet"], ["--shape", "8"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_result_can_be_written():
    assert json.loads(json.dumps(benchmark.asdict(Result("pt", "2", 8))))["name"] == "pt"
