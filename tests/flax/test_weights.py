import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from roberta_flax import FlaxRobertaForMaskedLM
from roberta_flax.weights import as_concrete, assign, flatten, nest, tensors


def test_params_are_the_published_nested_dict(make, config, weights):
    params = make(FlaxRobertaForMaskedLM, config).params
    layer = params["roberta"]["encoder"]["layer"]["1"]
    given = weights(config, "ForMaskedLM")
    np.testing.assert_array_equal(
        layer["intermediate"]["dense"]["kernel"], given["roberta.encoder.layer.1.intermediate.dense.weight"].T
    )
    np.testing.assert_array_equal(
        layer["output"]["LayerNorm"]["scale"], given["roberta.encoder.layer.1.output.LayerNorm.weight"]
    )
    np.testing.assert_array_equal(params["lm_head"]["bias"], given["lm_head.bias"])


def test_published_names_are_attribute_paths(make, config, weights):
    model = make(FlaxRobertaForMaskedLM, config)
    kernel = model.roberta.encoder.layer[0].attention.self.query.kernel
    given = weights(config, "ForMaskedLM")["roberta.encoder.layer.0.attention.self.query.weight"]
    np.testing.assert_array_equal(kernel[...], given.T)


def test_arrays_become_parameters_by_copying(config):
    model = FlaxRobertaForMaskedLM(config)
    vector, matrix = np.full((12,), 3.0, np.float32), np.full((12, 12), 4.0, np.float32)
    assign(model, [("lm_head.dense.bias", vector), ("lm_head.dense.weight", matrix)])
    vector[5] = matrix[5] = 7
    found = dict(tensors(model))
    assert (found["lm_head.dense.bias"] == 3).all()
    assert (found["lm_head.dense.weight"] == 4).all()


def test_parameters_are_read_without_a_copy(config):
    model = FlaxRobertaForMaskedLM(config)
    found = dict(tensors(model))
    for name in ("lm_head.dense.bias", "lm_head.dense.weight"):
        assert np.shares_memory(found[name], dict(tensors(model))[name])


@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["lm_head.dense.weight", "roberta.embeddings.word_embeddings.weight"])
def test_arrays_pass_through_bit_for_bit(config, kind, name):
    model = FlaxRobertaForMaskedLM(config)
    array = np.random.default_rng(0).standard_normal(dict(tensors(model))[name].shape).astype(kind)
    assign(model, [(name, array)])
    again = dict(tensors(model))[name]
    assert again.dtype == array.dtype
    assert again.tobytes() == array.tobytes()
    assign(model, [(name, array)], dtype=np.float32)
    np.testing.assert_array_equal(dict(tensors(model))[name], array.astype(np.float32))


def test_a_nested_dict_is_flat_with_dots():
    leaves = {"a.b": 1, "a.c.0.d": 2, "e": 3}
    assert nest(leaves.items()) == {"a": {"b": 1, "c": {"0": {"d": 2}}}, "e": 3}
    assert dict(flatten(nest(leaves.items()))) == leaves


def test_values_are_read_only_where_it_costs_nothing():
    ids = jnp.array([1])
    assert isinstance(as_concrete(ids), np.ndarray)
    assert as_concrete(None) is None
    seen = []
    jax.vmap(lambda x: seen.append(as_concrete(x)) or x)(jnp.array([[1], [2]]))
    assert not isinstance(seen[0], np.ndarray)
