"""What a framework offers the core: load a model, run it from NumPy to NumPy, train it.

A backend is found by its entry point in the group `roberta.backends` and loaded on request, so the core knows no
framework, and a further one is a package with an entry point.
"""

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.frozen import FrozenView
from roberta_core.outputs import ModelOutput

logger = logging.getLogger(__name__)

GROUP = "roberta.backends"
# The frameworks of this project.
TITLES = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "JAX", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
INFERENCE_ONLY = ("onnx", "openvino")  # those that run models, but neither train nor generate
PREFERRED = ("pt", "tf", "flax")  # the order in which an installed framework is chosen by default


class BackendError(ValueError):
    """A framework that is not known or not installed."""


class Backend(Protocol):
    """A framework's models, from NumPy to NumPy. `architecture` is a class name without its prefix."""

    name: str  # as in load(): "pt"
    title: str  # as people say it: "PyTorch"
    device: str  # of new models, such as "cuda:0"; empty if the framework chooses it

    @property
    def version(self) -> str:
        """The framework's version."""
        ...

    def on(self, device: str) -> "Backend":
        """Return this backend with its models on a device.

        Args:
            device: "auto" (an accelerator if the framework sees one), "cpu", "cuda", "cuda:N" or "mps".

        Raises:
            BackendError: the framework does not see such a device.
        """
        ...

    def join(self, device: str) -> "Backend":
        """Join the other processes or devices that share training, and return this backend with its models on a device.

        The result has the attribute `processes` (`roberta_core.training.processes.Processes`).

        Raises:
            ValueError: the processes cannot be joined.
        """
        ...

    def from_pretrained(self, architecture: str, source: str | os.PathLike[str], **settings: Any) -> Any:
        """Return the framework's own model of a checkpoint."""
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
        """Return the framework's own model with tensors given by their published names.

        `precision`, such as "bfloat16", is the type in which it computes, each framework in its own way.
        """
        ...

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters of a model by their published names, in the published shapes."""
        ...

    def freeze(self, model: Any) -> Any:
        """Return `model.frozen()`, which runs faster; the model itself where there is none or it is refused.

        `run` accepts either. Of a frozen model, it may leave outputs at padding undefined.
        """
        ...

    def describe_runtime(self) -> str:
        """Return how frozen models compute on this machine and why, such as "oneDNN packed: AMD, AVX2"."""
        ...

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], **options: Any) -> ModelOutput:
        """Run a forward pass without dropout or gradients; `options` such as `output_hidden_states=True`."""
        ...

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the gradients of a weighted sum of outputs, without dropout.

        Args:
            model: the framework's own model.
            inputs: what the model is called with.
            weights: the weights of the outputs by name, such as `{"loss": 1}`.

        Returns:
            The gradients by the published names of the parameters, in the published shapes.
        """
        ...

    def tensor(self, array: np.ndarray) -> Any:
        """Return the framework's own tensor of an array."""
        ...

    def trainer(self, model: Any, recipe: Any) -> Any:
        """Return the trainer of a model with a recipe's settings (`roberta_core.training`)."""
        ...


@cache
def registered() -> dict[str, EntryPoint]:
    """Return the entry points of the backends by name, without loading one."""
    return {point.name: point for point in entry_points(group=GROUP)}


def available() -> tuple[str, ...]:
    """Return the names of the backends whose framework is installed, without importing one."""
    return tuple(name for name in registered() if not _missing(name))


def list_installed() -> list[str]:
    """Return the backends whose framework is installed, in the order of `PREFERRED`, then of the others."""
    return sorted(available(), key=(*PREFERRED, *registered()).index)


def refuse_inference_only(name: str, purpose: str) -> None:
    """Raise `BackendError` if a backend only runs models; `purpose` completes "cannot", such as "train models"."""
    if name in INFERENCE_ONLY:
        raise BackendError(
            f"{name} ({TITLES[name]}) cannot {purpose}: use {', '.join(PREFERRED[:-1])} or {PREFERRED[-1]}"
        )


