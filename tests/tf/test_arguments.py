"""No argument is ignored: each changes what comes back, or is refused with a sentence.

The tests walk over the signatures, so that an argument without an entry here fails.
"""

import copy
import inspect
from functools import cached_property

import keras
import numpy as np
import pytest

import roberta_tf
from roberta_core.parameters import ARCHITECTURES
from roberta_tf.weights import tensors

CLASSES = {name: getattr(roberta_tf, f"TFRoberta{name}") for name in ARCHITECTURES}
CALLS = [
    (architecture, name) for architecture, kind in CLASSES.items()
    for name in list(inspect.signature(kind.call).parameters)[1:]
]  # fmt: skip


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Without a graph for each set of arguments; test_calls.py has those."""
    monkeypatch.setattr("roberta_tf.pretrained.is_eager_call", lambda model, arguments: False)


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # one is enough to see an effect
    return config


@pytest.fixture
def build(make, config):
    """A model of a class, a decoder with cross attention if it can be one."""

    def built(architecture, **settings):
        changed = copy.deepcopy(config)
        changed.is_decoder = changed.add_cross_attention = (architecture, "encoder_hidden_states") in CALLS
        return make(CLASSES[architecture], changed, **settings)

    return built


def pair(architecture, name, ids):
    """Two calls that differ in one argument, where it can have an effect."""
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
        "past_key_values": (plain, {**plain, "past_key_values": ((part, part),) * 1}),
        "use_cache": (plain, {**plain, "use_cache": False}),
        "labels": (plain, {**plain, **labels}),
        "start_positions": ({**plain, **span}, {**plain, **span, "start_positions": span["end_positions"]}),
        "end_positions": ({**plain, **span}, {**plain, **span, "end_positions": span["start_positions"]}),
        "num_items_in_batch": ({**plain, **labels}, {**plain, **labels, "num_items_in_batch": 5}),
        "output_attentions": (plain, {**plain, "output_attentions": True}),
        "output_hidden_states": (plain, {**plain, "output_hidden_states": True}),
        "return_dict": (plain, {**plain, "return_dict": False}),
        "training": (plain, {**plain, "training": True}),
    }[name]


def shown(output):
    """Whatever a call returned, with the kinds of its containers, as something that can be compared."""
    kind = type(output).__name__
    if isinstance(output, dict):
        return kind, [(name, shown(value)) for name, value in output.items()]
    return (kind, [shown(part) for part in output]) if isinstance(output, tuple) else output.numpy().tolist()


@pytest.mark.parametrize(("architecture", "name"), CALLS)
def test_every_argument_of_a_call_has_an_effect(build, ids, architecture, name):
    model = build(architecture)
    if architecture == "ForMultipleChoice":
        ids = np.stack([ids, ids[:, ::-1], ids + 1, ids - 1], axis=1).clip(0, 100)
    before, after = pair(architecture, name, ids)
    assert shown(model(**before)) != shown(model(**after))


def test_the_same_call_has_the_same_effect(build, ids):
    model = build("ForTokenClassification")
    assert shown(model(ids)) == shown(model(ids))


PART = np.ones((2, 3, 2, 4), "f4")


@pytest.mark.parametrize(
    ("architecture", "arguments", "sentence"),
    [
        ("Model", {"encoder_attention_mask": np.ones((2, 5))}, "encoder_attention_mask requires encoder_hidden_states"),
        ("ForCausalLM", {"past_key_values": ((PART,) * 4,) * 1}, "give its encoder_hidden_states"),
        ("ForQuestionAnswering", {"start_positions": np.array([1, 2])}, "an answer has two ends"),
        ("ForQuestionAnswering", {"end_positions": np.array([1, 2])}, "an answer has two ends"),
    ],
)
def test_half_of_what_is_needed_is_refused(build, ids, architecture, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(architecture)(ids, **arguments)


def test_an_encoder_refuses_to_keep_a_cache(make, config, ids):
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        make(CLASSES["Model"], config)(ids, use_cache=True)


def test_a_count_for_losses_that_are_not_summed_is_refused(build, ids):
    with pytest.raises(ValueError, match="num_items_in_batch divides a sum"):
        build("ForCausalLM", loss_reduction="none")(ids, labels=ids, num_items_in_batch=3)


def test_a_labelled_call_returns_its_cache_if_it_is_asked_to(build, ids):
    assert build("ForCausalLM")(ids, labels=ids).past_key_values is None
    assert len(build("ForCausalLM")(ids, labels=ids, use_cache=True).past_key_values) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"inputs": [[0, 5]], "input_ids": [[0, 5]]}, "the prompts came twice"),
        (
            {"inputs": [[0, 5]], "encoder_attention_mask": np.ones((1, 5), "i4")},
            "encoder_attention_mask requires encoder_hidden_states",
        ),
    ],
)
def test_generate_refuses_what_it_would_ignore(build, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        build("ForCausalLM").generate(
            **{name: np.asarray(value) for name, value in arguments.items()}, max_new_tokens=2
        )


def refuses(call, sentence):
    def refused(model):
        with pytest.raises(ValueError, match=sentence):
            call(model)
        return True

    return refused


def new(model, **settings):
    return type(model)(model.config, **settings)


# Every argument of every method but those of `test_pretrained.py`, with what shows its effect.
METHODS = {
    ("__init__", "config"): lambda model: new(model).config is model.config,
    ("__init__", "add_pooling_layer"): lambda model: new(model, add_pooling_layer=False).pooler is None,
    ("__init__", "seed"): lambda model: weights_of(new(model)) != weights_of(new(model, seed=7)),
    ("__init__", "attn_implementation"): refuses(
        lambda model: new(model, attn_implementation="flash"), "known are sdpa"
    ),
    ("__init__", "loss_reduction"): lambda model: new(model, loss_reduction="none").loss_reduction == "none",
    ("__init__", "name"): lambda model: new(model, name="reader").name == "reader",
    ("__init__", "dtype"): lambda model: new(model, dtype="float64").embeddings.LayerNorm.gamma.dtype == "float64",
    ("__init__", "trainable"): lambda model: not new(model, trainable=False).trainable_weights,
    ("from_config", "config"): lambda model: type(model).from_config(model.config).config is model.config,
    ("from_config", "settings"): lambda model: type(model).from_config(model.config, seed=7).seed == 7,
    ("set_input_embeddings", "embeddings"): lambda model: (
        model.set_input_embeddings(table(107)) or model.get_input_embeddings().embeddings[5, 5] == 0.25
    ),
    ("resize_token_embeddings", "new_num_tokens"): lambda model: (
        model.resize_token_embeddings(new_num_tokens=110).input_dim == 110
    ),
    ("resize_token_embeddings", "pad_to_multiple_of"): lambda model: (
        model.resize_token_embeddings(pad_to_multiple_of=8).input_dim == 104
    ),
    ("resize_token_type_embeddings", "size"): lambda model: model.resize_token_type_embeddings(size=9).input_dim == 9,
    ("prune_heads", "heads_to_prune"): lambda model: (
        model.prune_heads(heads_to_prune={0: [0]}) or model.encoder.layer[0].attention.self.heads == 2
    ),
    ("init_cache", "batch_size"): lambda model: model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[0] == 3,
    ("init_cache", "max_length"): lambda model: model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[2] == 5,
    ("num_parameters", "only_trainable"): lambda model: (
        setattr(model.embeddings, "trainable", False)
        or model.num_parameters(only_trainable=True) < model.num_parameters()
    ),
    ("num_parameters", "exclude_embeddings"): lambda model: (
        model.num_parameters(exclude_embeddings=True) == model.num_parameters() - (101 + 19 + 5) * 12
    ),
}
PASSED_ON = {("__init__", "settings"), ("from_config", "custom_objects")}  # the latter Keras hands to every class
LOADED = ("from_pretrained", "save_pretrained", "push_to_hub")
# Keras calls these.
INNER = ("build", "call")


def weights_of(model):
    return [array.tolist() for _, array in tensors(model)]


def table(rows):
    made = keras.layers.Embedding(rows, 12, embeddings_initializer=keras.initializers.Constant(0.25))
    made.build()
    return made


def test_every_argument_of_every_method_is_known():
    methods = [
        (name, getattr(kind, name))
        for kind in (roberta_tf.TFRobertaPreTrainedModel, CLASSES["Model"])
        for name in vars(kind)
        if name == "__init__" or (not name.startswith("_") and name not in (*LOADED, *INNER))
    ]
    found = {
        (name, argument)
        for name, method in methods
        if inspect.isroutine(method) and not isinstance(method, cached_property)
        for argument in inspect.signature(method).parameters
        if argument != "self"
    }
    assert found - PASSED_ON == METHODS.keys()


@pytest.mark.parametrize("known", METHODS, ids=" ".join)
def test_every_argument_of_a_method_has_an_effect(fresh, config, known):
    assert METHODS[known](fresh(CLASSES["Model"], config))
