import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from roberta_core import RobertaTokenizerFast, checkpoints
from roberta_core.checkpoints import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, draw

FORMATS = ["safetensors", "tf-safetensors", "flax-safetensors", "bin", "msgpack", "h5", "fairseq"]


@pytest.fixture
def kinds(framework):
    """The classes of the body, the language model and the classifier."""
    return [framework.kind(name) for name in ("Model", "ForMaskedLM", "ForSequenceClassification")]


@pytest.fixture
def masked(kinds):
    return kinds[1]


@pytest.fixture
def same(framework):
    """`same(got, want)`: the same tensors, of models or by name."""

    def compared(*given):
        got, want = ({**one} if isinstance(one, dict) else framework.tensors(one) for one in given)
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value, err_msg=name)

    return compared


@pytest.mark.parametrize("kind_of_name", [str, Path])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_constructor_given_a_name_names_from_pretrained(framework, architecture, kind_of_name):
    kind = framework.kind(architecture)
    with pytest.raises(TypeError, match=re.escape(f'{kind.__name__}.from_pretrained("roberta-tiny")')):
        kind(kind_of_name("roberta-tiny"))


def test_what_is_saved_loads_bit_for_bit(make, config, masked, same, tmp_path):
    model = make("ForMaskedLM", config)
    model.save_pretrained(tmp_path)
    again = masked.from_pretrained(tmp_path)
    assert again.config.architectures == ["RobertaForMaskedLM"]
    same(again, model)


def test_a_loaded_model_can_be_changed_and_leaves_the_file_alone(framework, make, config, masked, tmp_path):
    make("ForMaskedLM", config).save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    model = masked.from_pretrained(tmp_path)
    for name in framework.tensors(model):
        framework.change(model, name, lambda value: value + 1)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    again = framework.tensors(masked.from_pretrained(tmp_path))
    for name, value in framework.tensors(model).items():
        np.testing.assert_array_equal(value, again[name] + 1, err_msg=name)


def test_a_new_model_is_drawn_from_its_seed(framework, config, masked, same):
    model = masked(config, seed=5)
    same(model, dict(draw(config, "ForMaskedLM", 5)))
    one, other = (framework.tensors(masked(config, **more))["lm_head.dense.weight"] for more in ({}, {"seed": 6}))
    weight = framework.tensors(model)["lm_head.dense.weight"]
    assert (weight != one).any()
    assert (weight != other).any()


def test_a_new_head_is_drawn_and_said(framework, make, config, kinds, same, tmp_path, caplog):
    make("ForMaskedLM", config).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model, info = kinds[2].from_pretrained(tmp_path, seed=4, output_loading_info=True)
    head = {f"classifier.{layer}.{leaf}" for layer in ("dense", "out_proj") for leaf in ("weight", "bias")}
    assert set(info["missing_keys"]) == head
    assert len(caplog.records) == 1
    assert "classifier" in caplog.text
    want, found = dict(draw(config, "ForSequenceClassification", 4)), framework.tensors(model)
    same({name: found[name] for name in head}, {name: want[name] for name in head})


def test_a_head_loads_into_its_body_and_back(framework, make, config, kinds, same, tmp_path, caplog):
    source = make("ForMaskedLM", config)
    source.save_pretrained(tmp_path)
    body = kinds[0].from_pretrained(tmp_path, add_pooling_layer=False)
    assert not caplog.records
    want = framework.tensors(source)
    same(body, {name: want[f"roberta.{name}"] for name in framework.tensors(body)})
    body.save_pretrained(tmp_path / "body")
    again = kinds[1].from_pretrained(tmp_path / "body")
    tables = [np.asarray(framework.value(model.get_input_embeddings())) for model in (again, source)]
    np.testing.assert_array_equal(*tables)


def test_a_checkpoint_of_other_sizes_is_refused(make, config, masked, tmp_path):
    make("ForMaskedLM", config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="word_embeddings"):
        masked.from_pretrained(tmp_path, vocab_size=102)


def test_a_mismatched_head_may_be_drawn_anew(framework, make, config, kinds, tmp_path):
    make("ForSequenceClassification", config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"classifier\.out_proj"):
        kinds[2].from_pretrained(tmp_path, num_labels=5)
    model = kinds[2].from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    weight = framework.tensors(model)["classifier.out_proj.weight"]
    assert weight.shape == (5, 12)
    assert np.isfinite(weight).all()


