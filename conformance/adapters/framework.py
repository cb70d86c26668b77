"""The adapter of every framework that has a backend."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.adapters import flatten
from roberta_core.backend import load
from roberta_core.config import RobertaConfig


class Framework:
    """A backend of the core, in float32."""

    def __init__(self, name: str):
        self.backend = load(name)
        self.name, self.title = self.backend.name, self.backend.title

    @property
    def version(self) -> str:
        """The framework's version."""
        return self.backend.version

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """The framework's model of a class."""
        return self.backend.from_tensors(architecture, config, tensors)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """The framework's model of a checkpoint."""
        return self.backend.from_pretrained(architecture, source)

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """The outputs as stages; asked for `attentions`, a framework may leave its fused kernel."""
        given: dict[str, Any] = dict(inputs)
        if "past_key_values" in given:  # [L, 2 or 4, B, N, T, H] as the published tuples
            given["past_key_values"] = tuple(tuple(layer) for layer in given["past_key_values"])
        return flatten(self.backend.run(model, given, output_hidden_states=True, output_attentions=attentions))
