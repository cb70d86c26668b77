"""Flax's backend for the core."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import flax
import jax
import jax.numpy as jnp
import numpy as np

import roberta_flax
from roberta_core.backend import freeze_model, select_device
from roberta_core.config import RobertaConfig
from roberta_core.frozen import unwrap
from roberta_core.outputs import ModelOutput
from roberta_flax.frozen import describe_path
from roberta_flax.weights import assign, tensors, variables

if TYPE_CHECKING:
    from roberta_core.training.processes import Processes
    from roberta_core.training.recipe import Recipe


PLATFORMS = {"gpu": "cuda", "METAL": "mps"}  # JAX's names of platforms -> the names that users specify


class FlaxBackend:
    """Models of `roberta_flax`, from NumPy to NumPy."""

    name = "flax"
    title = "Flax"
    _place: Any = None  # JAX's device
    device = ""  # of new models; empty for JAX's choice
    processes: Processes | None = None  # those that share training, once joined

    @property
    def version(self) -> str:
        """Flax's version."""
        return flax.__version__

    def on(self, device: str) -> Self:
        """Return this backend with its models on a device; raise `BackendError` if the framework does not see it."""
        chosen, seen = copy.copy(self), _list_devices()
        chosen.device = select_device(self.title, device, list(seen))
        chosen._place = seen[chosen.device]
        return chosen

    def join(self, device: str) -> Self:
        """Join the processes or devices that share training; raise `ValueError` if that fails."""
        from roberta_flax.processes import build_processes, join_processes

        if ":" in device:
            raise ValueError(
                f"--device is {device}, but --distributed trains on all devices of a kind: use cpu or cuda"
            )
        join_processes()
        joined = self.on(device)
        joined.processes = build_processes(joined._place.platform)
        return joined

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """Return the model of a checkpoint; its parameters are float32, also if it stores them in 16 bits."""
        with self._scope():
            loaded: Any = self._class(architecture).from_pretrained(source, **settings)
            model = loaded[0] if isinstance(loaded, tuple) else loaded
            if any(
                jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize == 2 for leaf in jax.tree.leaves(model)
            ):
                model.params = model.to_fp32(model.params)
        self._commit(model)
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
        """Return a model with tensors by their published names, which computes in `precision`."""
        with self._scope():
            model = self._class(architecture)(config, _do_init=False, **{"dtype": jnp.dtype(precision), **settings})
            assign(model, tensors.items())
        self._commit(model)
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by their published names."""
        return dict(tensors(unwrap(model)))

    def freeze(self, model: Any) -> Any:
        """Return `model.frozen()`; the model itself if its results would differ, which is logged."""
        return freeze_model(model)

    def describe_runtime(self) -> str:
        """Return how frozen models compute on this machine, and why."""
        return describe_path(None)

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """Run a forward pass without dropout or gradients; the inputs go to the device of the model."""
        with self._scope():
            return jax.tree.map(np.asarray, model(**inputs, **options))

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradients of a weighted sum of outputs, by the parameters' published names."""

        def total(params: Any) -> jax.Array:
            output = model(**inputs, params=params)
            return jnp.stack([(output[name] * weight).sum() for name, weight in weights.items()]).sum()

        return dict(tensors(model, jax.jit(jax.grad(total))(model.params)))

    def tensor(self, array: np.ndarray) -> jax.Array:
        """Return an array of JAX, with 32 bits of 64-bit numbers unless `jax_enable_x64` is set."""
        return jax.numpy.asarray(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """Return the trainer of a model; its module is imported here."""
        from roberta_core.training.processes import find_processes
        from roberta_flax.training import Trainer

        return Trainer(model, recipe, find_processes(self))

    def _commit(self, model: Any) -> None:
        """Tie the parameters to the device, so that every computation with them takes place there."""
        for variable in variables(model).values() if self._place is not None else ():
            value = variable.get_raw_value()
            if isinstance(value, jax.Array):  # not the shape of a model without values
                variable.set_value(jax.device_put(value, self._place))

    def _scope(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._place is None else jax.default_device(self._place)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_flax, f"FlaxRoberta{architecture}")


def _list_devices() -> dict[str, Any]:
    """Return the devices that JAX sees by the names that users specify, accelerators first."""
    names: dict[str, Any] = {}
    default = jax.local_devices()
    for device in [*default, *(() if default[0].platform == "cpu" else jax.local_devices(backend="cpu"))]:
        kind = PLATFORMS.get(device.platform, device.platform)
        number = sum(name.partition(":")[0] == kind for name in names)
        names[kind if kind in ("cpu", "mps") and not number else f"{kind}:{number}"] = device
    return names


BACKEND = FlaxBackend()
