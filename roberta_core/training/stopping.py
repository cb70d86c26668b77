"""Stopping a run by a signal: it saves a checkpoint and ends, as a preempted job needs."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPEATED = 5.0  # seconds in which a launcher passes on the signal that its processes have got from the terminal


class StopRequested(BaseException):  # not an error: no `except Exception` may keep it
    """A stop signal arrived; raised only where a run can save all its state."""


class Stopped(BaseException):
    """A run that a signal ended after it saved a checkpoint.

    Args:
        signal: the signal.
        step: the number of steps that are done.
        checkpoint: the checkpoint of that step; None if no step was done.
    """

    def __init__(self, signal: signal.Signals, step: int, checkpoint: Path | None):
        super().__init__(f"stopped by {signal.name} after step {step}")
        self.signal, self.step, self.checkpoint = signal, step, checkpoint


class StopSignals:
    """A context that notes SIGINT (Ctrl-C) and SIGTERM instead of letting them end the process.

    The second signal has its usual effect: a run that takes too long to save can still be ended. Python handles
    signals in its main thread only; in another thread the context does nothing.

    Args:
        repeats: whether a launcher may repeat a signal, which then counts once.
    """

    def __init__(self, repeats: bool = False) -> None:
        self.repeats, self.arrived = repeats, 0.0
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._previous = {one: signal.signal(one, self._note) for one in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def check(self) -> None:
        """Raise `StopRequested` if a signal has arrived."""
        if self.received is not None:
            raise StopRequested

    def agree(self, sum_up: Callable[[Sequence[float]], list[float]]) -> None:
        """Take over a signal that has arrived in another process; `sum_up` adds numbers over all processes."""
        counts = sum_up([float(self.received is one) for one in SIGNALS])
        self.received = next((one for one, count in zip(SIGNALS, counts, strict=True) if count), None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self.arrived = signal.Signals(number), now
            if not self.repeats:
                self._restore()
        elif now - self.arrived > REPEATED:
            self._restore()
            signal.raise_signal(signal.Signals(number))

    def _restore(self) -> None:
        for one, handler in self._previous.items():
            signal.signal(one, handler)
        self._previous = {}
