"""What a training run leaves besides its log, where it is asked to: a chart of its curves, and TensorBoard's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from roberta_core.cli.files import check_chart, check_files

CHART = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw the curves of the log into a file, such as curves.png; needs matplotlib."),
]
TENSORBOARD = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write the log's numbers for TensorBoard as they come; needs tensorboard."),
]


class Recording:
    """The chart is drawn when the run ends, by an error too, from its `logs`; TensorBoard's files grow with it.

    `ValueError` at once if what draws or writes is not installed, or its files cannot be written.
    """

    def __init__(self, chart: Path | None, tensorboard: Path | None, logs: Mapping[str, Path]):
        from roberta_core.training import curves

        check_chart(chart)
        check_files(None if tensorboard is None else tensorboard / "events")
        self.chart, self.logs = chart, logs
        self.board = None if tensorboard is None else curves.Board(tensorboard)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        from roberta_core.training import curves

        if self.board is not None:
            self.board.close()
        if self.chart is not None:
            curves.draw(self.chart, self.logs)

    def with_board(self, report: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """`report` for each line of the log, which TensorBoard is given too."""

        def both(line: Mapping[str, Any]) -> None:
            if self.board is not None:
                self.board.add(line)
            report(line)

        return both
