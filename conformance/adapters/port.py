"""The adapter of a user's own implementation: `roberta parity CHECKPOINT --against module:callable`.

The callable gets the folder of the checkpoint and returns a function. The function gets `input_ids` and
`attention_mask` [B, S] as NumPy arrays (with a choice axis for multiple choice) and returns its stages by name, such as
`{"hidden_states": [...], "logits": ...}`, or only the main output. Stages that it does not return are not compared.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.config import RobertaConfig

from . import flatten

Load = Callable[[Any], Callable[..., Any]]  # gets the folder of a checkpoint and returns a function of its inputs
EXPECTED = " (docs/conformance.md shows what is expected)"
MAIN = ("logits", "last_hidden_state")  # the main output of a class, if the function returns only one array


class Port:
    """A user's implementation.

    Args:
        target: `module:callable`, or the callable itself.

    Raises:
        ValueError: If the target cannot be imported.
    """

    partial = True  # it may return only some of the stages

    def __init__(self, target: str | Load):
        if isinstance(target, str):
            self.name, self.make = target, _import_callable(target)
        else:
            self.name, self.make = f"{target.__module__}:{getattr(target, '__qualname__', repr(target))}", target
        self.title, self.module = self.name, sys.modules.get(self.make.__module__ or "")

    @property
    def version(self) -> str:
        """The version of its module, if that has one."""
        return str(getattr(self.module, "__version__", ""))

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Not supported: the implementation loads a checkpoint."""
        raise NotImplementedError(f"{self.name} runs checkpoints only")

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Call the user's callable with the folder of a checkpoint."""
        folder = resolve(source)
        config = RobertaConfig.from_pretrained(folder)
        with _blame_user(f"{self.name}, called with the folder {folder},"):
            function = self.make(folder)
        if not callable(function):
            kind = type(function).__name__
            raise ValueError(f"{self.name} returned {kind}, but it must return a function{EXPECTED}")
        return function, architecture, config.num_hidden_layers

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Call the user's function and name its stages."""
        function, architecture, layers = model
        with _blame_user(f"the function that {self.name} returned, called with {', '.join(inputs)},"):
            output = function(**inputs)
            if not isinstance(output, Mapping):
                output = {MAIN[architecture == "Model"]: output}
            stages = flatten({name: _to_numpy(value) for name, value in output.items() if value is not None})
        for name, array in stages.items():
            if array.dtype.kind in "OUSM":
                raise ValueError(f"the function that {self.name} returned gave no numbers as {name}{EXPECTED}")
        if architecture != "Model" and "last_hidden_state" in stages:
            stages[f"hidden_states.{layers}"] = stages.pop("last_hidden_state")
        return stages


@contextmanager
def _blame_user(call: str) -> Iterator[None]:
    """Turn an error of the user's own code into a `ValueError` that says what was called, and where it failed."""
    try:
        yield
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(
            f"{call} raised {type(error).__name__} at {place.filename}:{place.lineno}: {error}{EXPECTED}"
        ) from error


def _import_callable(target: str) -> Load:
    """Return the callable of `module:callable`, from the current folder or the path."""
    module, _, attribute = target.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{target!r} is none of MODULE:CALLABLE, onnx:FILE and http://HOST:PORT")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(import_module(module), attribute)
    except Exception as error:
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        raise ValueError(f"{target} cannot be imported: {kind}{error}") from error
    if not callable(found):
        raise ValueError(f"{target} is not callable")
    return cast(Load, found)


def _to_numpy(value: Any) -> Any:
    """Convert an array of any framework, or a sequence of them."""
    if isinstance(value, tuple | list):
        return [_to_numpy(one) for one in value]
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
