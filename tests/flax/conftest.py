import jax
import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_flax.weights import assign


@pytest.fixture(autouse=True)
def strict():
    """JAX never widens a type or a rank by itself, so that none of ours rests on that."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def lenient(strict):
    """For other people's code that does rest on it: optax, and Flax's LayerNorm in any type but float32."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def eager():
    """The operations one by one: XLA takes a second for each function, and test_calls.py has those."""
    with jax.disable_jit():
        yield


@pytest.fixture
def compiled(eager):
    """Whole functions after all, where shapes are used once."""
    with jax.disable_jit(False):
        yield


@pytest.fixture
def make(weights):
    """A model of any class with large weights."""

    def made(kind, config: RobertaConfig, **settings):
        model = kind(config, _do_init=False, **settings)
        assign(model, weights(config, kind.architecture).items())
        return model

    return made


@pytest.fixture
def ids() -> np.ndarray:
    """Two rows of seven tokens, the second padded on the right."""
    return np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])
