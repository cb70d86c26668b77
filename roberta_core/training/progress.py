"""Progress of a training run that is started from Python: a bar in a notebook, a line on a terminal, else nothing."""

import html
import sys
from collections.abc import Mapping
from typing import Any, TextIO

BAR = '<progress value="{done}" max="{steps}" style="width:20em;vertical-align:middle"></progress>'
CELLS = 30  # of the bar on a terminal


class Progress:
    """Shows the lines of a training log as they come. Call `report` with each, and `close` at the end.

    Args:
        steps: the number of optimiser steps.
        stream: where a terminal's line is written.
    """

    def __init__(self, steps: int, stream: TextIO | None = None):
        self.steps, self.stream = steps, stream or sys.stderr
        self.done, self.loss, self.sentences = 0, None, list[str]()
        self.handle = _open_notebook()
        self.show()

    def report(self, line: Mapping[str, Any]) -> None:
        """Take over a line of the log."""
        self.done = line.get("step", self.done)
        self.loss = line.get("loss", self.loss)
        if "scores" in line:
            scores = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in line["scores"].items())
            self.sentences.append(f"epoch {line['epoch']:g}: {scores}")
        self.sentences += [str(line[name]) for name in ("note", "remark") if name in line]
        self.show()

    def show(self) -> None:
        """Show the state of the run."""
        text = f"{self.done} of {self.steps} steps" + ("" if self.loss is None else f", loss {self.loss:.3f}")
        if self.handle is not None:
            lines = "".join(f"<br>{html.escape(sentence)}" for sentence in self.sentences)
            self.handle.update(_as_html(f"{BAR.format(done=self.done, steps=self.steps)} {text}{lines}"))
        elif self.stream.isatty():
            filled = CELLS * self.done // max(1, self.steps)
            self.stream.write(f"\r{'#' * filled}{'-' * (CELLS - filled)} {text}\x1b[K")
            self.stream.flush()

    def close(self) -> None:
        """End the line on a terminal."""
        if self.handle is None and self.stream.isatty():
            self.stream.write("\n")


def _open_notebook() -> Any:
    """Return a handle of a notebook's output that can be updated; None outside of notebooks."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return sys.modules["IPython.display"].display(_as_html(""), display_id=True)


def _as_html(text: str) -> Any:
    return sys.modules["IPython.display"].HTML(text)
