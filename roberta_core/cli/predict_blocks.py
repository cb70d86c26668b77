"""Rows of a prediction command in blocks, computed by workers that each hold the model.

The rows of the input are cut into blocks of as many rows as a pipeline plans its batches for (`base.WINDOW`), so that
the batches, and with them the results, depend neither on the number of workers nor on which worker computes a block.
An engine, which is processes of this machine or actors of Ray, calls the methods of one `BlockRunner` in each worker;
a block whose worker dies is computed once more in a new worker, and then the command ends with an error.
This process reads the rows and writes the results in the order of the input with the same code as without workers; with
an output file it also keeps each finished block in a `BlockFolder`, so that a rerun computes only what is missing.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from roberta_core.cli.frameworks import hold_back_stderr
from roberta_core.cli.predict_inputs import TASKS
from roberta_core.interface import COMMAND, use_interface
from roberta_core.pipelines import base
from roberta_core.tasks.base import BUDGET, MEASURED
from roberta_core.worker_pool import WorkerPool

if TYPE_CHECKING:
    from roberta_core.cli.predict_folder import BlockFolder


@dataclass(frozen=True)
class RunnerArguments:
    """What a worker needs to load the pipeline of a command."""

    command: str
    framework: str
    device: str
    model: str
    options: Mapping[str, Any]


class BlockRunner:
    """The pipeline of a worker. All arguments and results can be pickled."""

    def __init__(self, arguments: RunnerArguments):
        from roberta_core.cli.predict import load_runner

        task = TASKS[arguments.command]
        with ExitStack() as start:
            start.enter_context(hold_back_stderr())
            self.pipeline = load_runner(
                task, arguments.framework, arguments.device, arguments.model, BUDGET, arguments.options
            )
            self.start = start.pop_all()  # until the end of the first block

    def describe(self) -> dict[str, Any]:
        """Return the device of the model, the framework's version, and the most tokens that the model accepts."""
        backend = self.pipeline.backend
        return {
            "device": backend.device,
            "framework": f"{backend.title} {backend.version}",
            "length": self.pipeline.length,
        }

    def measure(self, block: list[Any]) -> int:
        """Return the tokens per batch that are the fastest for the rows of a block."""
        return self.pipeline.measure_budget(block, self.pipeline.settings)

    def run(self, block: list[Any], budget: int) -> list[Any]:
        """Return the results of a block; a `RowError` for each row that has none."""
        self.pipeline.budget = budget
        try:
            with use_interface(COMMAND):  # in another process
                return list(self.pipeline.stream(block, self.pipeline.settings, keep_errors=True))
        finally:
            self.start.close()  # the messages at the start of the framework are over


class Engine(Protocol):
    """Workers that each hold a `BlockRunner`."""

    count: int  # of workers

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of `BlockRunner` in the next free worker.

        The future raises `ValueError` if the method does, or if two workers died in this call.
        """
        ...

    def close(self) -> None:
        """End all workers at once."""
        ...


def start_engine(name: str | None, arguments: RunnerArguments, count: int, address: str | None) -> Engine:
    """Start workers: actors of Ray for the engine "ray", processes of this machine for None."""
    if name == "ray":
        if arguments.device.startswith("cuda:"):
            raise ValueError(f"--device is {arguments.device}, but Ray chooses the GPU of an actor: specify cuda")
        from roberta_core.cli.predict_ray import RayEngine

        check_address(address)
        return RayEngine(arguments, count, address)
    return WorkerPool("roberta_core.cli.predict_blocks:BlockRunner", arguments, count, _describe_death)


def _describe_death(method: str, reason: str) -> str:
    """Return a sentence for two processes that ended in the same call of a method of `BlockRunner`."""
    loading = method == "describe"
    place = "when they loaded the model" if loading else "in the same block of rows"
    advice = "--processes" if loading else "--processes or --max-batch-tokens"
    return f"two worker processes in a row ended {place} ({reason}); if the memory is full, lower {advice}"


def check_address(address: str | None) -> None:
    """Raise `ValueError` if no program listens at HOST:PORT, for which Ray itself waits for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise ValueError(f"--address is {address}, but Ray cannot be reached there: {error}") from None


class BlockStream:
    """Takes the place of a pipeline: its `stream` computes blocks in workers.

    Args:
        engine: the workers.
        budget: tokens per batch; None to measure the fastest one if there are many rows.
        folder: where finished blocks are kept, if anywhere.

    Raises:
        ValueError: the model cannot be loaded, or several workers would share one accelerator.
    """

    settings: Mapping[str, Any] = {}  # those of the workers' pipelines hold

    def __init__(self, engine: Engine, budget: int | None, folder: BlockFolder | None = None):
        self.engine, self.folder = engine, folder
        self.budget = folder.budget if budget is None and folder is not None else budget
        self.stored: set[int] = set()  # blocks that were read from the folder
        self.length: int = 0

    def check(self, share: bool) -> None:
        """Wait until a worker has loaded the model; refuse an accelerator that several workers `share`."""
        found = self.engine.call("describe").result()
        self.length, device = found["length"], found["device"]
        if device != "cpu" and self.engine.count > 1 and share:
            raise ValueError(
                f"--processes is {self.engine.count}, but the model runs on {device}, which one process uses best: "
                "specify --processes 1, or --device cpu"
            )
        if self.folder is not None:
            self.folder.add_settings({"the device": device, "the version of the framework": found["framework"]})

    def stream(self, inputs: Iterable[Any], options: Mapping[str, Any], keep_errors: bool = True) -> Iterator[Any]:
        """Yield the result of each input, in order, reading no further ahead than two blocks for each worker."""
        source, number = iter(inputs), 0
        pending: deque[tuple[int, Future[Any]]] = deque()
        try:
            while block := list(islice(source, base.WINDOW)):
                pending.append((number, self._start(number, block)))
                number += 1
                while pending and (len(pending) > 2 * self.engine.count or pending[0][1].done()):
                    yield from self._finish(*pending.popleft())
            while pending:
                yield from self._finish(*pending.popleft())
        except BaseException:
            self._keep(pending)
            raise

    def _start(self, number: int, block: list[Any]) -> Future[Any]:
        if self.folder is not None and (found := self.folder.read(number, len(block))) is not None:
            stored: Future[Any] = Future()
            stored.set_result(found)
            self.stored.add(number)
            return stored
        if self.budget is None:
            self.budget = self._choose_budget(block)
            if self.folder is not None:
                self.folder.budget = self.budget
        return self.engine.call("run", block, self.budget)

    def _choose_budget(self, block: list[Any]) -> int:
        """Return the tokens per batch: measured with the first block, if it is large."""
        return self.engine.call("measure", block).result() if len(block) >= MEASURED else BUDGET

    def _finish(self, number: int, future: Future[Any]) -> list[Any]:
        results = future.result()
        if self.folder is not None and number not in self.stored:
            self.folder.write(number, results)
        self.stored.discard(number)
        return results

    def _keep(self, pending: Iterable[tuple[int, Future[Any]]]) -> None:
        """Keep the blocks that are finished, when the command ends with an error."""
        for number, future in pending:
            if future.done() and self.folder is not None:
                with suppress(Exception):  # of another block; the first error is reported
                    self._finish(number, future)
