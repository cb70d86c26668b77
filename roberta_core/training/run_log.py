"""The log of a run: JSON lines, the means of what the steps return, and the speed of training."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.safe_files import create_text
from roberta_core.training.training_checkpoint import TrainingError

LOG = "log.jsonl"

Report = Callable[[Mapping[str, Any]], None]


class RunLog:
    """A file of JSON lines, each with its `step`; every new line is passed to `report` too.

    Args:
        folder: the folder of the run.
        report: called with each new line.
        writes: whether this process writes the log; otherwise nothing happens.
    """

    def __init__(self, folder: Path, report: Report, writes: bool = True):
        self.path, self.report, self.writes = folder / LOG, report, writes

    def add(self, line: Mapping[str, Any]) -> None:
        """Append a line."""
        if not self.writes:
            return
        with create_text(self.path, "a") as stream:
            stream.write(json.dumps(line) + "\n")
        self.report(line)

    def truncate(self, step: int) -> None:
        """Remove the lines of later steps, which will be trained again, and lines that a kill cut off."""
        if not self.path.is_file():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and _read_step(line) <= step]
        if len(kept) < len(lines):
            draft = self.path.with_name(f".{LOG}.new")
            draft.write_text("".join(kept), encoding="utf-8")
            os.replace(draft, self.path)


def _read_step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class StepScalars:
    """What the steps since the last line of the log returned. Scalars are lazy: `float()` waits for them."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def add(self, scalars: Mapping[str, Any]) -> None:
        """Add the scalars of a step."""
        self.rows.append(scalars)

    def settle(self, step: int) -> list[dict[str, float]]:
        """Wait for the scalars, the last of which are those of `step`, and return them.

        Raises:
            TrainingError: one is not finite.
        """
        first = step - len(self.rows)
        rows = [{name: float(value) for name, value in scalars.items()} for scalars in self.rows]
        for number, row in enumerate(rows, first + 1):
            if not all(map(math.isfinite, row.values())):
                raise TrainingError(
                    f"step {number}: {', '.join(f'{name} {value}' for name, value in row.items())}; training diverged. "
                    "The last checkpoint was saved before. A lower peak_learning_rate or a clip_norm may help"
                )
        self.rows = list(rows)
        return rows

    def take_means(self, step: int) -> dict[str, float]:
        """Return the means over the steps, and forget the steps."""
        rows = self.settle(step)
        self.rows = []
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


class Speedometer:
    """Tokens per second of training; the time of evaluations and checkpoints does not count."""

    def __init__(self) -> None:
        self.tokens, self.elapsed, self.started = 0, 0.0, time.perf_counter()

    def add(self, tokens: int) -> None:
        """Add the tokens of a step."""
        self.tokens += tokens

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Exclude the time of the block."""
        self.elapsed += time.perf_counter() - self.started
        try:
            yield
        finally:
            self.started = time.perf_counter()

    def take_rate(self) -> int:
        """Return the tokens per second since the last call."""
        now = time.perf_counter()
        rate = self.tokens / max(self.elapsed + now - self.started, 1e-9)
        self.tokens, self.elapsed, self.started = 0, 0.0, now
        return round(rate)
