"""TensorFlow's backend for the core."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import tensorflow as tf

import roberta_tf
from roberta_core.backend import freeze_model, select_device
from roberta_core.config import RobertaConfig
from roberta_core.frozen import unwrap
from roberta_core.outputs import ModelOutput
from roberta_tf.frozen import describe_path, find_fusion_obstacle
from roberta_tf.weights import assign, tensors, to_published, variables

if TYPE_CHECKING:
    from roberta_core.training.processes import Processes
    from roberta_core.training.recipe import Recipe


class TensorFlowBackend:
    """Models of `roberta_tf`, from NumPy to NumPy."""

    name = "tf"
    title = "TensorFlow"
    _place: str | None = None  # TensorFlow's name of the device
    device = ""  # of new models; empty for TensorFlow's choice
    processes: Processes | None = None  # those that share training, once joined

    @property
    def version(self) -> str:
        """TensorFlow's version."""
        return tf.__version__

    def on(self, device: str) -> Self:
        """Return this backend with its models on a device; raise `BackendError` if the framework does not see it."""
        chosen, seen = copy.copy(self), _list_devices()
        chosen.device = select_device(self.title, device, list(seen))
        chosen._place = seen[chosen.device]
        return chosen

    def join(self, device: str) -> Self:
        """Join the processes or devices that share training; raise `ValueError` if that fails."""
        from roberta_tf.processes import join_processes

        processes = join_processes()
        joined = self.on(device)
        joined.processes = processes
        return joined

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """Return the model of a checkpoint."""
        with self._scope():
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
        """Return a model with tensors by their published names, under Keras's mixed policy of `precision`."""
        policy = {} if precision == "float32" else {"dtype": f"mixed_{precision}"}
        with self._scope():
            model = self._class(architecture)(config, seed=None, **{**policy, **settings})
            assign(model, tensors.items())
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by their published names."""
        return dict(tensors(unwrap(model)))

    def freeze(self, model: Any) -> Any:
        """Return `model.frozen()`; the model itself if its results would differ, which is logged."""
        return freeze_model(model)

    def describe_runtime(self) -> str:
        """Return how frozen models compute on this machine, and why."""
        return describe_path(find_fusion_obstacle())

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """Run a forward pass without dropout or gradients; the inputs go to the device of the model."""
        with self._scope():
            output = model(dict(inputs), **options, training=False)
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), output)

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradients of a weighted sum of outputs, by the parameters' published names."""
        named = dict(variables(model))
        with self._scope():
            found = _gradients(model, inputs, weights, list(named.values()))
        return dict(to_published(model, zip(named, found, strict=True)))

    def tensor(self, array: np.ndarray) -> tf.Tensor:
        """Return a tensor of a copy of an array."""
        return tf.convert_to_tensor(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """Return the trainer of a model; its module is imported here."""
        from roberta_core.training.processes import find_processes
        from roberta_tf.training import Trainer

        return Trainer(model, recipe, find_processes(self))

    def _scope(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._place is None else tf.device(self._place)

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


def _list_devices() -> dict[str, str]:
    """Return TensorFlow's names of the devices that it sees by the names that users specify, accelerators first."""
    gpus, cpus = (range(len(tf.config.list_logical_devices(kind))) for kind in ("GPU", "CPU"))
    names = {f"cuda:{number}": f"/GPU:{number}" for number in gpus}
    if sys.platform == "darwin" and names:
        names = {"mps": "/GPU:0"}
    return names | {"cpu" if number == 0 else f"cpu:{number}": f"/CPU:{number}" for number in cpus}


BACKEND = TensorFlowBackend()
