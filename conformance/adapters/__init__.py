"""Adapters: how the suite builds, loads and runs one implementation.

A new implementation is a file here with a class that has what `Adapter` lists, and a line in `PEERS`.
"""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from roberta_core.config import RobertaConfig


class Adapter(Protocol):
    """An implementation under judgement."""

    name: str  # as on the command line
    title: str  # as people say it

    @property
    def version(self) -> str:
        """The implementation's version."""
        ...

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """A model of a class with the tensors given by their published names."""
        ...

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """The model of a checkpoint."""
        ...

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """The stages of a forward pass without dropout; without `attentions` by the path that users get."""
        ...


def flatten(output: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A model's output as stages: `hidden_states` of two layers becomes `hidden_states.0` to `hidden_states.2`."""
    stages: dict[str, np.ndarray] = {}
    for name, value in output.items():
        if isinstance(value, tuple | list):
            stages |= {f"{name}.{rest}": array for rest, array in flatten(dict(enumerate(value))).items()}
        else:
            stages[str(name)] = np.asarray(value)
    return stages
