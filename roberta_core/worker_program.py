"""The program of a process of `worker_pool.WorkerPool`: it answers the calls of its parent.

Calls come from standard input, replies go to standard output, both as pickles; only the parent process writes and reads
them. Anything else that is printed goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO


def main() -> None:
    """Answer calls until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    cores, start = pickle.load(sys.stdin.buffer)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before a library counts them
    calls: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_receive, args=(sys.stdin.buffer, calls), daemon=True).start()
    failure, worker = _try(_build, start)
    while True:
        method, given = calls.get()
        reply = (failure, None) if failure else _try(getattr(worker, method), *given)
        pickle.dump(reply, replies)
        replies.flush()


def _build(start: bytes) -> Any:
    name, arguments = pickle.loads(start)
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)(arguments)


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
    except OSError as error:
        return OSError(error.errno, error.strerror or str(error), error.filename), None
    except ValueError as error:
        return (error if _survives(error) else ValueError(str(error))), None
    except MemoryError as error:
        text = str(error)
        return MemoryError(text if "memory" in text else f"not enough memory in a worker process: {text}"), None
    except Exception as error:
        return RuntimeError(f"{type(error).__name__} in a worker: {error}"), None


def _survives(error: ValueError) -> bool:
    """Whether an error can be pickled and has the same message afterwards."""
    try:
        return str(pickle.loads(pickle.dumps(error))) == str(error)
    except Exception:
        return False
