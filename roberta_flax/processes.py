"""Devices and processes that train one model together in Flax: `jax.distributed`, and a mesh over all devices."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from roberta_core.training.processes import Processes

JOINING = 300  # seconds in which all processes must have started
AXIS = "data"  # of the mesh: the rows of a batch are divided along it
COORDINATOR, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|peer|unavailable|heartbeat", re.IGNORECASE)


class DistributedProcesses(Processes):
    """The processes of `jax.distributed`, or a single one, with all their devices.

    Args:
        mesh: all devices of all processes.
    """

    def __init__(self, mesh: Mesh):
        super().__init__(jax.process_index(), jax.process_count(), len(mesh.local_devices))
        self.mesh = mesh

    def sum_arrays(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of float64 values [N] over all processes."""
        words = multihost_utils.process_allgather(values.view(np.uint32))  # JAX has no float64 by default
        return np.ascontiguousarray(words).view(np.float64).sum(axis=0)

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error of the framework means that another process has ended."""
        return isinstance(error, jax.errors.JaxRuntimeError) and bool(LOST.search(str(error)))

    def close(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            jax.distributed.shutdown()


def join_processes() -> None:
    """Join the processes that share training, if there are several; before JAX uses a device.

    Raises:
        ValueError: a variable is wrong, or not all processes have started.
    """
    try:
        jax.distributed.initialize(**_read_environment(), initialization_timeout=JOINING)
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise
    except RuntimeError as error:
        raise ValueError(_describe_failure(error)) from error


def build_processes(platform: str) -> Processes:
    """Return the processes that have been joined, with all their devices of a platform such as "cpu"."""
    devices = sorted(jax.devices(platform), key=lambda device: (device.process_index, device.id))
    processes = DistributedProcesses(Mesh(np.array(devices), (AXIS,)))
    if processes.count > 1:
        with _hold_back_stdout():  # gloo prints a line when it connects
            processes.wait()
            place = Placement(processes, None)
            jax.block_until_ready(jnp.sum(place.shard(np.zeros(processes.devices, np.float32))))
    return processes


class Placement:
    """Where the arrays of a trainer lie: on one device, or on all devices of a mesh.

    Args:
        processes: the processes that share each batch.
        device: the device if there is no mesh, or None if JAX chooses it.
    """

    def __init__(self, processes: Processes, device: Any):
        self.mesh: Mesh | None = getattr(processes, "mesh", None)
        self.device, self.count = device, processes.count

    def replicate(self, tree: Any) -> Any:
        """Return copies of arrays that lie on the device, or on all devices of the mesh."""
        if self.mesh is None:
            return jax.device_put(tree, self.device)
        whole = NamedSharding(self.mesh, PartitionSpec())
        placed = jax.tree.map(lambda value: jax.make_array_from_process_local_data(whole, np.asarray(value)), tree)
        return _copy(placed)  # devices of one CPU may have borrowed the same memory, which a step cannot own

    def shard(self, arrays: Any) -> Any:
        """Return the arrays of all processes as one, whose rows are divided among all devices."""
        assert self.mesh is not None
        rows = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.tree.map(lambda array: jax.make_array_from_process_local_data(rows, array), arrays)

    def localize(self, tree: Any) -> Any:
        """Return replicated arrays on one device of this process, not copied."""
        return tree if self.mesh is None else jax.tree.map(lambda value: value.addressable_data(0), tree)


@contextmanager
def _hold_back_stdout() -> Iterator[None]:
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


def _read_environment() -> dict[str, Any]:
    """Return the arguments of `jax.distributed.initialize` by the environment; none for JAX to find a cluster."""
    found = {name: os.environ[name] for name in (COORDINATOR, COUNT, INDEX) if os.environ.get(name)}
    if not found:
        return {}
    missing = [name for name in (COORDINATOR, COUNT, INDEX) if name not in found]
    if missing:
        raise ValueError(f"{', '.join(found)} is set, but not {', '.join(missing)}")
    if not found[COUNT].isdecimal() or not found[INDEX].isdecimal() or int(found[INDEX]) >= int(found[COUNT]):
        raise ValueError(
            f"{INDEX} is {found[INDEX]!r} of {COUNT} {found[COUNT]!r}; it must be a number from 0 below it"
        )
    if int(found[INDEX]) == 0:
        _check_port(found[COORDINATOR])
    return {
        "coordinator_address": found[COORDINATOR],
        "num_processes": int(found[COUNT]),
        "process_id": int(found[INDEX]),
    }


def _check_port(place: str) -> None:
    """Raise `ValueError` if process 0 cannot listen where the others look for it: JAX itself may crash then."""
    port = place.rpartition(":")[2]
    if not port.isdecimal():
        raise ValueError(f"{COORDINATOR} is {place!r}; it must be a host and a port, such as host0:29500")
    try:
        socket.create_server(("", int(port))).close()
    except OSError:
        raise ValueError(f"the port of {place} is in use on this machine: set another {COORDINATOR}") from None


def _describe_failure(error: Exception) -> str:
    place, text = os.environ.get(COORDINATOR, "the coordinator"), str(error)
    if "must be called before" in text:
        return "the processes must be joined before JAX uses a device: start `roberta` as a command of its own"
    if "DEADLINE_EXCEEDED" in text or "timed out" in text.lower():
        return f"not all processes have joined at {place} within {JOINING // 60} minutes"
    return f"the other processes at {place} cannot be joined: {text}"
