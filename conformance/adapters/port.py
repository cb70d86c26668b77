"""The adapter of a user's own implementation: `roberta parity CHECKPOINT --against module:callable`.

The callable gets the folder of the checkpoint and returns a function. The function gets `input_ids` and
`attention_mask` [B, S] as NumPy arrays (with a choice axis for multiple choice) and returns its stages by name, such as
`{"hidden_states": [...], "logits": ...}`, or only the main output. Stages that it does not return are not compared.
"""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.config import RobertaConfig

from . import flatten

Load = Callable[[Any], Callable[..., Any]]  # gets the folder of a checkpoint and returns a function of its inputs
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
        return self.make(folder), architecture, config.num_hidden_layers

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Call the user's function and name its stages."""
        function, architecture, layers = model
        output = function(**inputs)
        if not isinstance(output, Mapping):
            output = {MAIN[architecture == "Model"]: output}
        stages = flatten({name: _to_numpy(value) for name, value in output.items() if value is not None})
        if architecture != "Model" and "last_hidden_state" in stages:
            stages[f"hidden_states.{layers}"] = stages.pop("last_hidden_state")
        return stages


def _import_callable(target: str) -> Load:
    """Return the callable of `module:callable`, from the current folder or the path."""
    module, separator, attribute = target.partition(":")
    if not (module and separator and attribute):
        raise ValueError(f"{target!r} is not module:callable")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{target} cannot be imported: {error}") from None
    if not callable(found):
        raise ValueError(f"{target} is not callable")
    return cast(Load, found)


def _to_numpy(value: Any) -> Any:
    """Convert an array of any framework, or a sequence of them."""
    if isinstance(value, tuple | list):
        return [_to_numpy(one) for one in value]
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
