"""Commands that several processes run together: how they join, and which of them reports an error."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from roberta_core.cli.frameworks import load_backend
from roberta_core.cli.terminal import EarlyExit

if TYPE_CHECKING:
    from roberta_core.training.processes import Processes

FAILED, INTERRUPTED = 1, 130

DISTRIBUTED = Annotated[
    bool,
    typer.Option(
        "--distributed",
        help="For Flax: share each batch among all devices that JAX sees, on all hosts. PyTorch (torchrun) and "
        "TensorFlow (TF_CONFIG) find their processes without this option.",
    ),
]
SHARDING = Annotated[
    Literal["fsdp"] | None,
    typer.Option(
        help="With torchrun: fsdp shards the parameters, gradients and moments across the processes (PyTorch's FSDP2). "
        "Checkpoints are the same, and a run resumes with or without this option.",
    ),
]


@contextmanager
def share_run(framework: str, device: str, distributed: bool, sharding: str | None = None) -> Iterator[Any]:
    """Join the other processes of a training run, if there are any; of errors that several have, one is reported.

    Args:
        framework: the framework to train with.
        device: the device to train on.
        distributed: whether several devices or processes are requested.
        sharding: "fsdp" if the processes share out what is trained.

    Yields:
        The backend that has joined the processes; None if this is the only one.

    Raises:
        ValueError: the processes cannot be joined.
        EarlyExit: another process reports the error.
    """
    from roberta_core.training.processes import check_launcher, check_sharding, find_processes

    check_sharding(framework, sharding or "", os.environ)
    if not check_launcher(framework, distributed, os.environ):
        yield None
        return
    backend = load_backend(framework, device, join=True)
    processes = find_processes(backend)
    try:
        _share_out(processes, framework, bool(sharding))
        with report_once(processes):
            yield backend
            processes.is_training = False
            processes.meet()
    except EarlyExit as end:
        if end.status == FAILED or framework == "pt":  # else a signal has stopped all together
            _exit_at_once(processes, end.status)
        raise
    except BaseException as error:
        _exit_at_once(processes, INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED)
        raise
    processes.close()
    if framework == "pt":  # threads of PyTorch's gloo, which outlive the group, abort about one of thirty exits
        _exit_at_once(processes, 0)


def _share_out(processes: Processes, framework: str, sharded: bool) -> None:
    """Have the processes share out the state of training; `ValueError` in all unless all have the option."""
    if framework != "pt":
        return
    (count,) = processes.sum([float(sharded)])
    if count not in (0, processes.count):
        raise ValueError(
            f"only {count:.0f} of the {processes.count} processes have --sharding fsdp: all or none need it"
        )
    processes.sharded = sharded


def _exit_at_once(processes: Processes, status: int) -> None:
    """Let this process end, once Python exits, without what frameworks do then, such as waiting for the others."""

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    if processes.count > 1:
        atexit.register(leave)  # called before what was registered earlier


@contextmanager
def report_once(processes: Processes) -> Iterator[None]:
    """Let the first of the processes that fail in the block report its error; the others end without a message.

    An error of the training loop reaches this block only in the process that has to report it.
    """
    from roberta_core.training.processes import Ended, LostProcessError

    try:
        yield
    except EarlyExit:  # a signal has stopped all processes
        processes.close()
        raise
    except Ended:
        raise EarlyExit("", FAILED) from None
    except KeyboardInterrupt:
        if processes.is_first:
            raise
        raise EarlyExit("", INTERRUPTED) from None
    except LostProcessError:
        raise
    except Exception as error:
        if processes.is_training:
            raise
        try:
            processes.meet(failed=True)
        except Ended:
            raise EarlyExit("", FAILED) from None
        except LostProcessError:
            pass
        raise error
