"""The initial values of the layers that a user's class adds, in PyTorch."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from roberta_core.parameters import Kind, draw_one
from roberta_pt.weights import assign, describe


def draw_module(model: Any, module: nn.Module) -> None:
    """Draw the parameters of one module of a model from its seed, as the core draws published ones."""
    path = next((name for name, other in model.named_modules() if other is module), "")
    for leaf in module._parameters:
        name = f"{path}.{leaf}".lstrip(".")
        value = getattr(module, leaf)
        if value is None:
            continue
        row = describe(model, name, value)
        if row.kind is Kind.OTHER:
            continue
        drawn = draw_one(row, model.config, model.seed or 0)
        padding = getattr(module, "padding_idx", None)
        if row.kind is Kind.EMBEDDING and padding is not None:
            drawn[padding] = 0
        if value.device.type == "meta":
            assign(model, [(name, drawn)])
        else:
            value.data.copy_(torch.from_numpy(drawn))


def initialise_modules(model: Any, names: Collection[str] | None = None) -> None:
    """Call `_init_weights` for the modules that have one of the tensors `names`, or for all; not for loaded ones."""
    loaded = list(_iterate_loaded(model))
    for path, module in reversed(list(model.named_modules())):
        own = {f"{path}.{leaf}".lstrip(".") for leaf in (*module._parameters, *module._buffers)}
        if (names is None or not own.isdisjoint(names)) and not any(path.startswith(prefix) for prefix in loaded):
            if any(value is not None and value.device.type == "meta" for value in module._parameters.values()):
                draw_module(model, module)
            model._init_weights(module)


def _iterate_loaded(model: Any) -> Iterator[str]:
    """The paths of models inside a model that came from a checkpoint."""
    for path, module in model.named_modules():
        if module is not model and (getattr(module, "_folder", None) or getattr(module, "_is_hf_initialized", False)):
            yield path


def finish_own_model(
    model: Any, found: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], seed: int, dtype: torch.dtype
) -> None:
    """Initialise the tensors of a user's class that its checkpoint lacks, and give all of its tensors their type."""
    missing = model._list_own_names() - found.keys() - drawn.keys()
    if missing:
        model.seed = seed
        initialise_modules(model, missing)
        model.seed = None
    for module in model.modules():
        for value in (*module._parameters.values(), *module._buffers.values()):
            if value is not None and value.device.type != "meta" and value.is_floating_point():
                value.data = value.data.to(dtype)


def iterate_ties(model: nn.Module) -> Iterator[tuple[str, str]]:
    """The second names of parameters that a model has twice, each with the first name."""
    first: dict[int, str] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(value), name) != name:
            yield name, first[id(value)]


def restore_ties(model: nn.Module, ties: Iterable[tuple[str, str]]) -> None:
    """Make parameters one again after their values were assigned."""
    for name, first in ties:
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path).register_parameter(leaf, model.get_parameter(first))
