"""The defaults of `generate` as an object, and their file."""

import json
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from roberta_core import GenerationConfig, RobertaConfig
from roberta_core.generation.settings import Settings, add_model_defaults, is_output_requested
from roberta_core.generation_config import DEFAULTS, NAME, read_generation_config
from roberta_core.pipelines.text_generation import TextGenerationPipeline


def decide(config, **arguments):
    """Return the settings of a call of a model with a generation configuration."""
    model = SimpleNamespace(config=RobertaConfig(), generation_config=config)
    return Settings.from_arguments(model.config, add_model_defaults(model, arguments))


def test_the_options_and_defaults_are_those_of_generate():
    known = {field.name: field.default for field in fields(Settings)}
    callbacks = {"streamer", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn"}
    assert {*known} - callbacks - {"seed"} == {*DEFAULTS}
    own = ("max_length", "min_new_tokens", "pad_token_id")  # None stands for 20, 0 and the model's
    assert {name: known[name] for name in DEFAULTS if name not in own} == {
        name: value for name, value in DEFAULTS.items() if name not in own
    }


def test_arguments_override_a_given_configuration_which_overrides_the_models():
    own = GenerationConfig(max_new_tokens=7, top_k=5, temperature=0.5, eos_token_id=[3, 4], pad_token_id=9)
    found = decide(own, generation_config=GenerationConfig(top_k=6, temperature=0.25), temperature=2.0)
    assert (found.max_new_tokens, found.top_k, found.temperature) == (7, 6, 2.0)
    assert (found.ends, found.pad_token_id, found.bos_token_id) == ((3, 4), 9, 0)
    plain = decide(GenerationConfig())
    assert (plain.ends, plain.pad_token_id, plain.max_new_tokens) == ((), 1, None)
    assert decide({"eos_token_id": 8}).ends == (8,)
    assert decide(None).ends == (2,)
    assert is_output_requested(
        add_model_defaults(SimpleNamespace(generation_config={"return_dict_in_generate": True}), {})
    )


def test_options_follow_the_configuration_of_the_model_until_they_are_set():
    config = RobertaConfig(eos_token_id=5, max_length=30)
    made = GenerationConfig.from_model_config(config)
    assert (made.eos_token_id, made.pad_token_id, made.max_length) == (5, 1, 30)
    made.pad_token_id, config.eos_token_id, config.pad_token_id, config.max_length = 7, 6, 0, 40
    made.follow(config)
    assert (made.eos_token_id, made.pad_token_id, made.max_length) == (6, 7, 40)
    stored = GenerationConfig(eos_token_id=3)
    stored.follow(config)
    assert stored.eos_token_id == 3


def test_a_file_has_the_options_that_differ_and_comes_back_with_unknown_ones(tmp_path):
    assert read_generation_config(tmp_path) is None
    made = GenerationConfig(do_sample=True, eos_token_id=np.array([2, 3]), typical_p=0.5, _from_model_config=True)
    made.save_pretrained(tmp_path / "new")
    text = json.loads((tmp_path / "new" / NAME).read_text())
    assert text == {"do_sample": True, "eos_token_id": [2, 3], "typical_p": 0.5, "_from_model_config": True}
    assert read_generation_config(tmp_path / "new") == made == GenerationConfig.from_pretrained(tmp_path / "new")
    assert GenerationConfig.from_pretrained(tmp_path / "new", top_k=3).top_k == 3
    assert made.update(top_k=4, wrong=1) == {"wrong": 1}
    assert "top_k" in repr(made)
    assert GenerationConfig().to_diff_dict() == {}
    with pytest.raises(ValueError, match="the model's generation_config sets typical_p, which generate lacks"):
        decide(made)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        GenerationConfig(streamer=print).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="push_to_hub of the model"):
        made.save_pretrained(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("name", ["to_dict", "follow", "_origin", "__class__"])
def test_an_option_that_would_replace_a_method_is_refused(name):
    with pytest.raises(ValueError, match="cannot be an option of generate"):
        GenerationConfig.from_dict({name: 1})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("temperature", "hot", "temperature is 'hot'; it must be a finite number"),
        ("length_penalty", float("nan"), "length_penalty is nan; it must be a finite number"),
        ("pad_token_id", True, "pad_token_id is True; it must be a token id"),
        ("do_sample", "false", "do_sample is 'false'; it must be True or False"),
        ("pad_token_id", "1", "pad_token_id is '1'; it must be a token id"),
        ("bos_token_id", -1, "bos_token_id is -1; it must be a token id"),
        ("eos_token_id", "2", "it must be one or several token ids"),
        ("max_length", 1.5, "max_length is 1.5; it must be an integer"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_one_sentence(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        decide(GenerationConfig(**{name: value}))


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_a_file_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ValueError, match=NAME):
        read_generation_config(tmp_path)


def test_updates_set_options_only():
    config = GenerationConfig(max_new_tokens=3)
    assert config.update(max_new_tokens=5, to_dict=1, _origin=2, unheard_of=3) == {
        "to_dict": 1, "_origin": 2, "unheard_of": 3,
    }  # fmt: skip
    assert config.to_diff_dict()["max_new_tokens"] == 5


def test_the_pipeline_starts_from_the_options_that_the_checkpoint_stores():
    config = RobertaConfig(is_decoder=True)
    stored = GenerationConfig(temperature=0.2, max_new_tokens=7, top_k=3, repetition_penalty=1.5)
    model, tokenizer = SimpleNamespace(config=config, generation_config=stored), SimpleNamespace(model_max_length=512)
    settings = TextGenerationPipeline(None, model, tokenizer, top_k=4).settings
    assert (settings["top_k"], settings["repetition_penalty"]) == (4, 1.5)
    assert (settings["do_sample"], settings["max_new_tokens"], settings["temperature"]) == (True, None, 0.7)
