"""Sharding with FSDP2: each process keeps a part of the parameters, gradients and moments that are trained.

What is trained is a copy of the model. A layer's parameters are whole only while the layer computes.
"""

import copy
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from roberta_core.training.processes import Processes
from roberta_pt.encoder import Layer


def copy_model(model: Any, processes: Processes) -> Any:
    """Return the model to train: a copy with process 0's parameters if processes share it out, else `model` itself."""
    if not processes.sharded:
        return model
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        dist.broadcast(parameter.detach(), 0)
    return copied


def shard_loss(loss: nn.Module, device: str, processes: Processes) -> nn.Module:
    """Shard the parameters of a loss and its model, in place; its gradients are averaged and sharded in each backward.

    Args:
        loss: the loss as a module: the mean over the processes of what it returns is the loss.
        device: the type of the device.
        processes: the processes, which all call this.

    Returns:
        The loss.
    """
    from torch.distributed.device_mesh import init_device_mesh  # the imports of sharding take half a second
    from torch.distributed.fsdp import fully_shard

    # A layer returns its keys and values as views, which nothing writes to.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    mesh = init_device_mesh(device, (processes.count,))
    for module in [module for module in loss.modules() if isinstance(module, Layer)]:
        fully_shard(module, mesh=mesh)
    fully_shard(loss, mesh=mesh)
    return loss


def is_sharded(tensor: Any) -> bool:
    """Whether a tensor is a `DTensor`, a part of one that processes share."""
    return hasattr(tensor, "full_tensor")


def gather(tensor: Any) -> Tensor:
    """Return a whole tensor; all processes call this, for the same tensors in the same order."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def get_own_part(tensor: Any) -> Tensor:
    """Return this process's part of a tensor, in its memory; the tensor if it is whole."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def divide(tensor: Tensor, like: Any) -> Tensor:
    """Return this process's part of a tensor that all processes have, if `like` is sharded, else the tensor."""
    if not is_sharded(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    placed = tensor.to(like.device)
    return distribute_tensor(placed, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy the parameters of a model that is sharded into one that is whole; all processes call this."""
    found = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.copy_(gather(found[name]))
