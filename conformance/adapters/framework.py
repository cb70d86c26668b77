"""The adapter of the frameworks that have a backend."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.backend import load
from roberta_core.checkpoints import load as load_tensors
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig

from . import flatten, make_arguments, split_calls


class Framework:
    """A backend of `roberta_core`.

    Args:
        name: The name of the backend.
        precision: The type in which loaded checkpoints compute.
    """

    def __init__(self, name: str, precision: str = "float32"):
        self.backend, self.precision = load(name), precision
        self.name, self.title = self.backend.name, self.backend.title

    @property
    def version(self) -> str:
        """The framework's version."""
        return self.backend.version

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build the framework's model of a class."""
        return self.backend.from_tensors(architecture, config, tensors)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load the framework's model of a checkpoint."""
        if self.precision == "float32":
            return self.backend.from_pretrained(architecture, source)
        folder = resolve(source)
        config = RobertaConfig.from_pretrained(folder)
        tensors, _ = load_tensors(folder, config, architecture)
        return self.backend.from_tensors(architecture, config, tensors, precision=self.precision)

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return a model's tensors under their published names."""
        return self.backend.tensors(model)

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the outputs as stages; with `attentions`, a framework may not use its fused kernel."""
        first, last = split_calls(inputs)
        if first is not None:
            use_cache = first.pop("use_cache")
            last["past_key_values"] = self.backend.run(model, first, use_cache=use_cache)["past_key_values"]
        return flatten(self.backend.run(model, last, output_hidden_states=True, output_attentions=attentions))

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradients of a weighted sum of outputs, by tensor."""
        return self.backend.gradients(model, make_arguments(inputs), weights)
