"""Flax as the core sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

import roberta_flax
from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput
from roberta_flax.weights import assign, tensors

if TYPE_CHECKING:
    from roberta_core.training.recipe import Recipe


class FlaxBackend:
    """Models of `roberta_flax`, from NumPy to NumPy."""

    name = "flax"
    title = "Flax"

    @property
    def version(self) -> str:
        """Flax's version."""
        return flax.__version__

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
        """A model with the tensors given by their published names, which computes in `precision`."""
        model = self._class(architecture)(config, _do_init=False, **{"dtype": jnp.dtype(precision), **settings})
        assign(model, tensors.items())
        return model

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters by their published names."""
        return dict(tensors(model))

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """A forward pass without dropout or gradients."""
        return jax.tree.map(np.asarray, model(**inputs, **options))

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of a weighted sum of outputs, by the parameters' published names."""

        def total(params: Any) -> jax.Array:
            output = model(**inputs, params=params)
            return jnp.stack([(output[name] * weight).sum() for name, weight in weights.items()]).sum()

        return dict(tensors(model, jax.jit(jax.grad(total))(model.params)))

    def tensor(self, array: np.ndarray) -> jax.Array:
        """An array of JAX; of 64-bit numbers it keeps 32 bits, unless JAX is configured otherwise."""
        return jax.numpy.asarray(array)

    def trainer(self, model: Any, recipe: Recipe) -> Any:
        """The training steps of a model; the module is loaded when it is asked for."""
        from roberta_flax.training import Trainer

        return Trainer(model, recipe)

    def _class(self, architecture: str) -> Any:
        return getattr(roberta_flax, f"FlaxRoberta{architecture}")


BACKEND = FlaxBackend()
