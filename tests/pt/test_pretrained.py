import logging

import numpy as np
import pytest
import torch

from roberta_core import RobertaTokenizerFast
from roberta_core.checkpoints import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_pt import RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel
from roberta_pt.weights import tensors


def test_what_is_saved_loads_bit_for_bit(make, config, tmp_path):
    model = make(RobertaForMaskedLM, config)
    model.save_pretrained(tmp_path)
    again = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert not again.training
    assert again.config.architectures == ["RobertaForMaskedLM"]
    found = dict(tensors(again))
    assert found.keys() == dict(tensors(model)).keys()
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)


def test_a_loaded_model_can_be_trained_and_leaves_the_file_alone(make, config, ids, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = RobertaForMaskedLM.from_pretrained(tmp_path).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert not torch.equal(model.lm_head.bias, RobertaForMaskedLM.from_pretrained(tmp_path).lm_head.bias)


def test_a_new_model_is_drawn_from_its_seed(config):
    model = RobertaForMaskedLM(config, seed=5)
    for name, want in draw(config, "ForMaskedLM", 5):
        np.testing.assert_array_equal(dict(tensors(model))[name], want)
    assert model.training
    assert (model.lm_head.dense.weight != RobertaForMaskedLM(config, seed=6).lm_head.dense.weight).any()


def test_a_new_head_is_drawn_and_said(make, config, tmp_path, caplog):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model, info = RobertaForSequenceClassification.from_pretrained(tmp_path, seed=4, output_loading_info=True)
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
    source = make(RobertaForMaskedLM, config)
    source.save_pretrained(tmp_path)
    body = RobertaModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert not caplog.records
    for name, value in tensors(body):
        np.testing.assert_array_equal(value, dict(tensors(source))[f"roberta.{name}"])
    body.save_pretrained(tmp_path / "body")
    again = RobertaForMaskedLM.from_pretrained(tmp_path / "body")
    np.testing.assert_array_equal(
        again.get_input_embeddings().weight.detach(), source.get_input_embeddings().weight.detach()
    )


def test_a_checkpoint_of_other_sizes_is_refused(make, config, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="word_embeddings"):
        RobertaForMaskedLM.from_pretrained(tmp_path, vocab_size=102)


def test_a_mismatched_head_may_be_drawn_anew(make, config, tmp_path):
    make(RobertaForSequenceClassification, config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj"):
        RobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    model = RobertaForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert model.classifier.out_proj.weight.shape == (5, 12)
    assert model.classifier.out_proj.weight.isfinite().all()


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16, "float64"])
def test_parameters_come_in_the_type_that_is_asked_for(make, config, tmp_path, dtype):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = RobertaForMaskedLM.from_pretrained(tmp_path, dtype=dtype)
    assert {str(value.dtype) for value in model.parameters()} == {f"torch.{str(dtype).removeprefix('torch.')}"}
    with pytest.raises(ValueError, match="dtype is 'float23'"):
        RobertaForMaskedLM.from_pretrained(tmp_path, dtype="float23")


def test_fields_and_settings_can_be_changed_on_loading(make, config, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = RobertaForMaskedLM.from_pretrained(tmp_path, hidden_dropout_prob=0.0, attn_implementation="eager")
    assert model.config.hidden_dropout_prob == 0.0
    assert model.attn_implementation == "eager"
    with pytest.raises(TypeError, match="hidden_droput"):
        RobertaForMaskedLM.from_pretrained(tmp_path, hidden_droput=0.0)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        RobertaModel.from_pretrained(tmp_path / "nowhere")


def test_parameters_are_counted_once(config):
    model = RobertaForMaskedLM(config)
    whole = sum(value.size for _, value in tensors(model))
    assert model.num_parameters() == whole
    assert model.num_parameters(exclude_embeddings=True) == whole - (101 + 19 + 5) * 12
    model.roberta.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == model.lm_head.dense.weight.numel() + 101 + 3 * 12


def test_from_config_builds_what_the_constructor_builds():
    config = RobertaConfig(vocab_size=11, hidden_size=6, num_attention_heads=2, num_hidden_layers=1)
    first, second = RobertaModel.from_config(config, seed=2), RobertaModel(config, seed=2)
    torch.testing.assert_close(dict(first.state_dict()), dict(second.state_dict()))


@pytest.mark.parametrize(
    "format", ["safetensors", "tf-safetensors", "flax-safetensors", "bin", "msgpack", "h5", "fairseq"]
)
def test_a_model_is_saved_in_any_format_and_loads_bit_for_bit(make, config, tmp_path, format):
    config.type_vocab_size = 1
    model = make(RobertaForMaskedLM, config)
    model.save_pretrained(tmp_path, format=format)
    again = RobertaForMaskedLM.from_pretrained(tmp_path)
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)


@pytest.mark.parametrize(("said", "format"), [("from_tf", "h5"), ("from_flax", "msgpack")])
def test_a_file_may_be_said_to_be_what_it_is(make, config, tmp_path, said, format):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path, format=format)
    plain, told = (RobertaForMaskedLM.from_pretrained(tmp_path, **flags) for flags in ({}, {said: True}))
    for (name, want), (_, value) in zip(tensors(plain), tensors(told), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)


def test_the_tokenizer_goes_along_unless_the_folder_has_one(tmp_path):
    model = RobertaForMaskedLM.from_pretrained("roberta-tiny")
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
    model = make(RobertaForMaskedLM, config)
    address = model.push_to_hub("someone/model", token=hub.TOKEN, revision="v2")
    assert address.startswith(f"{hub.url}/someone/model/commit/")
    again = RobertaForMaskedLM.from_pretrained("someone/model", revision="v2", token=hub.TOKEN)
    assert again.config._name_or_path == "someone/model"
    found = dict(tensors(again))
    for name, want in tensors(model):
        np.testing.assert_array_equal(found[name], want, err_msg=name)
    card = hub.repositories["someone/model"]["v2"]["README.md"].decode()
    assert f"| parameters | {model.num_parameters():,} |" in card
    assert "pipeline_tag: fill-mask" in card
    with pytest.raises(TypeError, match="revison"):
        RobertaForMaskedLM.from_pretrained("someone/model", revision="v2", revison="v3")
