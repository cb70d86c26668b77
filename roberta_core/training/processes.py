"""Data-parallel training: several processes train one model, each on its rows of every global batch.

Every process builds the same global batches, whatever their number, and computes the gradients of its own rows. The
loss of a step is the sum over all processes divided by the number of labels of the global batch. Process 0 also
evaluates, and is the only one that writes the log, the checkpoints and the model.

A framework supplies `sum_arrays`; everything else that the processes exchange is built on it.
"""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.training.training_checkpoint import UNFINISHED, State, TrainingError

CLAIM = f"stopped{UNFINISHED}"  # in the folder of a run; the process that makes it reports why the run stopped


class LostProcessError(TrainingError):
    """Another process of the run has ended."""


class Ended(Exception):  # noqa: N818  # the error is reported by another process
    """Ends a process because of an error that another process reports."""


class Processes:
    """The processes that share a run; this class itself is the single process of an ordinary run.

    Args:
        index: the number of this process, counted from 0.
        count: the number of processes.
        devices: the number of devices that each process trains on, which share its rows.
    """

    is_training = False  # whether the training loop runs, whose steps exchange gradients
    sharded = False  # whether each keeps a part of the trained state, so that all take part when it is read

    def __init__(self, index: int = 0, count: int = 1, devices: int = 1):
        self.index, self.count, self.devices = index, count, devices

    @property
    def is_first(self) -> bool:
        """Whether this is process 0, which evaluates and writes files."""
        return self.index == 0

    @property
    def shard(self) -> tuple[int, int]:
        """The number of this process, and the number of processes."""
        return self.index, self.count

    def sum_arrays(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of float64 values [N] over all processes."""
        return values

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error of the framework means that another process has ended."""
        return False

    def close(self) -> None:
        """Leave the group of processes."""

    # What is built on it

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums of some numbers over all processes.

        Raises:
            LostProcessError: another process has ended.
        """
        if self.count == 1:
            return list(values)
        with self.watch():
            return self.sum_arrays(np.array(values, np.float64)).tolist()

    def wait(self) -> None:
        """Wait until all processes call this."""
        self.sum([0.0])

    def broadcast(self, value: Any) -> Any:
        """Return process 0's value, which is written as JSON in between; the values of the others are ignored."""
        if self.count == 1:
            return value
        data = json.dumps(value).encode() if self.is_first else b""
        (size,) = self.sum([len(data)])
        padded = data if self.is_first else bytes(int(size))
        return json.loads(bytes(map(int, self.sum(list(padded)))))

    def check_batch_size(self, size: int) -> None:
        """Raise `ValueError` unless all devices get the same number of rows of a batch."""
        parts = self.count * self.devices
        if size % parts:
            what = "processes" if self.devices == 1 else "devices"
            raise ValueError(
                f"batch_size is {size}, which {parts} {what} cannot share equally: use a multiple of {parts}, or "
                f"another number of {what}"
            )

    def check_agreement(self, facts: Any, state: State | None = None) -> None:
        """Check that all processes start from the same settings, data and weights.

        Args:
            facts: the settings and the data.
            state: the weights and moments, if each process has all of them.

        Raises:
            TrainingError: one of them differs; raised in every process.
        """
        if self.count == 1:
            return
        own = json.loads(json.dumps(facts)) | ({} if state is None else {"weights": compute_digest(state)})
        given = self.broadcast(own)
        names = sorted(own)
        differs = self.sum([float(own[name] != given[name]) for name in names])
        if any(differs):
            found = ", ".join(name for name, number in zip(names, differs, strict=True) if number)
            raise TrainingError(
                f"the {self.count} processes do not start from the same {found}: they need the same arguments, files "
                "and output folder"
            )

    # How they stop together

    def meet(self, failed: bool = False) -> bool:
        """Wait for all processes outside of training, and tell them whether this one has failed.

        Returns:
            Whether this process is the first of those that failed, and has to report its error.

        Raises:
            Ended: another process failed.
        """
        if self.count == 1:
            return failed
        failures = self.sum([float(failed and number == self.index) for number in range(self.count)])
        if not any(failures):
            return False
        if failures.index(1.0) != self.index:
            raise Ended(f"process {failures.index(1.0)} failed")
        return True

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Have process 0 run a block before the others do: what it writes, they find."""
        if not self.is_first:
            self.meet()
        yield
        if self.is_first:
            self.meet()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Turn the framework's error for a lost connection into `LostProcessError`."""
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:
            if self.count > 1 and self.is_loss(error):
                raise LostProcessError(f"another of the {self.count} processes has ended") from error
            raise

    @contextmanager
    def train(self, folder: Path, describe: Callable[[], str]) -> Iterator[None]:
        """Run the training loop as the block; of several processes that end with an error, one reports it.

        Args:
            folder: the folder of the run, which all processes share.
            describe: returns how to go on after the loss of a process.

        Raises:
            Ended: another process reports the error.
        """
        self.is_training = True
        try:
            with self.watch():
                yield
        except Exception as error:
            if not self._claim(folder):
                raise Ended(str(error)) from error
            if isinstance(error, LostProcessError):
                raise LostProcessError(f"{error}. {describe()}") from error
            raise
        self.is_training = False

    def _claim(self, folder: Path) -> bool:
        """Whether this process is the first to stop with an error; the folder is removed when the run resumes."""
        if self.count == 1:
            return True
        try:
            (folder / CLAIM).mkdir()
        except FileExistsError:
            return False
        except OSError:
            return True
        return True


ALONE = Processes()


def find_processes(backend: Any) -> Processes:
    """Return the processes that a backend has joined, or the single process."""
    return getattr(backend, "processes", None) or ALONE


def draw_seed(*numbers: int) -> int:
    """Return a seed of 63 bits, such as that of the dropout of a process in a step."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def find_launcher(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """Return which framework's launcher has started this process among several, and how many; else None.

    Raises:
        ValueError: the variables of the launcher are wrong.
    """
    return next((found for read in (_read_world_size, _read_tf_config) if (found := read(environment))), None)


def check_launcher(framework: str, distributed: bool, environment: Mapping[str, str]) -> bool:
    """Return whether a run has to join other processes or devices.

    Args:
        framework: the framework to train with.
        distributed: whether this was requested.
        environment: the environment variables.

    Raises:
        ValueError: the processes were started for another framework, or the framework needs a launcher.
    """
    found = find_launcher(environment)
    if found is not None and found[0] != framework:
        variable, needed = HOW[found[0]], HOW.get(framework, "a single process")
        raise ValueError(
            f"{variable} has started {found[1]} processes for --framework {found[0]}, not for {framework}, which needs "
            f"{needed}"
        )
    if found is None and distributed and framework != "flax":
        raise ValueError(f"--distributed: --framework {framework} needs {HOW.get(framework, 'a single process')}")
    return found is not None or distributed


def check_sharding(framework: str, sharding: str, environment: Mapping[str, str]) -> None:
    """Raise `ValueError` if the processes cannot share out the state of a run as `sharding` says (empty: not)."""
    if sharding and framework != "pt":
        raise ValueError(f"--sharding {sharding} is for --framework pt, not for {framework}")
    if sharding and find_launcher(environment) is None:
        raise ValueError(
            f"--sharding {sharding} shares the state of a run out among processes: start at least two with torchrun"
        )


# How several processes are started for a framework.
HOW = {
    "pt": "torchrun (WORLD_SIZE in the environment)",
    "tf": "TF_CONFIG in the environment",
    "flax": "--distributed",
}


def _read_world_size(environment: Mapping[str, str]) -> tuple[str, int] | None:
    text = environment.get("WORLD_SIZE", "1")
    if not text.isdecimal():
        raise ValueError(f"WORLD_SIZE in the environment is {text!r}; it must be a number of processes")
    return ("pt", int(text)) if int(text) > 1 else None


def _read_tf_config(environment: Mapping[str, str]) -> tuple[str, int] | None:
    if "TF_CONFIG" not in environment:
        return None
    try:
        found = json.loads(environment["TF_CONFIG"])
        workers, kind, index = found["cluster"]["worker"], found["task"]["type"], int(found["task"]["index"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            'TF_CONFIG in the environment must be like {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            '"worker", "index": 0}}'
        ) from None
    if kind != "worker" or not 0 <= index < len(workers):
        raise ValueError(f"TF_CONFIG names task {kind} {index}; it must be one of the {len(workers)} workers")
    return ("tf", len(workers)) if len(workers) > 1 else None


def compute_digest(state: State) -> int:
    """Return a checksum of the weights and moments of a state."""
    digest = 0
    for part in (state.tensors, state.first_moments, state.second_moments):
        for name in sorted(part):
            digest = zlib.crc32(np.ascontiguousarray(part[name]).data, digest)
    return digest
