"""PyTorch's backend for the core."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch.utils._pytree import tree_map

import roberta_pt
from roberta_core.backend import freeze_model, select_device
from roberta_core.config import RobertaConfig
from roberta_core.frozen import unwrap
from roberta_core.outputs import ModelOutput
from roberta_pt.frozen import FrozenModel, describe_path
from roberta_pt.interop import list_devices
from roberta_pt.products import find_packing_obstacle
from roberta_pt.weights import assign, from_numpy, tensors, to_numpy

if TYPE_CHECKING:
    from roberta_core.training.processes import Processes
    from roberta_core.training.recipe import Recipe


class PyTorchBackend:
    """Models of `roberta_pt`, from NumPy to NumPy."""

    name = "pt"
    title = "PyTorch"
    device = ""  # of new models; empty for the CPU
    processes: Processes | None = None  # those that share training, once joined

    @property
    def version(self) -> str:
        """PyTorch's version."""
        return torch.__version__

    def on(self, device: str) -> Self:
        """Return this backend with its models on a device; raise `BackendError` if the framework does not see it."""
        chosen = copy.copy(self)
        chosen.device = select_device(self.title, device, list_devices())
        return chosen

    def join(self, device: str) -> Self:
        """Join the processes or devices that share training; raise `ValueError` if that fails."""
        from roberta_pt.processes import join_processes

        joined = self.on(device)
        joined.processes, joined.device = join_processes(joined.device)
        return joined

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """Return the model of a checkpoint."""
        loaded: Any = self._class(architecture).from_pretrained(source, **settings)
        self._place(loaded[0] if isinstance(loaded, tuple) else loaded)
        return loaded

    def from_tensors(
        self,
        architecture: str,
        config: RobertaConfig,
        tensors: Mapping[str, np.ndarray],
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> Any:
        """Return a model in eval mode with tensors by their published names, rounded to `precision`."""
        model = self._class(architecture)(config, seed=None, **settings)
        assign(model, tensors.items())
        model.tie_weights()
        self._place(model)
        return model.eval() if precision == "float32" else model.to(getattr(torch, precision)).eval()

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by their published names."""
        return dict(tensors(unwrap(model)))

    def freeze(self, model: Any) -> Any:
        """Return `model.frozen()`; the model itself if its results would differ, which is logged."""
        return freeze_model(model)

    def describe_runtime(self) -> str:
        """Return how frozen models compute on this machine, and why."""
        return describe_path(find_packing_obstacle())

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """Run a forward pass without dropout or gradients; the inputs go to the device of the model."""
        frozen = isinstance(model, FrozenModel)
        unwrap(model).eval()
        more = {"skip_padding": True, **options} if frozen else options
        with torch.no_grad():
            output = model(**_to_device(model, inputs), **more)
        return tree_map(to_numpy, output)

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradients of a weighted sum of outputs, by the parameters' published names."""
        output = model.eval()(**_to_device(model, inputs))
        weighted = _to_device(model, {name: np.asarray(weight) for name, weight in weights.items()})
        parts = [(output[name] * weight).sum() for name, weight in weighted.items()]
        names, values = zip(*model.named_parameters(), strict=True)
        found = torch.autograd.grad(parts, values, materialize_grads=True, allow_unused=True)
        return dict(zip(names, map(to_numpy, found), strict=True))

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return a tensor of an array, in its memory if that is writable."""
        return from_numpy(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """Return the trainer of a model; its module is imported here."""
        from roberta_core.training.processes import find_processes
        from roberta_pt.training import Trainer

        return Trainer(model, recipe, find_processes(self))

    def _place(self, model: Any) -> None:
        if self.device:
            model.to(self.device)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_pt, f"Roberta{architecture}")


def _to_device(model: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return tree_map(lambda array: from_numpy(array).to(model.device), dict(arrays))


BACKEND = PyTorchBackend()
