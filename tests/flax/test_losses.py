import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roberta_flax.losses import token_loss

LOGITS = np.random.default_rng(0).standard_normal((3, 5, 4)) * 3
LABELS = np.array([[0, 3, -100, 1, 2], [-100] * 5, [1, 1, 2, -100, 0]])


@pytest.fixture(autouse=True)
def wide():
    """Enable float64, in which the definition and the implementation agree to 12 digits."""
    with jax.enable_x64(True), jax.disable_jit():
        yield


def test_a_label_that_nobody_could_check_makes_the_loss_nan():
    with jax.disable_jit(False):
        for wrong in (4, -1, -4):
            assert jnp.isnan(jax.jit(token_loss)(jnp.asarray(LOGITS), np.where(LABELS == 3, wrong, LABELS)))
