import logging

import numpy as np
import pytest

from roberta_core import RobertaTokenizerFast
from roberta_core.checkpoints import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_tf import TFRobertaForMaskedLM, TFRobertaForSequenceClassification, TFRobertaModel
from roberta_tf.weights import tensors


def test_what_is_saved_loads_bit_for_bit(make, config, tmp_path):
    model = make(TFRobertaForMaskedLM, config)
    model.save_pretrained(tmp_path)
    again = TFRobertaForMaskedLM.from_pretrained(tmp_path)
    assert again.config.architectures == ["RobertaForMaskedLM"]
    found = dict(tensors(again))
    assert found.keys() == dict(tensors(model)).keys()
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)


def test_a_loaded_model_leaves_the_file_alone(make, config, tmp_path):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = TFRobertaForMaskedLM.from_pretrained(tmp_path)
    for variable in model.weights:
        variable.assign(variable.numpy() + 1)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_new_model_is_drawn_from_its_seed(config):
    model = TFRobertaForMaskedLM(config, seed=5)
    for name, want in draw(config, "ForMaskedLM", 5):
        np.testing.assert_array_equal(dict(tensors(model))[name], want)
    assert (model.lm_head.dense.kernel.numpy() != TFRobertaForMaskedLM(config).lm_head.dense.kernel.numpy()).any()


def test_a_new_head_is_drawn_and_said(make, config, tmp_path, caplog):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model, info = TFRobertaForSequenceClassification.from_pretrained(tmp_path, seed=4, output_loading_info=True)
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
    found = dict(tensors(model))
    for name in head:
        np.testing.assert_array_equal(found[name], want[name])


def test_a_head_loads_into_its_body_and_back(make, config, tmp_path, caplog):
    source = make(TFRobertaForMaskedLM, config)
    source.save_pretrained(tmp_path)
    body = TFRobertaModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert not caplog.records
    given = dict(tensors(source))
    for name, value in tensors(body):
        np.testing.assert_array_equal(value, given[f"roberta.{name}"])
    body.save_pretrained(tmp_path / "body")
    again = TFRobertaForMaskedLM.from_pretrained(tmp_path / "body")
    tables = [model.get_input_embeddings().embeddings.numpy() for model in (again, source)]
    np.testing.assert_array_equal(*tables)


def test_a_checkpoint_of_other_sizes_is_refused(make, config, tmp_path):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="word_embeddings"):
        TFRobertaForMaskedLM.from_pretrained(tmp_path, vocab_size=102)


def test_a_mismatched_head_may_be_drawn_anew(make, config, tmp_path):
    make(TFRobertaForSequenceClassification, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj"):
        TFRobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    model = TFRobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert model.classifier.out_proj.kernel.shape == (12, 5)
    assert np.isfinite(model.classifier.out_proj.kernel.numpy()).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
def test_variables_and_results_have_the_types_of_the_policy(make, config, ids, tmp_path, policy):
    make(TFRobertaModel, config).save_pretrained(tmp_path)
    model = TFRobertaModel.from_pretrained(tmp_path, dtype=policy)
    assert {variable.dtype for variable in model.weights} == {"float32" if "mixed" in policy else policy}
    assert model(ids).last_hidden_state.dtype.name == policy.removeprefix("mixed_")
    with pytest.raises(ValueError, match="float23"):
        TFRobertaModel.from_pretrained(tmp_path, dtype="float23")


def test_float64_is_computed_in_float64(make, fresh, config, ids):
    single = make(TFRobertaModel, config)(ids).last_hidden_state.numpy()
    double = fresh(TFRobertaModel, config, dtype="float64")(ids).last_hidden_state.numpy()
    again = fresh(TFRobertaModel, config, dtype="float64")(ids, attention_mask=np.ones_like(ids))
    assert 0 < abs(double - single).max() < 1e-5
    np.testing.assert_allclose(again.last_hidden_state, double, rtol=1e-13, atol=1e-13)


def test_fields_and_settings_can_be_changed_on_loading(make, config, tmp_path):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = TFRobertaForMaskedLM.from_pretrained(
        tmp_path, hidden_dropout_prob=0.0, attn_implementation="eager", name="mine", trainable=False
    )
    assert model.config.hidden_dropout_prob == 0.0
    assert (model.attn_implementation, model.name, model.trainable_weights) == ("eager", "mine", [])
    with pytest.raises(TypeError, match="hidden_droput"):
        TFRobertaForMaskedLM.from_pretrained(tmp_path, hidden_droput=0.0)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        TFRobertaModel.from_pretrained(tmp_path / "nowhere")


def test_parameters_are_counted_once(config):
    model = TFRobertaForMaskedLM(config)
    whole = sum(value.size for _, value in tensors(model))
    assert model.num_parameters() == model.count_params() == whole
    assert model.num_parameters(exclude_embeddings=True) == whole - (101 + 19 + 5) * 12
    model.roberta.trainable = False
    assert model.num_parameters(only_trainable=True) == 12 * 12 + 101 + 3 * 12


def test_from_config_builds_what_the_constructor_builds():
    config = RobertaConfig(vocab_size=11, hidden_size=6, num_attention_heads=2, num_hidden_layers=1)
    first = TFRobertaModel(config, seed=2, name="mine", add_pooling_layer=False)
    again = TFRobertaModel.from_config(config, seed=2, add_pooling_layer=False)
    revived = TFRobertaModel.from_config(first.get_config())
    assert (revived.name, revived.config) == ("mine", config)
    for other in (again, revived):
        for (name, value), (_, want) in zip(tensors(other), tensors(first), strict=True):
            np.testing.assert_array_equal(value, want, err_msg=name)


@pytest.mark.parametrize(
    "format", ["safetensors", "tf-safetensors", "flax-safetensors", "bin", "msgpack", "h5", "fairseq"]
)
def test_a_model_is_saved_in_any_format_and_loads_bit_for_bit(make, config, tmp_path, format):
    config.type_vocab_size = 1
    model = make(TFRobertaForMaskedLM, config)
    model.save_pretrained(tmp_path, format=format)
    again = TFRobertaForMaskedLM.from_pretrained(tmp_path)
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)


@pytest.mark.parametrize(("said", "format"), [("from_pt", "bin"), ("from_pt", "safetensors")])
def test_a_file_may_be_said_to_be_what_it_is(make, config, tmp_path, said, format):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path, format=format)
    plain, told = (TFRobertaForMaskedLM.from_pretrained(tmp_path, **flags) for flags in ({}, {said: True}))
    for (name, want), (_, value) in zip(tensors(plain), tensors(told), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)


def test_the_tokenizer_goes_along_unless_the_folder_has_one(tmp_path):
    model = TFRobertaForMaskedLM.from_pretrained("roberta-tiny")
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
    model = make(TFRobertaForMaskedLM, config)
    address = model.push_to_hub("someone/model", token=hub.TOKEN, revision="v2")
    assert address.startswith(f"{hub.url}/someone/model/commit/")
    again = TFRobertaForMaskedLM.from_pretrained("someone/model", revision="v2", token=hub.TOKEN)
    assert again.config._name_or_path == "someone/model"
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)
    card = hub.repositories["someone/model"]["v2"]["README.md"].decode()
    assert f"| parameters | {model.num_parameters():,} |" in card
    assert "pipeline_tag: fill-mask" in card
    with pytest.raises(TypeError, match="revison"):
        TFRobertaForMaskedLM.from_pretrained("someone/model", revision="v2", revison="v3")