def test_fields_and_settings_can_be_changed_on_loading(make, config, masked, tmp_path):
    make("ForMaskedLM", config).save_pretrained(tmp_path)
    model = masked.from_pretrained(tmp_path, hidden_dropout_prob=0.0, attn_implementation="eager")
    assert model.config.hidden_dropout_prob == 0.0
    assert model.attn_implementation == "eager"
    with pytest.raises(TypeError, match="hidden_droput"):
        masked.from_pretrained(tmp_path, hidden_droput=0.0)


def test_a_missing_checkpoint_is_named(kinds, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        kinds[0].from_pretrained(tmp_path / "nowhere")


def test_parameters_are_counted_once(framework, config, masked):
    model = masked(config)
    whole = sum(value.size for value in framework.tensors(model).values())
    assert model.num_parameters() == model.num_parameters(only_trainable=True) == whole
    assert model.num_parameters(exclude_embeddings=True) == whole - (101 + 19 + 5) * 12


def test_from_config_builds_what_the_constructor_builds(kinds, same):
    config = RobertaConfig(vocab_size=11, hidden_size=6, num_attention_heads=2, num_hidden_layers=1)
    for settings in ({}, {"add_pooling_layer": False}):
        same(kinds[0].from_config(config, seed=2, **settings), kinds[0](config, seed=2, **settings))


@pytest.mark.parametrize("format", FORMATS)
def test_a_model_is_saved_in_any_format_and_loads_bit_for_bit(make, config, masked, same, tmp_path, format):
    config.type_vocab_size = 1
    model = make("ForMaskedLM", config)
    model.save_pretrained(tmp_path, format=format)
    same(masked.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("number", [0, 1])
def test_a_file_may_be_said_to_be_what_it_is(framework, make, config, masked, same, tmp_path, number):
    flag, format = framework.FLAGS[number]
    make("ForMaskedLM", config).save_pretrained(tmp_path, format=format)
    same(masked.from_pretrained(tmp_path, **{flag: True}), masked.from_pretrained(tmp_path))


def test_the_tokenizer_goes_along_unless_the_folder_has_one(masked, tmp_path):
    model = masked.from_pretrained("roberta-tiny")
    model.save_pretrained(tmp_path / "new")
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    assert RobertaTokenizerFast.from_pretrained(tmp_path / "new")("She left.") == tokenizer("She left.")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "tokenizer.json").write_text("mine")
    model.save_pretrained(tmp_path / "own")
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (tmp_path / "own" / "tokenizer.json").read_text() == "mine"


def test_a_model_goes_to_the_hub_and_comes_back(hub, make, config, masked, same):
    model = make("ForMaskedLM", config)
    address = model.push_to_hub("someone/model", token=hub.TOKEN, revision="v2")
    assert address.startswith(f"{hub.url}/someone/model/commit/")
    again = masked.from_pretrained("someone/model", revision="v2", token=hub.TOKEN)
    assert again.config._name_or_path == "someone/model"
    same(again, model)
    card = hub.repositories["someone/model"]["v2"]["README.md"].decode()
    assert f"| parameters | {model.num_parameters():,} |" in card
    assert "pipeline_tag: fill-mask" in card
    with pytest.raises(TypeError, match="revison"):
        masked.from_pretrained("someone/model", revision="v2", revison="v3")


@pytest.mark.parametrize("stated", [True, False])
def test_dtype_auto_is_the_dtype_of_the_checkpoint(make, config, masked, tmp_path, stated):
    tensors = {name: array.astype(np.float16) for name, array in draw(config, "ForMaskedLM", 0)}
    checkpoints.save(tmp_path, config, "ForMaskedLM", tensors)
    if not stated:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "dtype": None}))
    assert str(masked.from_pretrained(tmp_path, dtype="auto").dtype).removeprefix("torch.") == "float16"
    assert str(masked.from_pretrained(tmp_path).dtype).removeprefix("torch.") == "float32"


@pytest.mark.parametrize("name", ["variant", "quantization_config", "load_in_8bit", "device_map"])
def test_an_unsupported_option_is_refused_with_the_alternative(masked, name):
    with pytest.raises(ValueError, match=f"{name}.* (not supported: (rename|load)|must name one device)"):
        masked.from_pretrained("roberta-tiny", **{name: {"embeddings": 0, "encoder": "disk"}})
