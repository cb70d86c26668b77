"""Sharding with FSDP2: each process keeps a part of the parameters, gradients and moments that are trained.

What is trained is a copy of the model. A layer's parameters are whole only while the layer computes.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from roberta_core.training.processes import Processes
from roberta_pt.encoder import Layer


def copy_model(model: Any, processes: Processes) -> Any:
    """Return the model to train: a copy if processes share its state out, else `model` itself."""
    return copy.deepcopy(model) if processes.sharded else model


def shard_loss(
    loss: Any, device: str, processes: Processes
) -> tuple[Callable[[Any], Tensor], Callable[[], AbstractContextManager[None]]]:
    """Shard the parameters of a loss and its model, in place; its gradients are summed over the processes and sharded.

    Args:
        loss: the loss as a module: the mean over the processes of what it returns is the loss.
        device: the type of the device.
        processes: the processes, which all call this.

    Returns:
        The loss, and a function that returns a context in which gradients are not summed.
    """
    # A layer returns its keys and values as views, which nothing writes to.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    mesh = init_device_mesh(device, (processes.count,))
    for module in [module for module in loss.modules() if isinstance(module, Layer)]:
        fully_shard(module, mesh=mesh)
    fully_shard(loss, mesh=mesh)

    @contextmanager
    def keep_gradients() -> Iterator[None]:
        loss.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            loss.set_requires_gradient_sync(True)

    return loss, keep_gradients


def gather(tensor: Tensor) -> Tensor:
    """Return a whole tensor; all processes call this, for the same tensors in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def get_own_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, in its memory; the tensor if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def divide(tensor: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a tensor that all processes have, if `like` is sharded, else the tensor."""
    if not isinstance(like, DTensor):
        return tensor
    placed = tensor.to(like.device)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy the parameters of a model that is sharded into one that is whole; all processes call this."""
    found = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.copy_(gather(found[name]))
