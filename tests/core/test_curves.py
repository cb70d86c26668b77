"""The curves of a log: reading, charts and TensorBoard files."""

import json
from pathlib import Path

import pytest

from roberta_core.cli.recording import Recording
from roberta_core.safe_files import create_file
from roberta_core.training import curves
from roberta_core.training.run_log import LOG, RunLog

LINES = (
    {"step": 2, "loss": 3.0, "gradient_norm": 1.5, "learning_rate": 0.25, "tokens_per_second": 90},
    {"step": 3, "held_out_loss": 2.5, "held_out_accuracy": 0.25},
    {"step": 3, "checkpoint": "step-0000003"},
    {"step": 4, "loss": 2.0, "gradient_norm": 0.5, "learning_rate": 0.125, "tokens_per_second": 80, "remark": "odd"},
)
SCORED = ({"seed": 7, "step": 5, "epoch": 1.0, "scores": {"f1": 0.75, "accuracy": 0.5}, "best": True},)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_every_number_of_a_log_is_a_curve_over_steps(log):
    assert curves.read_curves(log) == {
        "loss": {2: 3.0, 4: 2.0},
        "gradient_norm": {2: 1.5, 4: 0.5},
        "learning_rate": {2: 0.25, 4: 0.125},
        "tokens_per_second": {2: 90, 4: 80},
        "held_out_loss": {3: 2.5},
        "held_out_accuracy": {3: 0.25},
    }
    assert curves.extract_scalars(SCORED[0]) == {"f1": 0.75, "accuracy": 0.5}


def test_a_repeated_step_has_the_values_of_the_resumed_run(log):
    with open(log, "a") as stream:
        stream.write('{"step": 5, "lo')  # killed here
        stream.write("\n" + json.dumps({"step": 4, "loss": 1.0}) + "\n")
    assert curves.read_curves(log)["loss"] == {2: 3.0, 4: 1.0}


class Axes:
    """Axes that record what is plotted."""

    def __init__(self):
        self.lines, self.legends, self.spines = [], 0, self

    def plot(self, steps, values, label, **style):
        self.lines.append((label, steps, values))

    def legend(self, **style):
        self.legends += 1

    def __getitem__(self, name):
        return self

    def set_visible(self, visible):
        assert not visible


@pytest.fixture
def panels(monkeypatch):
    """Return the panels of the chart that a test draws, by their titles."""
    found = {}

    class Figure:
        def __init__(self, **settings):
            pass

        def add_subplot(self, rows, columns, place, title, xlabel):
            assert 1 <= place <= rows * columns
            return found.setdefault(title, Axes())

        def savefig(self, path):
            path.write_text("drawn")

    figures = type("figures", (), {"Figure": Figure})
    monkeypatch.setattr(curves, "require", lambda module, extra: figures)
    return found


def test_a_chart_has_a_panel_for_each_kind_of_number(log, panels, tmp_path):
    curves.draw(tmp_path / "new" / "curves.png", {"": log})
    assert list(panels) == ["loss", "masked accuracy", "learning rate", "gradient norm", "tokens/s"]
    assert panels["loss"].lines == [("loss", (2, 4), (3.0, 2.0)), ("held out loss", (3,), (2.5,))]
    assert panels["learning rate"].lines == [("learning_rate", (2, 4), (0.25, 0.125))]
    assert (panels["loss"].legends, panels["learning rate"].legends) == (1, 0)


def test_runs_of_several_seeds_share_a_chart(log, panels, tmp_path):
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (LINES[0], *SCORED)))
    logs = {"seed 1": log, "seed 2": tmp_path / "other.jsonl", "seed 3": tmp_path / "not begun.jsonl"}
    curves.draw(tmp_path / "curves.png", logs)
    assert [line[0] for line in panels["learning rate"].lines] == ["seed 1", "seed 2"]
    assert panels["f1"].lines == [("seed 2", (5,), (0.75,))]


def test_a_chart_is_a_png(log, tmp_path):
    pytest.importorskip("matplotlib")
    curves.draw(tmp_path / "curves.png", {"": log})
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def read_events(folder):
    """Read events with TensorBoard's reader, which verifies checksums: (step, scalars, whether a session begins)."""
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (path,) = folder.glob("*tfevents*")
    for event in loader.RawEventFileLoader(str(path)).Load():
        found = curves.require("tensorboard.compat.proto.event_pb2", "board").Event.FromString(event)
        yield found.step, {value.tag: value.simple_value for value in found.summary.value}, found.session_log.status


def test_tensorboard_reads_the_numbers_by_step(tmp_path):
    pytest.importorskip("tensorboard")
    board = curves.Board(tmp_path)
    for line in LINES:
        board.add(line)
    found = list(read_events(tmp_path))  # values are visible before the file is closed
    board.close()
    assert [(step, scalars) for step, scalars, _ in found if scalars] == [
        (line["step"], curves.extract_scalars(line)) for line in LINES if "checkpoint" not in line
    ]


def test_a_resumed_run_replaces_the_later_steps_of_a_killed_run(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed, resumed = curves.Board(tmp_path), None
    for step in (2, 4, 6):
        killed.add({"step": step, "loss": 9.0})
    resumed = curves.Board(tmp_path)
    for step in (4, 8):
        resumed.add({"step": step, "loss": 1.0})
    shown = accumulators.EventAccumulator(str(tmp_path))
    shown.Reload()
    assert [(point.step, point.value) for point in shown.Scalars("loss")] == [(2, 9.0), (4, 1.0), (8, 1.0)]


def test_each_seed_has_its_own_folder(tmp_path):
    pytest.importorskip("tensorboard")
    board = curves.Board(tmp_path)
    board.add({"data": "training", "examples": 3})
    for seed in (1, 2):
        board.add({"seed": seed, "step": 1, "loss": 1.0})
    board.close()
    assert sorted(path.parent.name for path in tmp_path.rglob("*tfevents*")) == ["seed-1", "seed-2"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(curves, "import_module", missing)
    with pytest.raises(ValueError, match=r"needs tensorboard: pip install 'triberta\[board\]'"):
        curves.Board(None)


NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device of a full disk is Linux's")


@NEEDS_FULL
def test_a_full_disk_names_the_chart_and_the_events(log, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    (tmp_path / "curves.png").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*curves\.png"):
        curves.draw(tmp_path / "curves.png", {"": log})
    monkeypatch.setattr(curves, "create_file", lambda path: create_file("/dev/full"))
    board = curves.Board(tmp_path)
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        board.add({"step": 1, "loss": 2.0})


@NEEDS_FULL
def test_the_error_that_ends_a_run_is_raised_and_not_that_of_its_chart(log, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "curves.png").symlink_to("/dev/full")

    def run(error=None):
        with Recording(tmp_path / "curves.png", None, {"": log}):
            if error is not None:
                raise error

    with pytest.raises(KeyError):
        run(KeyError("first"))
    with pytest.raises(OSError, match=r"curves\.png"):
        run()


@NEEDS_FULL
def test_a_full_disk_names_the_log(tmp_path):
    (tmp_path / LOG).symlink_to("/dev/full")
    with pytest.raises(OSError, match=f"No space left on device: .*{LOG}"):
        RunLog(tmp_path, lambda line: None).add({"step": 1})
