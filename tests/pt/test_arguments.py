"""No argument is ignored: each changes what comes back, or is refused with a sentence.

The tests walk over the signatures, so that an argument without an entry here fails.
"""

import copy
import dataclasses
import inspect
from contextlib import contextmanager

import pytest
import torch
from torch.utils._pytree import tree_flatten

import roberta_pt
from roberta_core.generation import Settings
from roberta_core.parameters import ARCHITECTURES

CLASSES = {name: getattr(roberta_pt, f"Roberta{name}") for name in ARCHITECTURES}
CALLS = [
    (architecture, name) for architecture, kind in CLASSES.items()
    for name in list(inspect.signature(kind.forward).parameters)[1:]
]  # fmt: skip
# Arguments of a call that are refused with a sentence.
REFUSED = {"cache_position": (torch.arange(7), "cache_position follows from past_key_values")}


@pytest.fixture
def build(make, config):
    """A model of a class, a decoder with cross attention if it can be one."""

    def built(architecture, **settings):
        changed = copy.deepcopy(config)
        changed.is_decoder = changed.add_cross_attention = "encoder_hidden_states" in parameters(architecture)
        return make(CLASSES[architecture], changed, **settings)

    return built


def parameters(architecture):
    return inspect.signature(CLASSES[architecture].forward).parameters


def pair(architecture, name, ids):
    """Two calls that differ in one argument, where it can have an effect."""
    generator = torch.Generator().manual_seed(5)
    states, words = (torch.randn(shape, generator=generator) for shape in ((2, 5, 12), (*ids.shape, 12)))
    part = torch.randn((2, 3, 2, 4), generator=generator)
    rows = {"ForSequenceClassification": [1, 0], "ForMultipleChoice": [3, 0]}
    labels = {"labels": torch.tensor(rows[architecture]) if architecture in rows else ids % 2}
    span = {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([6, 3])}
    plain = {"input_ids": ids}
    some = torch.ones_like(ids)
    some[..., 0, 3] = 0
    return {
        "input_ids": (plain, {"input_ids": ids.flip(-1)}),
        "attention_mask": (plain, {**plain, "attention_mask": some}),
        "token_type_ids": (plain, {**plain, "token_type_ids": some}),
        "position_ids": (plain, {**plain, "position_ids": some * 4}),
        "head_mask": (plain, {**plain, "head_mask": torch.tensor([1, 0.5, 0])}),
        "inputs_embeds": ({"inputs_embeds": words}, {"inputs_embeds": words.flip(-1)}),
        "encoder_hidden_states": (plain, {**plain, "encoder_hidden_states": states}),
        "encoder_attention_mask": (
            {**plain, "encoder_hidden_states": states},
            {**plain, "encoder_hidden_states": states, "encoder_attention_mask": torch.eye(5)[:2]},
        ),
        "past_key_values": (plain, {**plain, "past_key_values": ((part, part),) * 2}),
        "use_cache": (plain, {**plain, "use_cache": False}),
        "labels": (plain, {**plain, **labels}),
        "start_positions": ({**plain, **span}, {**plain, **span, "start_positions": span["end_positions"]}),
        "end_positions": ({**plain, **span}, {**plain, **span, "end_positions": span["start_positions"]}),
        "num_items_in_batch": ({**plain, **labels}, {**plain, **labels, "num_items_in_batch": 5}),
        "output_attentions": (plain, {**plain, "output_attentions": True}),
        "output_hidden_states": (plain, {**plain, "output_hidden_states": True}),
        "return_dict": (plain, {**plain, "return_dict": False}),
    }[name]


@contextmanager
def recorded(model, name):
    """The calls of a method."""
    calls, method = [], getattr(model, name)
    setattr(model, name, lambda *arguments: calls.append(arguments) or method(*arguments))
    yield calls


def same(one, other):
    (ours, shape), (theirs, wanted) = tree_flatten(one), tree_flatten(other)
    return shape == wanted and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize(("architecture", "name"), CALLS)
