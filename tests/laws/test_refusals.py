"""What the published classes have and RoBERTa does not need: present with its true value, or refused with advice."""

import pytest

from roberta_core.refusals import list_refused

FRAMEWORKS = {"pt": "pt", "tf": "tf", "flax": "flax"}


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1
    return config


def test_what_is_not_available_raises_an_error_that_says_what_to_do(framework, make, config):
    config.is_decoder = True
    model = make("ForCausalLM", config)
    names = list_refused(type(model))
    assert "register_for_auto_class" in names
    for name in names:
        for owner in (model, type(model)):
            with pytest.raises(NotImplementedError, match=rf"{type(model).__name__}\.{name} is not available: .{{20}}"):
                getattr(owner, name)("a", b=1)


def test_a_model_describes_itself(framework, make, config):
    body = make("Model", config)
    config.is_decoder = True
    decoder = make("ForCausalLM", config)
    assert [kind.can_generate() for kind in (type(body), type(decoder), decoder)] == [False, True, True]
    assert (body.framework, body.main_input_name, body.name_or_path) == (FRAMEWORKS[framework.name], "input_ids", "")


def test_no_checkpoint_is_refused(framework):
    with pytest.raises(ValueError, match="pretrained_model_name_or_path is None: name a folder, an embedded model or"):
        framework.kind("Model").from_pretrained(None)


def test_the_configuration_turns_gradient_checkpointing_on(make, config):
    assert not make("ForMaskedLM", config).is_gradient_checkpointing
    config.gradient_checkpointing = True
    assert make("ForMaskedLM", config).is_gradient_checkpointing
