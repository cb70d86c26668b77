import jax
import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_flax.weights import assign


@pytest.fixture(autouse=True)
def strict():
    """Disable implicit promotion of types and ranks, so that our code does not rely on it."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def lenient(strict):
    """Enable promotion for third-party code: optax, and Flax's LayerNorm in types other than float32."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def eager():
    """Disable compilation: XLA takes a second for each function, and test_calls.py tests compiled calls."""
    with jax.disable_jit():
        yield


@pytest.fixture
def compiled(eager):
    """Enable compilation for tests with few shapes."""
    with jax.disable_jit(False):
        yield


@pytest.fixture
def make(weights):
    """Return a function that builds a model of any class with large weights."""

    def made(kind, config: RobertaConfig, **settings):
        model = kind(config, _do_init=False, **settings)
        assign(model, weights(config, kind.architecture).items())
        return model

    return made


@pytest.fixture
def ids() -> np.ndarray:
    """Return two rows of seven tokens; the second is padded on the right."""
    return np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])