def test_every_argument_of_a_call_has_an_effect(build, ids, architecture, name):
    model = build(architecture)
    if architecture == "ForMultipleChoice":
        ids = torch.stack([ids, ids.flip(1), ids + 1, ids - 1], dim=1).clamp(0, 100)
    if name in REFUSED:
        value, sentence = REFUSED[name]
        with pytest.raises(ValueError, match=sentence):
            model(ids, **{name: value})
        return
    before, after = pair(architecture, name, ids)
    assert same(model(**before), model(**before))
    assert not same(model(**before), model(**after))


@pytest.mark.parametrize("name", ["attention_mask", "position_ids", "head_mask", "use_cache", "output_attentions"])
def test_an_argument_that_is_ignored_would_be_noticed(build, ids, monkeypatch, name):
    forward = CLASSES["Model"].forward

    def forgetful(*values, **named):
        given = inspect.signature(forward).bind(*values, **named)
        given.arguments.pop(name, None)
        return forward(*given.args, **given.kwargs)

    monkeypatch.setattr(CLASSES["Model"], "forward", forgetful)
    with pytest.raises(AssertionError):
        test_every_argument_of_a_call_has_an_effect(build, ids, "ForCausalLM", name)


@pytest.mark.parametrize(
    ("architecture", "arguments", "sentence"),
    [
        (
            "Model",
            {"encoder_attention_mask": torch.ones(2, 5)},
            "encoder_attention_mask requires encoder_hidden_states",
        ),
        ("ForCausalLM", {"past_key_values": ((torch.ones(2, 3, 2, 4),) * 4,) * 2}, "give its encoder_hidden_states"),
        ("ForQuestionAnswering", {"start_positions": torch.tensor([1, 2])}, "an answer has two ends"),
        ("ForQuestionAnswering", {"end_positions": torch.tensor([1, 2])}, "an answer has two ends"),
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
    assert len(build("ForCausalLM")(ids, labels=ids, use_cache=True).past_key_values) == 2


def new(model, **settings):
    return type(model)(model.config, **settings)


def refuses(call, sentence):
    def refused(model):
        with pytest.raises(ValueError, match=sentence):
            call(model)
        return True

    return refused


# Every argument of every method but those of `test_pretrained.py`, with what shows its effect.
METHODS = {
    ("__init__", "config"): lambda model: new(model).config is model.config,
    ("__init__", "add_pooling_layer"): lambda model: new(model, add_pooling_layer=False).pooler is None,
    ("__init__", "seed"): lambda model: not same(new(model).state_dict(), new(model, seed=7).state_dict()),
    ("__init__", "attn_implementation"): lambda model: (
        new(model, attn_implementation="eager").encoder.layer[0].attention.self.attn_implementation == "eager"
    ),
    ("__init__", "loss_reduction"): lambda model: new(model, loss_reduction="none").loss_reduction == "none",
    ("from_config", "config"): lambda model: type(model).from_config(model.config).config is model.config,
    ("from_config", "settings"): lambda model: type(model).from_config(model.config, seed=7).seed == 7,
    ("set_output_embeddings", "embeddings"): refuses(
        lambda model: model.set_output_embeddings(torch.nn.Linear(12, 101)), "see set_input_embeddings"
    ),
    ("set_input_embeddings", "embeddings"): lambda model: (
        model.set_input_embeddings(table := torch.nn.Embedding(101, 12)) or model.get_input_embeddings() is table
    ),
    ("resize_token_embeddings", "new_num_tokens"): lambda model: (
        model.resize_token_embeddings(new_num_tokens=110).num_embeddings == 110
    ),
    ("resize_token_embeddings", "pad_to_multiple_of"): lambda model: (
        model.resize_token_embeddings(pad_to_multiple_of=8).num_embeddings == 104
    ),
    ("resize_token_embeddings", "mean_resizing"): refuses(
        lambda model: model.resize_token_embeddings(110, mean_resizing=True), "mean_resizing=True draws"
    ),
    ("resize_token_type_embeddings", "size"): lambda model: (
        model.resize_token_type_embeddings(size=9).num_embeddings == 9
    ),
    ("prune_heads", "heads_to_prune"): lambda model: (
        model.prune_heads(heads_to_prune={1: [0]}) or model.encoder.layer[1].attention.self.heads == 2
    ),
    ("gradient_checkpointing_enable", "gradient_checkpointing_kwargs"): lambda model: (
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        or model.encoder.checkpointing == {"use_reentrant": True}
    ),
    ("init_cache", "batch_size"): lambda model: model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[0] == 3,
    ("init_cache", "max_length"): lambda model: model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[2] == 5,
    ("num_parameters", "only_trainable"): lambda model: (
        model.embeddings.requires_grad_(False) and model.num_parameters(only_trainable=True) < model.num_parameters()
    ),
    ("num_parameters", "exclude_embeddings"): lambda model: (
        model.num_parameters(exclude_embeddings=True) == model.num_parameters() - (101 + 19 + 5) * 12
    ),
}  # fmt: skip
LOADED = ("from_pretrained", "save_pretrained", "push_to_hub")
INNER = ("forward",)


def test_every_argument_of_every_method_is_known():
    methods = [
        (name, getattr(kind, name))
        for kind in (roberta_pt.RobertaPreTrainedModel, CLASSES["Model"])
        for name in vars(kind)
        if name == "__init__" or (not name.startswith("_") and name not in (*LOADED, *INNER))
    ]
    found = {
        (name, argument)
        for name, method in methods
        if inspect.isroutine(method)
        for argument in inspect.signature(method).parameters
        if argument != "self"
    }
    assert found - {("__init__", "settings")} == METHODS.keys()


@pytest.mark.parametrize("known", METHODS, ids=" ".join)
def test_every_argument_of_a_method_has_an_effect(make, config, known):
    assert METHODS[known](make(CLASSES["Model"], config))


# Settings of a generation, and one argument more that shows in what comes back.
BEAMS = {"num_beams": 3, "max_new_tokens": 6, "return_dict_in_generate": True, "output_scores": True}
SAMPLED = {"do_sample": True, "max_new_tokens": 6, "temperature": 9.0, "top_k": 0}
GENERATION = {
    "max_length": ({"max_length": 12}, 9),
    "max_new_tokens": ({"max_new_tokens": 5}, 3),
    "min_new_tokens": ({"eos_token_id": "first"}, 4),
    "do_sample": ({"temperature": 9.0, "max_new_tokens": 6}, True),
    "temperature": ({**SAMPLED, "temperature": 1.0}, 9.0),
    "top_k": (SAMPLED, 1),
    "top_p": (SAMPLED, 0.01),
    "seed": (SAMPLED, 3),
    "num_beams": ({"return_dict_in_generate": True, "output_scores": True}, 4),
    "length_penalty": (BEAMS, 3.0),
    "early_stopping": ({**BEAMS, "eos_token_id": "first", "length_penalty": 5.0}, True),
    "num_return_sequences": (BEAMS, 2),
    "repetition_penalty": ({"max_new_tokens": 8}, 50.0),
    "no_repeat_ngram_size": ({"max_new_tokens": 8}, 1),
    "eos_token_id": ({}, "first"),
    "pad_token_id": ({**SAMPLED, "eos_token_id": "first"}, 77),
    "output_scores": ({"return_dict_in_generate": True}, True),
    "return_dict_in_generate": ({}, True),
    "use_cache": ({}, False),
    "streamer": ({}, list.append),
}


def test_every_argument_of_generate_is_known():
    assert {field.name for field in dataclasses.fields(Settings)} == GENERATION.keys()


@pytest.mark.parametrize("name", GENERATION)
def test_every_argument_of_generate_has_an_effect(build, ids, name):
    model, seen = build("ForCausalLM"), []
    prompt = ids[:, :4].clamp(2)
    common, value = GENERATION[name]
    way = {key: other for key, other in common.items() if key in SAMPLED}
    first = model.generate(prompt, **{"max_new_tokens": 2, **way})[0, 5].item()  # a token that comes, to be the end
    before = {key: first if other == "first" else other for key, other in common.items()}
    after = {**before, name: first if value == "first" else value}
    if name == "streamer":
        after[name] = seen.append
    limits = {} if {"max_length", "max_new_tokens"} & before.keys() else {"max_new_tokens": 5}
    with recorded(model, "init_cache") as caches:
        got = model.generate(prompt, **limits, **after)
    if name in ("use_cache", "streamer"):
        assert len(seen) == 5 if name == "streamer" else not caches
    else:
        assert not same(got, model.generate(prompt, **limits, **before))
