"""`finetune()` and `evaluate()`: their arguments, what they report, and the progress that they show."""

import io
import logging
import sys
import types

import pytest

from roberta_core import finetune
from roberta_core.data.records import DataError
from roberta_core.training import python_interface
from roberta_core.training.progress import Progress
from roberta_core.training.python_interface import list_sources

LINES = (
    {"step": 5, "loss": 0.5},
    {"step": 10, "epoch": 1.0, "scores": {"accuracy": 0.75}},
    {"step": 10, "loss": 0.25, "remark": "a <b> remark"},
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_one_line():
    stream = Terminal()
    shown = Progress(10, stream)
    for line in LINES:
        shown.report(line)
    shown.close()
    parts = stream.getvalue().split("\r")
    assert parts[1].startswith("-" * 30 + " 0 of 10 steps")
    assert parts[2].startswith("#" * 15 + "-" * 15 + " 5 of 10 steps, loss 0.500")
    assert parts[-1] == "#" * 30 + " 10 of 10 steps, loss 0.250\x1b[K\n"


def test_a_stream_that_is_no_terminal_stays_empty():
    stream = io.StringIO()
    shown = Progress(10, stream)
    shown.report(LINES[0])
    shown.close()
    assert stream.getvalue() == ""


def test_a_notebook_shows_a_bar_that_is_updated(monkeypatch):
    updates = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=None)  # pyright: ignore[reportAttributeAccessIssue]
    display.HTML = lambda text: text  # pyright: ignore[reportAttributeAccessIssue]
    display.display = lambda value, display_id: types.SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        update=updates.append
    )
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    shown = Progress(10, Terminal())
    for line in LINES:
        shown.report(line)
    shown.close()
    assert [update.split('value="')[1].split('"')[0] for update in updates] == ["0", "5", "10", "10"]
    assert updates[-1].endswith("10 of 10 steps, loss 0.250<br>epoch 1: accuracy 0.7500<br>a &lt;b&gt; remark")


def test_data_are_a_file_or_files_or_rows():
    rows = [{"text": "a", "label": "b"}]
    assert list_sources("a.csv") == ["a.csv"]
    assert list_sources(["a.csv", "b.csv"]) == ["a.csv", "b.csv"]
    assert list_sources(rows) == [rows]


def test_wrong_arguments_are_refused_before_a_framework_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(python_interface.backends, "load", lambda name: pytest.fail("loaded"))
    rows = [{"text": "good", "label": "+"}, {"text": "bad", "label": "-"}]
    with pytest.raises(TypeError, match="no argument epoch; values of the recipe: epochs"):
        finetune("classification", rows, tmp_path / "run", "tiny-classification", epoch=1)
    with pytest.raises(DataError, match="no record is left for training"):
        finetune("classification", [{"x": 1}], tmp_path / "run", "tiny-classification")
    with pytest.raises(DataError, match="no record is left for validation"):
        finetune("classification", rows, tmp_path / "run", "tiny-classification", validation=[{"x": 1}])
    with pytest.raises(DataError):
        finetune("classification", [*rows, {"x": 1}], tmp_path / "run", "tiny-classification", strict=True)


def test_skipped_records_are_logged(tmp_path, monkeypatch, caplog):
    def stop(name):
        raise ValueError("as far as this test goes")

    monkeypatch.setattr(python_interface.backends, "load", stop)
    rows = [{"text": "good", "label": "+"}, {"text": "bad", "label": "-"}, {"text": "no label"}]
    with caplog.at_level(logging.WARNING), pytest.raises(ValueError, match="as far as"):
        finetune("classification", rows, tmp_path / "run", "tiny-classification", framework="pt")
    assert "Skipped 1 of the records for training: " in caplog.text


def test_the_environment_of_several_processes_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="trains in one process, but the environment is that of 2: use `roberta fin"):
        finetune("classification", [], tmp_path / "run", "tiny-classification")
    assert not list(tmp_path.iterdir())
