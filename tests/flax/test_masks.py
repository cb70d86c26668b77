import jax.numpy as jnp
import numpy as np
import pytest

from roberta_flax.masks import NEVER, combine_masks, expand_head_mask, to_additive_mask

pytestmark = pytest.mark.usefixtures("eager")

EMBEDDED = jnp.zeros((2, 3, 12))
LEAST = np.finfo(np.float32).min


@pytest.mark.parametrize("kind", [bool, np.int32, np.float32])
def test_a_mask_is_what_is_added_to_the_scores(kind):
    mask = jnp.asarray(np.array([[1, 1, 0], [1, 0, 0]]).astype(kind))
    np.testing.assert_array_equal(to_additive_mask(mask, EMBEDDED)[:, 0, 0], [[0, 0, LEAST], [0, LEAST, LEAST]])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (2, 1, 3, 3)])
def test_masks_of_every_rank_become_rank_four(shape):
    assert to_additive_mask(jnp.ones(shape), EMBEDDED).shape == (2, 1, 1 if len(shape) == 2 else 3, 3)


def test_a_key_that_is_not_the_callers_is_never_attended():
    mask = jnp.array([[1, 0, NEVER]], jnp.int8)
    np.testing.assert_array_equal(to_additive_mask(mask, EMBEDDED)[0, 0, 0], [0, LEAST, -np.inf])


def test_a_decoder_masks_what_comes_later(config):
    assert combine_masks(config, None, EMBEDDED, 0, 3) is None
    config.is_decoder = True
    later = np.array([[0, 0, LEAST, LEAST, LEAST], [0, 0, 0, LEAST, LEAST], [0, 0, 0, 0, LEAST]])
    np.testing.assert_array_equal(combine_masks(config, None, EMBEDDED, 1, 5)[0, 0], later)
    given = jnp.array([[0, 1, 1, 1, NEVER]], jnp.int8)
    later[:, 0], later[:, 4] = LEAST, -np.inf
    np.testing.assert_array_equal(combine_masks(config, given, EMBEDDED, 1, 5)[0, 0], later)


def test_a_head_mask_has_an_entry_for_each_layer_and_head(config):
    for mask in (jnp.array([1.0, 0.5, 0.0]), jnp.array([[1.0, 0.5, 0.0]] * 2)):
        made = expand_head_mask(config, mask, EMBEDDED)
        assert made.shape == (2, 1, 3, 1, 1)
        np.testing.assert_array_equal(made[1, 0, :, 0, 0], [1, 0.5, 0])
    assert expand_head_mask(config, None, EMBEDDED) is None
