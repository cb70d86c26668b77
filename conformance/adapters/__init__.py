"""Adapters: how the suite builds, loads and runs one implementation.

A new implementation is a file here with a class that has what `Adapter` lists, and a line in `PLACES`.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from roberta_core import backend
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

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """What a model holds, by its published names, in the published shapes."""
        ...

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """The stages of a forward pass without dropout; without `attentions` by the path that users get."""
        ...


# Where the adapters are that are not a backend's: loaded when they are asked for.
PLACES = {"oracle": ("conformance.adapters.oracle", "Reference")}


def find(name: str) -> Adapter:
    """The adapter of that name; `KeyError` if there is none, `BackendError` if its framework is not installed."""
    if name in PLACES:
        module, attribute = PLACES[name]
        return getattr(import_module(module), attribute)()
    if name not in backend.registered():
        known = ", ".join([*backend.registered(), *PLACES])
        raise KeyError(f"there is no implementation {name!r}; known are {known}")
    from conformance.adapters.framework import Framework

    return Framework(name)


def arguments(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A case's inputs as a class takes them: a cache [L, 2 or 4, B, N, T, H] as the published tuples."""
    given: dict[str, Any] = dict(inputs)
    if "past_key_values" in given:
        given["past_key_values"] = tuple(tuple(layer) for layer in given["past_key_values"])
    return given


def flatten(output: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A model's output as stages: `hidden_states` of two layers becomes `hidden_states.0` to `hidden_states.2`."""
    stages: dict[str, np.ndarray] = {}
    for name, value in output.items():
        if isinstance(value, tuple | list):
            stages |= {
                f"{name}.{rest}": array
                for rest, array in flatten({str(number): one for number, one in enumerate(value)}).items()
            }
        else:
            stages[name] = np.asarray(value)
    return stages
