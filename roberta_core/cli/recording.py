"""Optional outputs of a training run besides its log: a chart of its curves, and event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from roberta_core.cli.files import check_chart, check_files

CHART = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw the training curves into a file, such as curves.png; needs matplotlib."),
]
TENSORBOARD = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Write the numbers of the log for TensorBoard during training; needs tensorboard."
    ),
]


class Recording:
    """A context that draws the chart from `logs` when the run ends, also by an error, and writes for TensorBoard.

    Args:
        chart: the file to draw into, or None.
        tensorboard: the folder for event files, or None.
        logs: the log file of each run, by the label of its curves.
        first: whether this process records; of several processes that train together only the first does.

    Raises:
        ValueError: a library is not installed, or a file cannot be written; raised before training.
    """

    def __init__(self, chart: Path | None, tensorboard: Path | None, logs: Mapping[str, Path], first: bool = True):
        from roberta_core.training import curves

        if not first:
            chart = tensorboard = None
        check_chart(chart)
        check_files(None if tensorboard is None else tensorboard / "events")
        self.chart, self.logs = chart, logs
        self.board = None if tensorboard is None else curves.Board(tensorboard)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        from roberta_core.training import curves

        # The error that ended the run is raised, not one that follows from it, such as that of the same full disk.
        kept = nullcontext() if kind is None else suppress(Exception)
        with kept:
            if self.board is not None:
                self.board.close()
        with kept:
            if self.chart is not None:
                curves.draw(self.chart, self.logs)

    def with_board(self, report: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """Return a function that passes each line of the log to TensorBoard and to `report`."""

        def both(line: Mapping[str, Any]) -> None:
            if self.board is not None:
                self.board.add(line)
            report(line)

        return both
