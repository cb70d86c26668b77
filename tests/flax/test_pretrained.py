import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from roberta_core import backend
from roberta_flax import FlaxRobertaForMaskedLM
from roberta_flax.weights import flatten, tensors


def same(got, want):
    got, want = dict(got), dict(want)
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_given_parameters_are_saved_in_place_of_its_own(make, config, tmp_path):
    model, other = make(FlaxRobertaForMaskedLM, config), FlaxRobertaForMaskedLM(config, seed=1)
    model.save_pretrained(tmp_path, params=other.params)
    same(tensors(FlaxRobertaForMaskedLM.from_pretrained(tmp_path)), tensors(other))


def test_a_checkpoint_loads_as_a_function_and_its_parameters(make, config, tmp_path):
    source = make(FlaxRobertaForMaskedLM, config)
    source.save_pretrained(tmp_path)
    model, params = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, _do_init=False)
    same(flatten(params), flatten(source.params))
    with pytest.raises(ValueError, match="_do_init=False"):
        model.params  # noqa: B018


def test_weights_are_drawn_from_a_key(config):
    model = FlaxRobertaForMaskedLM(config, _do_init=False)
    want = FlaxRobertaForMaskedLM(config, seed=5).params
    for key in (jax.random.key(5), jax.random.PRNGKey(5)):
        same(flatten(model.init_weights(key, (1, 1))), flatten(want))
    kept = {"lm_head": {"bias": jnp.ones(101)}}
    found = model.init_weights(jax.random.key(5), (1, 1), params=kept)
    same(flatten(found), {**dict(flatten(want)), "lm_head.bias": np.ones(101)})


def test_a_loaded_model_takes_other_parameters_and_leaves_the_file_alone(make, config, tmp_path):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    model.params = jax.tree.map(lambda value: value + 1, model.params)
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    np.testing.assert_array_equal(model.lm_head.bias[...], again.lm_head.bias[...] + 1)


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.float16])
def test_parameters_stay_float32_whatever_a_model_computes_in(make, config, tmp_path, dtype):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, dtype)
    assert model.dtype == dtype
    assert model.lm_head.dense.dtype == dtype
    assert {value.dtype for value in jax.tree.leaves(model)} == {np.dtype(np.float32)}
    with pytest.raises(TypeError, match="float23"):
        FlaxRobertaForMaskedLM.from_pretrained(tmp_path, dtype="float23")


@pytest.mark.parametrize("format", ["safetensors", "bin", "msgpack"])
def test_parameters_of_16_bits_stay_so_after_saving_and_loading(make, config, ids, tmp_path, format, caplog):
    model = make(FlaxRobertaForMaskedLM, config)
    model.params = params = model.to_bf16(model.params)
    model.save_pretrained(tmp_path, format=format)
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    _, loaded = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, _do_init=False)
    assert "the parameters are bfloat16, as stored: call to_fp32 before training" in caplog.text
    assert again.dtype == np.float32
    for one in (again.params, loaded):
        assert {value.dtype for value in jax.tree.leaves(one)} == {jnp.dtype(jnp.bfloat16)}
        assert jax.tree.all(jax.tree.map(np.array_equal, one, params))
    with jax.numpy_dtype_promotion("standard"):
        want = model(ids, params=model.to_fp32(params)).logits
        np.testing.assert_allclose(again(ids).logits, want, rtol=1e-5, atol=1e-5)
    # The commands and training compute with parameters of 32 bits.
    served = backend.load("flax").from_pretrained("ForMaskedLM", tmp_path)
    assert {value.dtype for value in jax.tree.leaves(served)} == {np.dtype(np.float32)}


def test_the_parameters_of_an_embedded_model_are_float32(caplog):
    model = FlaxRobertaForMaskedLM.from_pretrained("roberta-tiny")
    assert {value.dtype for value in jax.tree.leaves(model)} == {np.dtype(np.float32)}
    assert "as stored" not in caplog.text


def test_parameters_are_cast_on_request(make, config):
    model = make(FlaxRobertaForMaskedLM, config)
    half = model.to_bf16(model.params)
    assert {value.dtype for value in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    assert {value.dtype for value in jax.tree.leaves(model.to_fp16(model.params))} == {jnp.dtype(jnp.float16)}
    assert {value.dtype for value in jax.tree.leaves(model.to_fp32(half))} == {jnp.dtype(jnp.float32)}
    mask = jax.tree.map(lambda value: value.ndim > 1, half)
    kinds = jax.tree.map(lambda value: value.dtype.name, model.to_bf16(model.params, mask))
    assert (kinds["lm_head"]["dense"]["kernel"], kinds["lm_head"]["bias"]) == ("bfloat16", "float32")


def test_gradient_checkpointing_can_be_turned_on(config):
    model = FlaxRobertaForMaskedLM(config)
    model.enable_gradient_checkpointing()
    assert model.roberta.encoder.gradient_checkpointing


def test_a_model_is_a_part_of_a_structure_that_can_be_compared(config):
    first, second = (nnx.split(FlaxRobertaForMaskedLM(config))[0] for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    config.hidden_act = "relu"
    assert nnx.split(FlaxRobertaForMaskedLM(config))[0] != first
