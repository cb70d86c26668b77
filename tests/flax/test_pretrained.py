import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from roberta_core import RobertaTokenizerFast
from roberta_core.checkpoints import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_flax import FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification, FlaxRobertaModel
from roberta_flax.weights import flatten, tensors


def same(got, want):
    got, want = dict(got), dict(want)
    assert got.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_what_is_saved_loads_bit_for_bit(make, config, tmp_path):
    model = make(FlaxRobertaForMaskedLM, config)
    model.save_pretrained(tmp_path)
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    assert again.config.architectures == ["RobertaForMaskedLM"]
    same(tensors(again), tensors(model))


def test_given_parameters_are_saved_in_place_of_its_own(make, config, tmp_path):
    model, other = make(FlaxRobertaForMaskedLM, config), FlaxRobertaForMaskedLM(config, seed=1)
    model.save_pretrained(tmp_path, params=other.params)
    same(tensors(FlaxRobertaForMaskedLM.from_pretrained(tmp_path)), tensors(other))


def test_a_loaded_model_can_be_changed_and_leaves_the_file_alone(make, config, tmp_path):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    model.params = jax.tree.map(lambda value: value + 1, model.params)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    np.testing.assert_array_equal(model.lm_head.bias[...], again.lm_head.bias[...] + 1)


def test_a_checkpoint_loads_as_a_function_and_its_parameters(make, config, tmp_path):
    source = make(FlaxRobertaForMaskedLM, config)
    source.save_pretrained(tmp_path)
    model, params = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, _do_init=False)
    same(flatten(params), flatten(source.params))
    with pytest.raises(ValueError, match="_do_init=False"):
        model.params  # noqa: B018


def test_a_new_model_is_drawn_from_its_seed(config):
    model = FlaxRobertaForMaskedLM(config, seed=5)
    same(tensors(model), draw(config, "ForMaskedLM", 5))
    assert (model.lm_head.dense.kernel[...] != FlaxRobertaForMaskedLM(config, seed=6).lm_head.dense.kernel[...]).any()


def test_weights_are_drawn_from_a_key(config):
    model = FlaxRobertaForMaskedLM(config, _do_init=False)
    want = FlaxRobertaForMaskedLM(config, seed=5).params
    for key in (jax.random.key(5), jax.random.PRNGKey(5)):
        same(flatten(model.init_weights(key, (1, 1))), flatten(want))
    kept = {"lm_head": {"bias": jnp.ones(101)}}
    found = model.init_weights(jax.random.key(5), (1, 1), params=kept)
    same(flatten(found), {**dict(flatten(want)), "lm_head.bias": np.ones(101)})


def test_a_new_head_is_drawn_and_said(make, config, tmp_path, caplog):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model, info = FlaxRobertaForSequenceClassification.from_pretrained(tmp_path, seed=4, output_loading_info=True)
    head = {
        "classifier.dense.weight",
        "classifier.dense.bias",
        "classifier.out_proj.weight",
        "classifier.out_proj.bias",
    }
    assert set(info["missing_keys"]) == head
    assert len(caplog.records) == 1
    assert "classifier" in caplog.text
    want = dict(draw(config, "ForSequenceClassification", 4))
    same(((name, value) for name, value in tensors(model) if name in head), {name: want[name] for name in head})


def test_a_head_loads_into_its_body_and_back(make, config, tmp_path, caplog):
    source = make(FlaxRobertaForMaskedLM, config)
    source.save_pretrained(tmp_path)
    body = FlaxRobertaModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert not caplog.records
    want = dict(tensors(source))
    same(tensors(body), {name: want[f"roberta.{name}"] for name, _ in tensors(body)})
    body.save_pretrained(tmp_path / "body")
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path / "body")
    np.testing.assert_array_equal(
        again.get_input_embeddings().embedding[...], source.get_input_embeddings().embedding[...]
    )


def test_a_checkpoint_of_other_sizes_is_refused(make, config, tmp_path):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="word_embeddings"):
        FlaxRobertaForMaskedLM.from_pretrained(tmp_path, vocab_size=102)


def test_a_mismatched_head_may_be_drawn_anew(make, config, tmp_path):
    make(FlaxRobertaForSequenceClassification, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj"):
        FlaxRobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    model = FlaxRobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert model.classifier.out_proj.kernel.shape == (12, 5)
    assert jnp.isfinite(model.classifier.out_proj.kernel[...]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.float16])
