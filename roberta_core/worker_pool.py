"""A pool of processes of this machine that each build one object, answer calls of its methods, and share the cores."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"
)  # fmt: skip
TOPOLOGY = Path("/sys/devices/system/cpu")
# Modules are found where this process finds them, not first in the working directory.
PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from roberta_core.worker_program import main; main()"
Request = tuple[str, tuple[Any, ...]]  # a method and its arguments
Describe = Callable[[str, str], str]  # called with a method and how the process ended, returns a sentence


class Worker:
    """A process that runs `main` of `roberta_core.worker_program`.

    Ctrl-C does not reach it, since it has its own session: its parent ends it. It also ends when its standard input is
    closed, which happens if the parent is killed.

    Args:
        build: what builds its object, as "module:name".
        arguments: the argument of `build`, which can be pickled.
        cores: the cores that it may use.
        errors: the file descriptor of its standard error.
    """

    def __init__(self, build: str, arguments: Any, cores: list[int], errors: int):
        self.start: tuple[Any, ...] = (cores, pickle.dumps((build, arguments)))  # before a process is there to be ended
        command = [sys.executable, "-P", "-c", PROGRAM, *sys.path]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            env=_limit_threads(cores),
        )  # fmt: skip

    def ask(self, request: Request) -> Any:
        """Return the reply to a request; raise `EOFError` or `OSError` if the process is dead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.start:
            pickle.dump(self.start, self.process.stdin)
            self.start = ()
        pickle.dump(request, self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)

    def end(self) -> int:
        """End the process, which is given a moment to end by itself, and return its exit status."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was not written has no reader
                continue
        return status


class WorkerPool:
    """Processes; a thread for each of them waits for its replies. A process that dies is replaced.

    Args:
        build: what builds the object of each process, as "module:name".
        arguments: the argument of `build`, which can be pickled.
        count: the number of processes.
        describe_death: called with a method and how a process ended, if two died in the same call; returns a sentence.
    """

    def __init__(self, build: str, arguments: Any, count: int, describe_death: Describe):
        self.build, self.arguments, self.count, self.describe_death = build, arguments, count, describe_death
        self.shares = divide_cores(list_cores(), count)
        self.calls: SimpleQueue[tuple[Future[Any], Request] | None] = SimpleQueue()
        self.lock, self.closed = Lock(), False
        self.errors = os.dup(2)  # a worker that is started later writes there too, when 2 is held back
        self.workers: dict[int, Worker] = {}
        self.threads: list[Thread] = []
        try:
            for number in range(count):
                self._start(number)
                self.threads.append(Thread(target=self._serve, args=(number,), daemon=True))
                self.threads[-1].start()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of the object in the next free process; its arguments and its result can be pickled.

        The future raises the `ValueError`, `OSError` or `MemoryError` of the method, `RuntimeError` for any other error
        of it, and `ValueError` if two processes died in the call.
        """
        future: Future[Any] = Future()
        self.calls.put((future, (method, arguments)))
        return future

    def close(self) -> None:
        """End all processes."""
        with self.lock:
            self.closed = True
            for worker in self.workers.values():
                worker.process.kill()
        for _ in self.threads:
            self.calls.put(None)
        for thread in self.threads:
            thread.join()
        for worker in self.workers.values():
            worker.end()
        os.close(self.errors)

    def _start(self, number: int) -> None:
        with self.lock:
            if self.closed:
                raise EOFError
            self.workers[number] = Worker(self.build, self.arguments, self.shares[number], self.errors)

    def _serve(self, number: int) -> None:
        """Pass calls to a process, which is replaced if it dies, until the engine is closed."""
        while (call := self.calls.get()) is not None and not self.closed:
            future, request = call
            try:
                error, value = self._ask_twice(number, request)
            except Exception as problem:  # it belongs to the call, whatever it is
                future.set_exception(problem)
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def _ask_twice(self, number: int, request: Request) -> tuple[Exception | None, Any]:
        status = 0
        for _ in range(2):
            try:
                return self.workers[number].ask(request)
            except (EOFError, OSError, pickle.UnpicklingError):
                if self.closed:
                    raise
                status = self.workers[number].end()
                self._start(number)
        raise ValueError(self.describe_death(request[0], _describe_status(status)))


def list_cores() -> list[int]:
    """Return the cores that this process may use, with the threads of a physical core next to each other."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0), key=_locate_core)


def divide_cores(cores: list[int], count: int) -> list[list[int]]:
    """Return a share of the cores for each of `count` processes; a core has several if there are not enough."""
    if count > len(cores):
        return [[cores[number % len(cores)]] for number in range(count)]
    return [cores[number * len(cores) // count : (number + 1) * len(cores) // count] for number in range(count)]


def _locate_core(core: int) -> tuple[int, int, int]:
    """Return the socket, the physical core and the number of a core, as Linux reports them."""
    try:
        folder = TOPOLOGY / f"cpu{core}" / "topology"
        socket, physical = (int((folder / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        return 0, core, core
    return socket, physical, core


def _limit_threads(cores: list[int]) -> dict[str, str]:
    """Return the environment of a worker: where a process cannot be bound to cores, variables limit its threads."""
    limits = {} if hasattr(os, "sched_setaffinity") else dict.fromkeys(THREADS, str(len(cores)))
    return {**limits, **os.environ}


def _describe_status(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
