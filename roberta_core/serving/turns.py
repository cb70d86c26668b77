"""Shares the processor among networks: one of them computes at a time, and all get the same time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Lets one of several threads compute at a time: of those that wait, the one that has computed least.

    One computation at a time is fastest, since each uses all cores.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._seconds: dict[str, float] = {}  # computed so far
        self._waiting: list[str] = []
        self._active: str | None = None
        self._since = 0.0
        self._clock = 0.0  # seconds of the name that had the last turn, when it began

    @contextmanager
    def take(self, name: str) -> Iterator[None]:
        """Wait for a turn and hold it. A name that has been idle has no credit for that time."""
        self._begin(name)
        try:
            yield
        finally:
            self._end()

    def give_way(self, name: str) -> None:
        """Let others compute in the middle of a turn: called between the steps of a long computation."""
        self._end()
        self._begin(name)

    def _begin(self, name: str) -> None:
        with self._condition:
            self._seconds[name] = max(self._seconds.get(name, 0.0), self._clock)
            self._waiting.append(name)
            self._condition.wait_for(lambda: self._is_next(name))
            self._waiting.remove(name)
            self._active, self._since, self._clock = name, time.monotonic(), self._seconds[name]

    def _end(self) -> None:
        with self._condition:
            if self._active is not None:
                self._seconds[self._active] += time.monotonic() - self._since
            self._active = None
            self._condition.notify_all()

    def _is_next(self, name: str) -> bool:
        return self._active is None and name == min(self._waiting, key=self._seconds.__getitem__)