def test_parameters_stay_float32_whatever_a_model_computes_in(make, config, tmp_path, dtype):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, dtype)
    assert model.dtype == dtype
    assert model.lm_head.dense.dtype == dtype
    assert {value.dtype for value in jax.tree.leaves(model)} == {np.dtype(np.float32)}
    with pytest.raises(TypeError, match="float23"):
        FlaxRobertaForMaskedLM.from_pretrained(tmp_path, dtype="float23")


def test_parameters_are_cast_on_request(make, config):
    model = make(FlaxRobertaForMaskedLM, config)
    half = model.to_bf16(model.params)
    assert {value.dtype for value in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    assert {value.dtype for value in jax.tree.leaves(model.to_fp16(model.params))} == {jnp.dtype(jnp.float16)}
    assert {value.dtype for value in jax.tree.leaves(model.to_fp32(half))} == {jnp.dtype(jnp.float32)}
    mask = jax.tree.map(lambda value: value.ndim > 1, half)
    kinds = jax.tree.map(lambda value: value.dtype.name, model.to_bf16(model.params, mask))
    assert (kinds["lm_head"]["dense"]["kernel"], kinds["lm_head"]["bias"]) == ("bfloat16", "float32")


def test_fields_and_settings_can_be_changed_on_loading(make, config, tmp_path):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = FlaxRobertaForMaskedLM.from_pretrained(tmp_path, hidden_dropout_prob=0.0, attn_implementation="eager")
    assert model.config.hidden_dropout_prob == 0.0
    assert model.attn_implementation == "eager"
    with pytest.raises(TypeError, match="hidden_droput"):
        FlaxRobertaForMaskedLM.from_pretrained(tmp_path, hidden_droput=0.0)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        FlaxRobertaModel.from_pretrained(tmp_path / "nowhere")


def test_parameters_are_counted_once(config):
    model = FlaxRobertaForMaskedLM(config)
    whole = sum(value.size for _, value in tensors(model))
    assert model.num_parameters() == model.num_parameters(only_trainable=True) == whole
    assert model.num_parameters(exclude_embeddings=True) == whole - (101 + 19 + 5) * 12


def test_from_config_builds_what_the_constructor_builds():
    config = RobertaConfig(vocab_size=11, hidden_size=6, num_attention_heads=2, num_hidden_layers=1)
    same(tensors(FlaxRobertaModel.from_config(config, seed=2)), tensors(FlaxRobertaModel(config, seed=2)))


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


@pytest.mark.parametrize(
    "format", ["safetensors", "tf-safetensors", "flax-safetensors", "bin", "msgpack", "h5", "fairseq"]
)
def test_a_model_is_saved_in_any_format_and_loads_bit_for_bit(make, config, tmp_path, format):
    config.type_vocab_size = 1
    model = make(FlaxRobertaForMaskedLM, config)
    model.save_pretrained(tmp_path, format=format)
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)


@pytest.mark.parametrize(("said", "format"), [("from_pt", "bin"), ("from_pt", "safetensors")])
def test_a_file_may_be_said_to_be_what_it_is(make, config, tmp_path, said, format):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path, format=format)
    plain, told = (FlaxRobertaForMaskedLM.from_pretrained(tmp_path, **flags) for flags in ({}, {said: True}))
    for (name, want), (_, value) in zip(tensors(plain), tensors(told), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)


def test_the_tokenizer_goes_along_unless_the_folder_has_one(tmp_path):
    model = FlaxRobertaForMaskedLM.from_pretrained("roberta-tiny")
    model.save_pretrained(tmp_path / "new")
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    assert RobertaTokenizerFast.from_pretrained(tmp_path / "new")("She left.") == tokenizer("She left.")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tokenizer.json").write_text("mine")
    model.save_pretrained(tmp_path / "own")
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (tmp_path / "own" / "tokenizer.json").read_text() == "mine"


def test_a_model_goes_to_the_hub_and_comes_back(hub, make, config):
    model = make(FlaxRobertaForMaskedLM, config)
    address = model.push_to_hub("someone/model", token=hub.TOKEN, revision="v2")
    assert address.startswith(f"{hub.url}/someone/model/commit/")
    again = FlaxRobertaForMaskedLM.from_pretrained("someone/model", revision="v2", token=hub.TOKEN)
    assert again.config._name_or_path == "someone/model"
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)
    card = hub.repositories["someone/model"]["v2"]["README.md"].decode()
    assert f"| parameters | {model.num_parameters():,} |" in card
    assert "pipeline_tag: fill-mask" in card
    with pytest.raises(TypeError, match="revison"):
        FlaxRobertaForMaskedLM.from_pretrained("someone/model", revision="v2", revison="v3")
