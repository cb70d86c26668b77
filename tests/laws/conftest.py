"""Laws: tests that run for every framework. `adapters/NAME.py` has what a framework needs besides its backend."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roberta_core import backend
from roberta_core.config import RobertaConfig

MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}
# ROBERTA_TEST_FRAMEWORKS lists the modules that an environment must have: the laws fail for a required framework that
# is not installed. They are not collected for a framework that is neither required nor installed.
REQUIRED = os.environ.get("ROBERTA_TEST_FRAMEWORKS", "").split()
NAMES = [name for name, module in MODULES.items() if module in REQUIRED or name in backend.available()]


class Framework:
    """A backend, its package and its module `adapters/NAME.py`, whose names are also attributes of this object."""

    def __init__(self, name: str):
        self.name, self.backend = name, backend.load(name)
        self.package = f"roberta_{name}"
        spec = spec_from_file_location(f"laws_{name}", Path(__file__).parent / "adapters" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        self._adapter = module_from_spec(spec)
        spec.loader.exec_module(self._adapter)
        self._models: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def module(self, name: str) -> Any:
        """Import a module of the package, such as "losses"."""
        return import_module(f"{self.package}.{name}")

    def kind(self, architecture: str) -> Any:
        """Return the class of an architecture."""
        return getattr(import_module(self.package), f"{self.PREFIX}Roberta{architecture}")

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by their published names."""
        return self.backend.tensors(model)

    def change(self, model: Any, name: str, function: Any) -> None:
        """Replace a parameter by the result of a function of its value."""
        self._adapter.change(model, name, function(self.tensors(model)[name].copy()))

    def set_checkpointing(self, model: Any, on: bool) -> None:
        model.gradient_checkpointing_enable() if on else model.gradient_checkpointing_disable()

    def half(self, architecture: str, config: RobertaConfig, given: dict, precision: str) -> Any:
        """Return a model that computes in half precision."""
        return self._adapter.half(self.backend, architecture, config, given, precision)

    def fresh(self, architecture: str, config: RobertaConfig, given: dict, **settings: Any) -> Any:
        """Build a model with given tensors."""
        return self.backend.from_tensors(architecture, config, given, **settings)

    def kept(self, architecture: str, config: RobertaConfig, given: dict, **settings: Any) -> Any:
        """Build a model, or reuse one from an earlier test where this avoids tracing again."""
        if not self.KEEPS_MODELS:
            return self.fresh(architecture, config, given, **settings)
        key = (architecture, config.to_json_string(use_diff=False), *sorted(settings.items()))
        if key not in self._models:
            copied = RobertaConfig.from_dict(config.to_dict())
            self._models[key] = self.fresh(architecture, copied, given, **settings)
        return self._models[key]


@cache
def load_framework(name: str) -> Framework:
    return Framework(name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a law for each framework, or for each row that the functions in `ROWS` of its module return for it."""
    if "framework" not in metafunc.fixturenames:
        return
    for names, find in getattr(metafunc.module, "ROWS", {}).items():
        if names[-1] in metafunc.fixturenames:
            rows = [(name, *row) for name in NAMES for row in find(load_framework(name))]
            metafunc.parametrize(("framework", *names), rows, indirect=["framework"], scope="session")
            return
    metafunc.parametrize("framework", NAMES, indirect=True, scope="session")


@pytest.fixture(scope="session")
def framework(request) -> Framework:
    """Return the framework that a law runs for."""
    return load_framework(request.param)


@pytest.fixture(autouse=True)
def strict(request) -> Iterator[None]:
    """Enable the strict mode of the framework, if it has one."""
    with request.getfixturevalue("framework").strict() if "framework" in request.fixturenames else nullcontext():
        yield


def make_fixture(name: str) -> Any:
    """Return a fixture that enters a context manager of the adapter."""

    @pytest.fixture(name=name)
    def enter(framework, strict) -> Iterator[None]:
        with getattr(framework, name)():
            yield

    return enter


eager = make_fixture("eager")  # eager execution, without graphs
quick = make_fixture("quick")  # the execution mode in which tests take the least time
compiled = make_fixture("compiled")  # compiled functions, inside `quick` too
wide = make_fixture("wide")  # float64 arrays are not converted to float32
training = make_fixture("training")  # mode for training steps
single_steps = make_fixture("single_steps")  # mode for few training steps
lenient = make_fixture("lenient")  # for third-party code that relies on type promotion


@pytest.fixture
def make(framework, weights):
    """Return `make(architecture, config, **settings)`: builds a model with large weights; tests must not change it."""

    def build(architecture: str, config: RobertaConfig, **settings: Any) -> Any:
        return framework.kept(architecture, config, weights(config, architecture), **settings)

    return build


@pytest.fixture
def fresh(framework, weights):
    """Return the same function for models that a test changes."""

    def build(architecture: str, config: RobertaConfig, **settings: Any) -> Any:
        return framework.fresh(architecture, config, weights(config, architecture), **settings)

    return build


@pytest.fixture
def ids() -> np.ndarray:
    """Return two rows of seven tokens; the second is padded on the right."""
    return np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])


def assert_close(got: Any, want: Any, rtol: float = 2e-6) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    error = abs(got - want).max() / abs(want).max()
    assert error <= rtol, f"error {error:.1e}"


@pytest.fixture(scope="session")
def close():
    """Return `close(got, want, rtol)`: asserts equality within a fraction of the largest value."""
    return assert_close


@pytest.fixture(scope="session")
def apart():
    """Return `apart(one, other)`: the largest absolute difference."""
    return lambda one, other: abs(np.asarray(one) - np.asarray(other)).max()
