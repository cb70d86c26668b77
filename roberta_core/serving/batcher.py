"""Runs the rows of all requests for one network in batches of similar length within a budget of tokens."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from roberta_core.backend import Backend
from roberta_core.data.streams import plan_batches
from roberta_core.serving.metrics import Metrics
from roberta_core.serving.turns import Turns
from roberta_core.tasks.features import Feature, Output, run_batch

logger = logging.getLogger(__name__)

AHEAD = 2048  # waiting rows among which a batch is chosen
SMOOTHING = 0.1  # weight of the last batch in the average time of a row


class ModelFailure(Exception):  # noqa: N818  # the failure is the model's
    """The model raised an error, or its outputs are not finite."""


class CallDropped(Exception):  # noqa: N818  # not an error
    """A request ended before it was answered: its client left, or its time was over."""


class Call:
    """One request while it runs in a thread: whether someone still waits for its answer."""

    def __init__(self) -> None:
        self.dropped = ""  # why the answer is not needed any more
        self.tokens = 0
        self._job: Job | None = None

    def drop(self, reason: str) -> None:
        """Give up the request: rows that wait are not run, and its thread ends."""
        self.dropped = reason
        if self._job is not None:
            self._job.done.set()

    def check(self) -> None:
        """Raise `CallDropped` if the request was given up."""
        if self.dropped:
            raise CallDropped(self.dropped)

    def wait(self, job: "Job") -> list[Output]:
        """Return the outputs of a job once all of its rows have been run."""
        self._job = job
        self.check()
        job.done.wait()
        self.check()
        if job.error is not None:
            raise ModelFailure from job.error
        return job.outputs


class Job:
    """The rows of a request that run together.

    Args:
        call: the request.
        features: the rows.
        keep: what to hold of a row's outputs.
    """

    def __init__(self, call: Call, features: Sequence[Feature], keep: Callable[[Feature, Output], Output]):
        self.call, self.features, self.keep = call, features, keep
        self.outputs: list[Output] = [{}] * len(features)
        self.left = len(features)
        self.error: BaseException | None = None
        self.done = threading.Event()

    def fail(self, error: BaseException) -> None:
        """End the job with an error."""
        self.error = error
        self.done.set()


@dataclass(eq=False)
class Row:
    """One row of a job."""

    job: Job
    place: int

    @property
    def feature(self) -> Feature:
        """The row's ids."""
        return self.job.features[self.place]

    def is_over(self) -> bool:
        """Whether its request has ended."""
        return bool(self.job.call.dropped) or self.job.error is not None


class Batcher:
    """The queue and the worker thread of one network.

    The oldest row is always in the next batch, so that no row waits for ever; the others in it are those of similar
    length. A request that is alone gets the batches that its pipeline would make.

    Args:
        name: of the network.
        backend: the framework.
        model: the framework's own model.
        pad_token_id: fills up shorter rows.
        budget: tokens per batch, padding counted.
        turns: shared by all networks.
        metrics: the server's counters.
    """

    def __init__(
        self, name: str, backend: Backend, model: Any, pad_token_id: int, budget: int, turns: Turns, metrics: Metrics
    ):
        self.name, self.backend, self.model = name, backend, model
        self.pad_token_id, self.budget, self.turns, self.metrics = pad_token_id, budget, turns, metrics
        self.seconds_per_row = 0.0  # a moving average
        self._rows: list[Row] = []
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=f"batches of {name}", daemon=True)

    def start(self) -> None:
        """Start the worker thread."""
        self._thread.start()

    def close(self) -> None:
        """Run what waits, then end the worker thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def run(self, call: Call, features: Sequence[Feature], keep: Callable[[Feature, Output], Output]) -> list[Output]:
        """Return the outputs of rows, as `run_features` does; called in a request's thread, which waits.

        Raises:
            CallDropped: the request was given up.
            ModelFailure: the model failed.
        """
        if not features:
            return []
        call.check()
        job = Job(call, features, keep)
        with self._condition:
            self._rows += [Row(job, place) for place in range(len(features))]
            self._condition.notify()
        return call.wait(job)

    def _work(self) -> None:
        while rows := self._choose():
            if not self._try(rows):
                jobs = list(dict.fromkeys(row.job for row in rows))
                for job in jobs:  # one by one: the others must not fail with the one at fault
                    own = [row for row in rows if row.job is job]
                    if len(jobs) == 1 or not self._try(own):
                        job.fail(self._error)

    def _choose(self) -> list[Row]:
        """Wait for rows and return those of the next batch; none once the batcher is closed."""
        with self._condition:
            while True:
                self._skip()
                if self._rows or self._closed:
                    break
                self._condition.wait()
            if not self._rows:
                return []
            ahead = self._rows[:AHEAD]
            same = [row for row in ahead if _count_choices(row) == _count_choices(ahead[0])]  # a batch is rectangular
            plan = plan_batches([row.feature.tokens() for row in same], self.budget)
            chosen = next(places for places in plan if 0 in places)
            batch = [same[place] for place in chosen]
            gone = set(map(id, batch))
            self._rows = [row for row in self._rows if id(row) not in gone]
            return batch

    def _skip(self) -> None:
        """Remove the rows of requests that have ended."""
        over = [row for row in self._rows if row.is_over()]
        if over:
            self._rows = [row for row in self._rows if not row.is_over()]
            for row in over:
                self.metrics.skipped.labels(self.name, row.job.call.dropped or "failed").inc()

    def _try(self, rows: list[Row]) -> bool:
        """Run a batch; return whether the model succeeded."""
        try:
            with self.turns.take(self.name):
                begin = time.monotonic()
                self._run(rows)
                seconds = time.monotonic() - begin
        except BaseException as error:  # a library in Rust or C++ raises its own kind
            logger.exception("The model %s failed on a batch of %d rows", self.name, len(rows))
            self.metrics.failures.labels(self.name).inc()
            self._error = error
            return False
        self.seconds_per_row += SMOOTHING * (seconds / len(rows) - self.seconds_per_row)
        longest = max(row.feature.tokens() for row in rows)
        tokens = sum(row.feature.tokens() for row in rows)
        self.metrics.observe_batch(self.name, len(rows), tokens, longest * len(rows), seconds)
        for row in rows:
            row.job.left -= 1
            if not row.job.left:
                row.job.done.set()
        return True

    def _run(self, rows: list[Row]) -> None:
        found = run_batch(self.backend, self.model, [row.feature for row in rows], self.pad_token_id)
        for row, output in zip(rows, found, strict=True):
            row.job.outputs[row.place] = row.job.keep(row.feature, output)


def _count_choices(row: Row) -> int:
    """Return the number of a row's choices; 0 if it has none."""
    return len(row.feature.ids) if row.feature.has_choices() else 0
