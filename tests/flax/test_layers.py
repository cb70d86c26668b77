import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from roberta_flax.layers import Dropout, Embedding, LayerNorm, Linear, upcast

pytestmark = pytest.mark.usefixtures("eager")


def filled(layer, seed=0):
    """Return a layer with random values."""
    generator = np.random.default_rng(seed)
    shapes = nnx.state(layer)
    nnx.update(layer, jax.tree.map(lambda leaf: jnp.asarray(generator.standard_normal(leaf.shape, np.float32)), shapes))
    return layer


def test_layers_wait_for_their_values():
    for layer in (Linear(3, 4, jnp.float32), Embedding(5, 4, jnp.float32), LayerNorm(4, 1e-5, jnp.float32)):
        assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(layer))
        assert {leaf.dtype for leaf in jax.tree.leaves(layer)} == {np.dtype(np.float32)}


def test_a_norm_is_exact_where_its_input_hardly_varies():
    norm = filled(LayerNorm(24, 1e-5, jnp.float32))
    x = 50 + 0.01 * np.random.default_rng(1).standard_normal((3, 24)).astype(np.float32)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(-1, keepdims=True)
    scale, bias = (np.asarray(value, np.float64) for value in (norm.scale, norm.bias))
    want = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias
    assert (
        np.abs(np.asarray(norm(jnp.asarray(x))) - want).max() < 1e-3 * np.abs(want).max()
    )  # 2e-4; with Flax's fast variance 2.5


def test_a_table_of_one_row_has_no_second():
    table = filled(Embedding(1, 4, jnp.float32))
    assert jnp.isfinite(table(jnp.array([0]))).all()
    assert jnp.isnan(table(jnp.array([1]))).all()


def test_only_the_padding_row_gets_no_gradient():
    ids = jnp.array([[0, 1, 2, 1]])
    for padding, still in ((None, []), (1, [1])):
        table = filled(Embedding(4, 3, jnp.float32, padding_idx=padding))
        gradient = nnx.grad(lambda table: table(ids).sum())(table)["embedding"][...]
        assert [row for row in range(3) if not gradient[row].any()] == still


def test_numbers_below_float32_are_raised():
    for dtype, want in ((jnp.bfloat16, jnp.float32), (jnp.float16, jnp.float32), (jnp.float32, jnp.float32)):
        assert upcast(jnp.zeros(2, dtype)).dtype == want
    with jax.enable_x64(True):
        assert upcast(jnp.zeros(2, jnp.float64)).dtype == jnp.float64


@pytest.mark.parametrize("rate", [0.1, 0.75])
@pytest.mark.parametrize("generator", ["threefry2x32", "rbg"])
def test_dropout_is_of_each_element_at_its_rate(rate, generator):
    drop = Dropout(rate, deterministic=False, rngs=nnx.Rngs(dropout=jax.random.key(1, impl=generator)).dropout)
    x = jnp.full((301, 8, 101), 3.0)  # an odd length
    out, gradient = drop(x), jax.grad(lambda x: nnx.clone(drop)(x).sum())(x)
    kept = np.asarray(out) != 0
    assert kept.mean() == pytest.approx(1 - rate, abs=5 * (rate * (1 - rate) / x.size) ** 0.5)
    for dim in range(3):  # the masks differ along every axis
        first, second = np.moveaxis(kept, dim, 0)[:2]
        assert (first == second).mean() == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.07)
    np.testing.assert_allclose(np.asarray(out)[kept], 3 / (1 - rate), rtol=1e-4)  # the rate is a multiple of 2^-16
    np.testing.assert_allclose(np.asarray(out).mean(), 3.0, rtol=0.02)
    assert set(np.unique(gradient)) <= {np.float32(0), np.float32(1 / (1 - round(rate * 2**16) / 2**16))}
    assert drop(x, deterministic=True) is x


def test_dropout_of_everything_leaves_nothing():
    drop = Dropout(1.0, deterministic=False, rngs=nnx.Rngs(dropout=0).dropout)
    assert not drop(jnp.ones((3, 5))).any()
