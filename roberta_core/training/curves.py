"""Curves of training runs: charts of their logs, and event files that TensorBoard shows during training.

A log is JSON lines with a `step` each; its numbers are the curves. If a step occurs twice, the later line counts.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from roberta_core.safe_files import create_file

# The panels and their curves; each score of a task, and each curve that is not listed here, has a panel of its own.
PANELS = {
    "loss": ("loss", "held_out_loss"),
    "masked accuracy": ("held_out_accuracy",),
    "learning rate": ("learning_rate",),
    "gradient norm": ("gradient_norm",),
    "tokens/s": ("tokens_per_second",),
}
NO_CURVES = ("step", "seed", "epoch")
DOTTED = 30  # a curve with fewer points marks each of them

Curve = dict[int, float]  # values by step


def extract_scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of the log that belong to curves; scores have their own names."""
    flat = {**line, **line.get("scores", {})}
    return {
        name: float(value)
        for name, value in flat.items()
        if name not in NO_CURVES and type(value) in (int, float) and "step" in line
    }


def read_curves(log: Path) -> dict[str, Curve]:
    """Return the curves of a log; a last line that a kill cut off is ignored."""
    curves: dict[str, Curve] = {}
    for text in log.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        for name, value in extract_scalars(line).items():
            curves.setdefault(name, {})[line["step"]] = value
    return curves


def require(module: str, extra: str) -> Any:
    """Import a module that comes with an extra; raise `ValueError` with the command that installs it."""
    try:
        return import_module(module)
    except ImportError:
        raise ValueError(f"this needs {module.split('.')[0]}: pip install 'triberta[{extra}]'") from None


def draw(path: Path, logs: Mapping[str, Path]) -> None:
    """Draw the curves of logs into a file such as a .png, with a panel for each kind of number.

    Args:
        path: the file.
        logs: the logs, by their names in the legend.
    """
    figures = require("matplotlib.figure", "chart")
    runs = {label: read_curves(log) for label, log in logs.items() if log.is_file()}
    panels = _select_panels([name for curves in runs.values() for name in curves])
    if not panels:
        return
    columns, rows = min(len(panels), 3), -(-len(panels) // 3)
    figure = figures.Figure(figsize=(4.6 * columns, 3.0 * rows), layout="constrained")
    for place, (title, names) in enumerate(panels.items(), 1):
        _draw_panel(figure.add_subplot(rows, columns, place, title=title, xlabel="step"), names, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path)
    except OSError as error:  # such as that of a full disk, which names no file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _draw_panel(axes: Any, names: Sequence[str], runs: Mapping[str, Mapping[str, Curve]]) -> None:
    """Draw the curves of these names, with a colour for each run, or for each curve if there is one run."""
    for number, (run, curves) in enumerate(runs.items()):
        for rank, name in enumerate(name for name in names if name in curves):
            steps, values = zip(*sorted(curves[name].items()), strict=True)
            label = " ".join(filter(None, (run, name.replace("_", " ") if len(names) > 1 else "")))
            axes.plot(
                steps, values, label=label or name, linewidth=1.2, color=f"C{(number if len(runs) > 1 else rank) % 10}",
                linestyle="--" if rank else "-", marker="." if len(steps) < DOTTED else "",
            )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    if len(runs) > 1 or len(names) > 1:
        axes.legend(frameon=False, fontsize="small")


def _select_panels(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the panels that have curves, those of `PANELS` first."""
    known = {name for panel in PANELS.values() for name in panel}
    found = {title: tuple(name for name in panel if name in names) for title, panel in PANELS.items()}
    found |= {name.replace("_", " "): (name,) for name in names if name not in known}
    return {title: panel for title, panel in found.items() if panel}


class Board:
    """Writes the numbers of log lines as scalars into event files for TensorBoard, one file for each seed.

    A line is on disk when `add` returns.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.records = require("tensorboard.summary.writer.record_writer", "board")
        self.events = require("tensorboard.compat.proto.event_pb2", "board")
        self.summaries = require("tensorboard.compat.proto.summary_pb2", "board")
        self.files: dict[Any, Any] = {}

    def add(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of a line; a line without a step has none."""
        found = extract_scalars(line)
        if not found:
            return
        seed, step = line.get("seed"), line["step"]
        if seed not in self.files:
            self.files[seed] = self._begin(self.folder if seed is None else self.folder / f"seed-{seed}", step)
        values = [self.summaries.Summary.Value(tag=name, simple_value=value) for name, value in found.items()]
        self._write(self.files[seed], step=step, summary=self.summaries.Summary(value=values))

    def close(self) -> None:
        """Close the files."""
        for file in self.files.values():
            file.close()

    def _begin(self, folder: Path, step: int) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        file = self.records.RecordWriter(create_file(folder / name))  # closed when the run ends
        self._write(file, file_version="brain.Event:2")
        # TensorBoard hides what an earlier, killed run logged for this step and later ones.
        started = self.events.SessionLog(status=self.events.SessionLog.START)
        self._write(file, step=step, session_log=started)
        return file

    def _write(self, file: Any, **content: Any) -> None:
        file.write(self.events.Event(wall_time=time.time(), **content).SerializeToString())
        file.flush()
