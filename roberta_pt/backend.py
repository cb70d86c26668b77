"""PyTorch as the core sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

import roberta_pt
from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput
from roberta_pt.weights import assign, from_numpy, tensors, to_numpy

if TYPE_CHECKING:
    from roberta_core.training.recipe import Recipe


class PyTorchBackend:
    """Models of `roberta_pt`, from NumPy to NumPy."""

    name = "pt"
    title = "PyTorch"

    @property
    def version(self) -> str:
        """PyTorch's version."""
        return torch.__version__

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """The model of a checkpoint."""
        return self._class(architecture).from_pretrained(source, **settings)

    def from_tensors(
        self,
        architecture: str,
        config: RobertaConfig,
        tensors: Mapping[str, np.ndarray],
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> Any:
        """A model in eval mode with the tensors by their published names, rounded to a `precision` below float32."""
        model = self._class(architecture)(config, seed=None, **settings)
        assign(model, tensors.items())
        model.tie_weights()
        return model.eval() if precision == "float32" else model.to(getattr(torch, precision)).eval()

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters by their published names."""
        return dict(tensors(model))

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """A forward pass without dropout or gradients."""
        with torch.no_grad():
            output = model.eval()(**tree_map(from_numpy, dict(inputs)), **options)
        return tree_map(to_numpy, output)

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of a weighted sum of outputs, by the parameters' published names."""
        output = model.eval()(**tree_map(from_numpy, dict(inputs)))
        parts = [(output[name] * from_numpy(np.asarray(weight))).sum() for name, weight in weights.items()]
        names, values = zip(*model.named_parameters(), strict=True)
        found = torch.autograd.grad(parts, values, materialize_grads=True, allow_unused=True)
        return dict(zip(names, map(to_numpy, found), strict=True))

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """A tensor of an array, in its memory where that can be written to."""
        return from_numpy(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """The training steps of a model; the module is loaded when it is asked for."""
        from roberta_pt.training import Trainer

        return Trainer(model, recipe)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_pt, f"Roberta{architecture}")


BACKEND = PyTorchBackend()
