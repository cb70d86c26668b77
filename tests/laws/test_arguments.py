"""No argument of a call is ignored: each changes the result or is refused with a message.

The tests iterate over the signatures, so an argument without an entry here fails.
"""

import copy
import inspect

import numpy as np
import pytest

from roberta_core.parameters import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("eager")

# Arguments of a call that are refused, with their message.
REFUSED = {"cache_position": (np.arange(7), "cache_position follows from past_key_values")}


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # one is enough to see an effect
    return config


@pytest.fixture
def build(framework, make, config):
    """Return a function that builds a model of a class, as a decoder with cross attention if the class supports it."""

    def build(architecture, **settings):
        changed = copy.deepcopy(config)
        decodes = "encoder_hidden_states" in list_parameters(framework, architecture)
        changed.is_decoder = changed.add_cross_attention = decodes
        return make(architecture, changed, **settings)

    return build


def list_parameters(framework, architecture):
    """Return the arguments of a call."""
    return list(inspect.signature(getattr(framework.kind(architecture), framework.FORWARD)).parameters)[1:]


def list_arguments(framework):
    """Return every argument of the call of every class."""
    return [(one, argument) for one in ARCHITECTURES for argument in list_parameters(framework, one)]


ROWS = {("architecture", "argument"): list_arguments}


def build_pair(framework, architecture, name, ids):
    """Return the arguments of two calls that differ in one argument and must give different results."""
    generator = np.random.default_rng(5)
    states, words = (generator.normal(size=shape).astype("f4") for shape in ((2, 5, 12), (*ids.shape, 12)))
    part = generator.normal(size=(2, 3, 2, 4)).astype("f4")
    rows = {"ForSequenceClassification": [1, 0], "ForMultipleChoice": [3, 0]}
    labels = {"labels": np.array(rows[architecture]) if architecture in rows else ids % 2}
    span = {"start_positions": np.array([1, 2]), "end_positions": np.array([6, 3])}
    plain = {"input_ids": ids}
    some = np.ones_like(ids)
    some[..., 0, :4] = 0
    return {
        "input_ids": (plain, {"input_ids": ids[..., ::-1].copy()}),
        "attention_mask": (plain, {**plain, "attention_mask": some}),
        "token_type_ids": (plain, {**plain, "token_type_ids": some}),
        "position_ids": (plain, {**plain, "position_ids": some * 4}),
        "head_mask": (plain, {**plain, "head_mask": np.array([1, 0.5, 0], "f4")}),
        "inputs_embeds": ({"inputs_embeds": words}, {"inputs_embeds": words[..., ::-1].copy()}),
        "encoder_hidden_states": (plain, {**plain, "encoder_hidden_states": states}),
        "encoder_attention_mask": (
            {**plain, "encoder_hidden_states": states},
            {**plain, "encoder_hidden_states": states, "encoder_attention_mask": np.eye(5)[:2]},
        ),
        "past_key_values": (plain, {**plain, "past_key_values": ((part, part),)}),
        "use_cache": (plain, {**plain, "use_cache": False}),
        "labels": (plain, {**plain, **labels}),
        "start_positions": ({**plain, **span}, {**plain, **span, "start_positions": span["end_positions"]}),
        "end_positions": ({**plain, **span}, {**plain, **span, "end_positions": span["start_positions"]}),
        "num_items_in_batch": ({**plain, **labels}, {**plain, **labels, "num_items_in_batch": 5}),
        "output_attentions": (plain, {**plain, "output_attentions": True}),
        "output_hidden_states": (plain, {**plain, "output_hidden_states": True}),
        "return_dict": (plain, {**plain, "return_dict": False}),
        **framework.own_arguments(plain),
    }[name]


def is_equal(framework, one, other):
    (ours, shape), (theirs, expected) = map(framework.leaves, (one, other))
    return shape == expected and all(map(np.array_equal, ours, theirs))


def check_argument(framework, model, architecture, argument, ids):
    """Assert that an argument has an effect or is refused."""
    if architecture == "ForMultipleChoice":
        ids = np.stack([ids, ids[:, ::-1], ids + 1, ids - 1], axis=1).clip(0, 100)
    if argument in REFUSED:
        value, sentence = REFUSED[argument]
        with pytest.raises(ValueError, match=sentence):
            framework.call(model, ids, **{argument: value})
        return
    before, after = build_pair(framework, architecture, argument, ids)
    if argument == "params":
        after = {**before, "params": framework.doubled(model.params)}
    if framework.is_lacking(architecture, argument):
        value = after[argument] or True if argument == "use_cache" else after[argument]
        with pytest.raises(TypeError, match=f"{type(model).__name__} takes .*no {argument}"):
            framework.call(model, **{**before, **after, argument: value})
        return
    assert not is_equal(framework, framework.call(model, **before), framework.call(model, **after))


def test_every_argument_of_a_call_has_an_effect(framework, build, ids, architecture, argument):
    check_argument(framework, build(architecture), architecture, argument, ids)


@pytest.mark.parametrize("name", ["attention_mask", "position_ids", "head_mask", "use_cache", "output_attentions"])
def test_an_ignored_argument_is_detected(framework, build, ids, monkeypatch, name):
    model = build("ForCausalLM")
    forward = getattr(type(model), framework.FORWARD)

    def forgetful(*values, **named):
        given = inspect.signature(forward).bind(*values, **named)
        given.arguments.pop(name, None)
        for key, value in given.arguments.items():
            if isinstance(value, dict):  # Keras receives all inputs as one dict
                given.arguments[key] = {other: one for other, one in value.items() if other != name}
        return forward(*given.args, **given.kwargs)

    monkeypatch.setattr(type(model), framework.FORWARD, forgetful)
    with pytest.raises(AssertionError):
        check_argument(framework, model, "ForCausalLM", name, ids)


def test_the_same_call_has_the_same_effect(framework, build, ids):
    model = build("ForTokenClassification")
    assert is_equal(framework, *(framework.call(model, ids) for _ in range(2)))


PART = np.ones((2, 3, 2, 4), "f4")


@pytest.mark.parametrize(
    ("architecture", "arguments", "sentence"),
    [
        ("Model", {"encoder_attention_mask": np.ones((2, 5))}, "encoder_attention_mask requires encoder_hidden_states"),
        ("ForCausalLM", {"past_key_values": ((PART,) * 4,) * 1}, "pass encoder_hidden_states again"),
        ("ForQuestionAnswering", {"start_positions": np.array([1, 2])}, "an answer has two ends"),
        ("ForQuestionAnswering", {"end_positions": np.array([1, 2])}, "an answer has two ends"),
    ],
)
def test_an_argument_without_its_counterpart_is_refused(framework, build, ids, architecture, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        framework.call(build(architecture), ids, **arguments)


def test_an_encoder_refuses_use_cache(framework, make, config, ids):
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        framework.call(make("Model", config), ids, use_cache=True)


def test_a_count_is_refused_without_loss_reduction(framework, build, ids):
    with pytest.raises(ValueError, match="num_items_in_batch divides a sum"):
        framework.call(build("ForCausalLM", loss_reduction="none"), ids, labels=ids, num_items_in_batch=3)


def test_a_labelled_call_returns_its_cache_on_request(framework, build, ids):
    model = build("ForCausalLM")
    assert framework.call(model, ids, labels=ids).past_key_values is None
    assert len(framework.call(model, ids, labels=ids, use_cache=True).past_key_values) == 1
