"""TensorFlow as the core sees it."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import roberta_tf
from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput
from roberta_tf.weights import assign, tensors


class TensorFlowBackend:
    """Models of `roberta_tf`, from NumPy to NumPy."""

    name = "tf"
    title = "TensorFlow"

    @property
    def version(self) -> str:
        """TensorFlow's version."""
        return tf.__version__

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """The model of a checkpoint."""
        return self._class(architecture).from_pretrained(source, **settings)

    def from_tensors(
        self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray], **settings: Any
    ) -> Any:
        """A model with the tensors given by their published names."""
        model = self._class(architecture)(config, seed=None, **settings)
        assign(model, tensors.items())
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters by their published names."""
        return dict(tensors(model))

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """A forward pass without dropout or gradients."""
        output = model(dict(inputs), **options, training=False)
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), output)

    def tensor(self, array: np.ndarray) -> tf.Tensor:
        """A tensor of a copy of the array."""
        return tf.convert_to_tensor(array)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_tf, f"TFRoberta{architecture}")


BACKEND = TensorFlowBackend()
