"""TensorFlow as the core sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

import roberta_tf
from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput
from roberta_tf.weights import assign, tensors, to_published, variables

if TYPE_CHECKING:
    from roberta_core.training.recipe import Recipe


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
        self,
        architecture: str,
        config: RobertaConfig,
        tensors: Mapping[str, np.ndarray],
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> Any:
        """A model with the tensors given by their published names, under Keras's mixed policy of `precision`."""
        policy = {} if precision == "float32" else {"dtype": f"mixed_{precision}"}
        model = self._class(architecture)(config, seed=None, **{**policy, **settings})
        assign(model, tensors.items())
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters by their published names."""
        return dict(tensors(model))

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """A forward pass without dropout or gradients."""
        output = model(dict(inputs), **options, training=False)
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), output)

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of a weighted sum of outputs, by the parameters' published names."""
        named = dict(variables(model))
        found = _gradients(model, inputs, weights, list(named.values()))
        return dict(to_published(model, zip(named, found, strict=True)))

    def tensor(self, array: np.ndarray) -> tf.Tensor:
        """A tensor of a copy of the array."""
        return tf.convert_to_tensor(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """The training steps of a model; the module is loaded when it is asked for."""
        from roberta_tf.training import Trainer

        return Trainer(model, recipe)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_tf, f"TFRoberta{architecture}")


def _gradients(model: Any, inputs: Mapping[str, Any], weights: Mapping[str, Any], values: list[Any]) -> list[tf.Tensor]:
    """The gradients of a weighted sum of outputs by some variables, each as one tensor."""
    with tf.GradientTape() as tape:
        output = model(dict(inputs), training=False)
        total = tf.add_n([tf.reduce_sum(output[name] * weight) for name, weight in weights.items()])
    found = tape.gradient(
        total, [variable.value for variable in values], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [tf.convert_to_tensor(gradient) for gradient in found]


BACKEND = TensorFlowBackend()
