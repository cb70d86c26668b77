"""Processes that train one model together in PyTorch: those that torchrun starts, with DDP."""

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from roberta_core.data.batches import Batch
from roberta_core.training.processes import Processes
from roberta_pt.sharding import shard_loss

JOINING = timedelta(minutes=5)  # in which all processes must have started
EXCHANGE = timedelta(days=1)  # a process that dies is noticed at once; one that evaluates is waited for
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|peer|broken pipe", re.IGNORECASE)


class DistributedProcesses(Processes):
    """The processes of a launcher, joined by `torch.distributed`."""

    def sum_arrays(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of float64 values [N] over all processes."""
        total = torch.tensor(values)
        dist.all_reduce(total)
        return total.numpy()

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error of the framework means that another process has ended."""
        if isinstance(error, torch.OutOfMemoryError) or not isinstance(error, RuntimeError):
            return False
        return isinstance(error, dist.DistError) or bool(LOST.search(str(error)))

    def close(self) -> None:
        """Leave the group of processes."""
        dist.destroy_process_group()


def join_processes(device: str) -> tuple[Processes, str]:
    """Join the processes that a launcher such as torchrun has started.

    Args:
        device: the device of models, such as "cpu" or "cuda:0".

    Returns:
        The processes, and the device of this one: each process of a machine has a GPU of its own.

    Raises:
        ValueError: a variable of the launcher is missing, a GPU is missing, or not all processes have started.
    """
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise ValueError(f"WORLD_SIZE is set, but not {', '.join(missing)}: start the processes with torchrun")
    device = _choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    try:
        store, index, count = next(rendezvous("env://", timeout=JOINING))
        store.set(f"joined/{index}", "")
        store.wait([f"joined/{number}" for number in range(count)], JOINING)
        backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(backend, store=store, rank=index, world_size=count, timeout=EXCHANGE)
    except dist.DistError as error:
        raise ValueError(_describe_failure(error)) from error
    return DistributedProcesses(index, count), device


def sum_tensor(processes: Processes, tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if processes.count > 1:
        dist.all_reduce(tensor)
    return tensor


class SharedLoss(nn.Module):
    """The loss of a model, as a module whose gradients `DistributedDataParallel` or FSDP2 exchanges.

    Args:
        model: the model.
        compute: returns the loss of a batch.
        processes: the processes that share each batch.
    """

    def __init__(self, model: nn.Module, compute: Callable[[Batch], Tensor], processes: Processes):
        super().__init__()
        self.model, self.compute, self.count = model, compute, processes.count

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a micro-batch, times the number of processes: both divide the gradients by it."""
        return self.compute(batch) * self.count


def share_gradients(
    model: Any, compute: Callable[[Batch], Tensor], processes: Processes
) -> tuple[Callable[[Batch], Tensor], Callable[[], AbstractContextManager[Any]]]:
    """Return a function of the loss whose gradients are summed over the processes.

    The second function returns a context in which they are not: for all micro-batches of a step but the last.
    """
    if processes.count == 1:
        return compute, nullcontext
    loss = SharedLoss(model, compute, processes)
    if processes.sharded:
        return shard_loss(loss, model.device.type, processes), nullcontext  # gradients stay whole until they are summed
    # The buckets stay as they are if unused parameters are searched: a resumed run then adds in the same order.
    shared = DistributedDataParallel(loss, find_unused_parameters=True, gradient_as_bucket_view=True)
    return shared, shared.no_sync


def _choose_device(device: str, local: int) -> str:
    if device.startswith("mps"):
        raise ValueError("several processes cannot train on mps: use --device cpu, or start one process")
    if not device.startswith("cuda"):
        return device
    if local >= (count := torch.cuda.device_count()):
        raise ValueError(
            f"process {local} of this machine has no GPU: PyTorch sees {count}. Start at most {count} processes on it "
            "(--nproc-per-node), or use --device cpu"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _describe_failure(error: Exception) -> str:
    index, count = os.environ["RANK"], os.environ["WORLD_SIZE"]
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    text = str(error)
    if "EADDRINUSE" in text or "in use" in text:
        return f"the port {os.environ['MASTER_PORT']} is in use on this machine: set another MASTER_PORT"
    if "imeout" in text or "timed out" in text:
        minutes = JOINING.seconds // 60
        return f"process {index}: not all of the {count} processes have joined at {place} within {minutes} minutes"
    return f"process {index} of {count} cannot join the others at {place}: {text}"
