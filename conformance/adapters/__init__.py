"""Adapters: how the suite builds, loads and runs one implementation.

To add an implementation, add a class with the members of `Adapter` to this folder and a line to `PLACES`.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from roberta_core import backend
from roberta_core.config import RobertaConfig


class Adapter(Protocol):
    """An implementation that the suite compares with the float64 model."""

    name: str  # on the command line, such as "pt"
    title: str  # in reports, such as "PyTorch"

    @property
    def version(self) -> str:
        """The implementation's version."""
        ...

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build a model of a class from tensors under their published names."""
        ...

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load the model of a checkpoint."""
        ...

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return a model's tensors under their published names, in the published shapes."""
        ...

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Run a forward pass without dropout and return its stages; without `attentions`, by the default path."""
        ...


# Adapters other than those of backends: (module, class), imported on request.
PLACES = {"oracle": (".oracle", "Reference")}


def find_adapter(name: str, precision: str = "float32") -> Adapter:
    """Return the adapter of a name, for models that compute in a type.

    Raises:
        KeyError: If the name is unknown.
        BackendError: If its framework is not installed.
    """
    if name in PLACES:
        module, attribute = PLACES[name]
        return getattr(import_module(module, __package__), attribute)()
    if name not in backend.registered():
        raise KeyError(f"{backend.describe_unknown(name)}, or {' or '.join(PLACES)} (the float64 model)")
    from .framework import Framework

    return Framework(name, precision)


def make_arguments(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the arguments of a class: a cache [L, 2 or 4, B, N, T, H] becomes the published tuples."""
    given: dict[str, Any] = dict(inputs)
    if "past_key_values" in given:
        given["past_key_values"] = tuple(tuple(layer) for layer in given["past_key_values"])
    return given


def split_calls(inputs: Mapping[str, np.ndarray]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the arguments of the first call, if `earlier_input_ids` requests one, and those of the last.

    The last call also gets the cache that the first one returned, as it was returned.
    """
    last = make_arguments(inputs)
    if "earlier_input_ids" not in last:
        return None, last
    first = {"input_ids": last.pop("earlier_input_ids"), "use_cache": True}
    if "attention_mask" in last:
        first["attention_mask"] = last["attention_mask"][:, : first["input_ids"].shape[1]]
    return first, last


def flatten(output: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Name the stages of a model's output: `hidden_states` of two layers becomes `hidden_states.0` to `.2`."""
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
