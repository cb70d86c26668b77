"""The backends for the core: ONNX Runtime and OpenVINO, on the same graphs. They run models and do not train."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, NoReturn, Self

import numpy as np

from roberta_core.backend import BackendError, select_device
from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput
from roberta_onnx.models import CLASSES
from roberta_onnx.runtimes import RUNTIMES, Runtime, describe_path


class OnnxBackend:
    """Models of `roberta_onnx`, from NumPy to NumPy.

    Args:
        runtime: What runs the graphs.
    """

    device = ""  # of new models: always the CPU

    def __init__(self, runtime: Runtime):
        self.runtime, self.name, self.title = runtime, runtime.name, runtime.title

    @property
    def version(self) -> str:
        """The runtime's version."""
        return self.runtime.version

    def on(self, device: str) -> Self:
        """Return this backend with its models on a device; raise `BackendError` unless it is the CPU."""
        chosen = copy.copy(self)
        chosen.device = select_device(self.title, device, ["cpu"])
        return chosen

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """Return the model of a checkpoint, or of an exported graph."""
        return CLASSES[architecture].from_pretrained(source, runtime=self.name, **settings)

    def from_tensors(
        self,
        architecture: str,
        config: RobertaConfig,
        tensors: Mapping[str, np.ndarray],
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> Any:
        """Return a model with tensors by their published names, which computes in `precision`."""
        model: Any = CLASSES[architecture](config, seed=None, runtime=self.name, dtype=precision, **settings)
        model._assign(tensors.items())
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by their published names."""
        return dict(model._get_tensors())

    def freeze(self, model: Any) -> Any:
        """Return the model: its graph is compiled for inference already."""
        return model

    def describe_runtime(self) -> str:
        """Return how models compute on this machine."""
        return describe_path(self.runtime, "float32")

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """Run a forward pass."""
        return model(**inputs, **options)

    def gradients(self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]) -> NoReturn:
        """Raise `BackendError`: there are no gradients."""
        raise BackendError(f"{self.title} computes no gradients: use pt, tf or flax")

    def tensor(self, array: np.ndarray) -> np.ndarray:
        """Return the array: the runtimes take NumPy's."""
        return array

    def trainer(self, model: Any, recipe: Any) -> NoReturn:
        """Raise `BackendError`: there is no training."""
        raise BackendError(f"{self.title} runs models, but cannot train them: use pt, tf or flax")


ONNX = OnnxBackend(RUNTIMES["onnx"])
OPENVINO = OnnxBackend(RUNTIMES["openvino"])
