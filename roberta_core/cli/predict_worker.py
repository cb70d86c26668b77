"""A worker of `--processes N`: it answers the calls of `predict_processes.Worker`.

Calls come from standard input, replies go to standard output, both as pickles; only the parent process writes and reads
them. Anything else that is printed goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from roberta_core.cli.frameworks import hold_back_stderr
from roberta_core.cli.predict_blocks import BlockRunner
from roberta_core.cli.terminal import format_error


def main() -> None:
    """Answer calls until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    arguments, cores = pickle.load(sys.stdin.buffer)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before a framework counts them
    calls: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_receive, args=(sys.stdin.buffer, calls), daemon=True).start()
    with hold_back_stderr() as show_stderr:
        runner, failure = _try(BlockRunner, arguments)[::-1]
        while True:
            method, given = calls.get()
            reply = (failure, None) if failure else _try(getattr(runner, method), *given)
            pickle.dump(reply, replies)
            replies.flush()
            if method == "run":  # the messages at the start are over
                show_stderr()


def _receive(stream: BinaryIO, calls: SimpleQueue[Any]) -> None:
    """Pass calls on; end the process at once when there are no more: its parent has closed the pipe, or is dead."""
    try:
        while True:
            calls.put(pickle.load(stream))
    except (EOFError, OSError):
        os._exit(0)


def _try(function: Any, *arguments: Any) -> tuple[Exception | None, Any]:
    """Return the error and the result of a call, one of which is None."""
    try:
        return None, function(*arguments)
    except (ValueError, OSError) as error:
        return ValueError(format_error(error)), None
    except Exception as error:
        return RuntimeError(f"{type(error).__name__} in a worker: {format_error(error)}"), None
