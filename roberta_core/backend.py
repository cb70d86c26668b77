"""What a framework offers the core: load a model, run it from NumPy to NumPy, train it.

A backend is found by its entry point in the group `roberta.backends` and loaded when it is asked for, so the core knows
no framework and one more of them is one package and one entry point.
"""

import importlib.util
import os
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.outputs import ModelOutput

GROUP = "roberta.backends"


class BackendError(ValueError):
    """A framework that is not known or not installed."""


class Backend(Protocol):
    """A framework's models, from NumPy to NumPy. `architecture` is a class name without its prefix."""

    name: str  # as in load(): "pt"
    title: str  # as people say it: "PyTorch"

    @property
    def version(self) -> str:
        """The framework's version."""
        ...

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """The framework's own model of a checkpoint."""
        ...

    def from_tensors(
        self,
        architecture: str,
        config: RobertaConfig,
        tensors: Mapping[str, np.ndarray],
        *,
        precision: str = "float32",
        **settings: Any,
    ) -> Any:
        """The framework's own model with the tensors given by their published names.

        `precision`, such as "bfloat16", is the type that it computes in, each framework having its own way.
        """
        ...

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters of a model by their published names, in the published shapes."""
        ...

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """A forward pass without dropout or gradients; `options` such as `output_hidden_states=True`."""
        ...

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients by every parameter, without dropout, of the sum of the outputs named, each times its weight.

        By their published names, in the published shapes; `{"loss": 1}` is the loss.
        """
        ...

    def tensor(self, array: np.ndarray) -> Any:
        """The framework's own tensor of an array."""
        ...

    def trainer(self, model: Any, recipe: Any) -> Any:
        """The training steps of a model as a recipe says (`roberta_core.training`)."""
        ...


@cache
def registered() -> dict[str, EntryPoint]:
    """The entry points of the backends by name, none of them loaded."""
    return {point.name: point for point in entry_points(group=GROUP)}


def available() -> tuple[str, ...]:
    """The backends whose framework is installed, found without importing one."""
    return tuple(name for name in registered() if not _missing(name))


@cache
def load(name: str) -> Backend:
    """The backend of that name; `BackendError` if it is unknown or its framework is not installed."""
    if name not in registered():
        raise BackendError(f"there is no framework {name!r}; known are {', '.join(sorted(registered()))}")
    missing = _missing(name)
    if missing:
        raise BackendError(f"{name} needs {' and '.join(missing)}: pip install 'triberta[{name}]'")
    return registered()[name].load()


def _missing(name: str) -> list[str]:
    """The modules of a backend's extra, which has its name, that are not here."""
    distribution = registered()[name].dist
    wanted = (distribution.requires if distribution else None) or []
    extra = re.compile(rf"""^([\w-]+).*;.*extra == ['"]{re.escape(name)}['"]""")
    modules = [found[1].replace("-", "_") for found in map(extra.match, wanted) if found]
    return [module for module in modules if importlib.util.find_spec(module) is None]