def find_default() -> str:
    """Return the first backend of `list_installed`.

    Raises:
        BackendError: no framework is installed.
    """
    installed = list_installed()
    if not installed:
        extras = " or ".join(f"'triberta[{name}]'" for name in PREFERRED)
        raise BackendError(f"no framework is installed: pip install {extras}")
    return installed[0]


def describe_unknown(*names: str) -> str:
    """Return what is wrong with names of no framework, and what to write instead."""
    order = sorted(registered(), key=(*PREFERRED, *registered()).index)
    known = [f"{name} ({TITLES[name]})" if name in TITLES else name for name in order]
    choices = f"{', '.join(known[:-1])} or {known[-1]}" if len(known) > 1 else "".join(known)
    return f"there is no framework {', '.join(map(repr, names))}: write {choices}"


def require(name: str) -> None:
    """Check that a backend can be loaded, without importing its framework.

    Raises:
        BackendError: the backend is unknown, or its framework is not installed.
    """
    if name not in registered():
        raise BackendError(describe_unknown(name))
    missing = _missing(name)
    if missing:
        raise BackendError(f"{name} needs {' and '.join(missing)}: pip install 'triberta[{name}]'")


@cache
def load(name: str, device: str = "") -> Backend:
    """Return the backend of that name, with its models on a device (`Backend.on`) if one is specified.

    Raises:
        BackendError: the backend is unknown, its framework is not installed, or it does not see the device.
    """
    require(name)
    found = registered()[name].load()
    return found.on(device) if device else found


def run_at(
    backend: Backend, model: Any, inputs: Mapping[str, np.ndarray], positions: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Return a language model's outputs with the logits of some tokens only, [B, K, V].

    A view that `model.frozen()` returned computes no others: for a model of roberta-base's size, the vocabulary is 45%
    of the work of a token in the encoder.

    Args:
        backend: the framework.
        model: the framework's own model, or a view of it.
        inputs: what the model is called with.
        positions: the positions [B, K] of the tokens in their rows.
    """
    if isinstance(model, FrozenView):
        return backend.run(model, inputs, positions=positions)
    output = backend.run(model, inputs)
    return {**output, "logits": output["logits"][np.arange(len(positions))[:, None], positions]}


def freeze_model(model: Any) -> Any:
    """Return `model.frozen()`; the model itself if its results would differ, which is logged."""
    try:
        return model.frozen()
    except ValueError as error:
        logger.warning("%s runs plain: %s", type(model).__name__, error)
        return model


def select_device(title: str, requested: str, seen: Sequence[str]) -> str:
    """Return the name of the requested device among those that a framework sees, the preferred ones first.

    Raises:
        BackendError: the framework does not see such a device.
    """
    found = [name for name in seen if requested in ("auto", name, name.partition(":")[0])]
    if not found:
        raise BackendError(
            f"there is no device {requested!r} here: {title} sees only {', '.join(seen)}; specify one of these, or auto"
        )
    return found[0]


def _missing(name: str) -> list[str]:
    """Return the modules of a backend's extra, which has its name, that are not installed."""
    distribution = registered()[name].dist
    requirements = (distribution.requires if distribution else None) or []
    extra = re.compile(rf"""^([\w-]+).*;.*extra == ['"]{re.escape(name)}['"]""")
    modules = [found[1].replace("-", "_") for found in map(extra.match, requirements) if found]
    return [module for module in modules if importlib.util.find_spec(module) is None]


@contextmanager
def hide_modules(modules: Iterable[str]) -> Iterator[None]:
    """Make modules that are not imported yet look as if they were not installed; afterwards they can be imported.

    Libraries import other packages only because these are installed.
    """
    hidden = [module for module in modules if module not in sys.modules]
    for module in hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # Python's own mark of a module that cannot be imported
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]
