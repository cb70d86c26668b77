"""No argument of a method is ignored: each has an effect or is refused with a message.

The tests iterate over the signatures, so an argument without an entry here or in the adapter fails.
"""

import inspect
from functools import cached_property

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("eager")


def rebuild(model, **settings):
    return type(model)(model.config, **settings)


def refuses(call, sentence):
    def refused(framework, model):
        with pytest.raises(ValueError, match=sentence):
            call(model)
        return True

    return refused


def count_resized_rows(**settings):
    return lambda framework, model: framework.value(model.resize_token_embeddings(**settings)).shape[0]


def depends_on_the_seed(framework, model):
    one, other = (framework.tensors(rebuild(model, **more)) for more in ({}, {"seed": 7}))
    return any((one[name] != other[name]).any() for name in one)


def sets_the_embeddings(framework, model):
    table = framework.embedding(framework.NEW_ROWS, 12)
    model.set_input_embeddings(table)
    return np.array_equal(framework.value(model.get_input_embeddings()), framework.value(table))


def refuses_mean_resizing(framework, model):
    with pytest.raises(ValueError, match="mean_resizing=True draws"):
        model.resize_token_embeddings(110, mean_resizing=True)
    return True


def sets_attention(framework, model):
    refuses(lambda model: model.set_attn_implementation("flash"), "expected one of sdpa, eager")(framework, model)
    for given in ("eager", {"": "sdpa"}, {}):
        model.set_attn_implementation(attn_implementation=given)
        if model.attn_implementation != ("eager" if given == "eager" else "sdpa"):
            return False
    return True


def scores_transitions(**changes):
    """The scores of new tokens change with an argument."""

    def is_changed(framework, model):
        scores = np.arange(12, dtype=np.float32).reshape(2, 2, 3) ** 1.5
        plain = {"sequences": np.array([[0, 1, 2], [0, 2, 0]]), "scores": tuple(scores)}
        found = []
        for given in (plain, {**plain, **changes}):
            tensors = framework.arguments({name: value for name, value in given.items() if name != "normalize_logits"})
            options = {name: value for name, value in given.items() if name == "normalize_logits"}
            found.append(np.asarray(model.compute_transition_scores(**tensors, **options)))
        return (found[0] == [scores[[0, 1], [0, 0], [1, 2]], scores[[0, 1], [1, 1], [2, 0]]]).all() and (
            found[0] != found[1]
        ).any()

    return is_changed


# Every argument of every method, except those in `test_pretrained.py`, with a function that checks its effect.
METHODS = {
    ("__init__", "config"): lambda framework, model: rebuild(model).config == model.config,
    ("__init__", "add_pooling_layer"): lambda framework, model: rebuild(model, add_pooling_layer=False).pooler is None,
    ("__init__", "seed"): depends_on_the_seed,
    ("__init__", "attn_implementation"): refuses(
        lambda model: rebuild(model, attn_implementation="flash"), "expected one of sdpa"
    ),
    ("__init__", "loss_reduction"): lambda framework, model: (
        rebuild(model, loss_reduction="none").loss_reduction == "none"
    ),
    ("from_config", "config"): lambda framework, model: type(model).from_config(model.config).config == model.config,
    ("from_config", "settings"): lambda framework, model: type(model).from_config(model.config, seed=7).seed == 7,
    ("set_input_embeddings", "value"): sets_the_embeddings,
    ("set_attn_implementation", "attn_implementation"): sets_attention,
    ("compute_transition_scores", "sequences"): scores_transitions(sequences=np.array([[0, 1, 1], [0, 2, 0]])),
    ("compute_transition_scores", "scores"): scores_transitions(scores=tuple(np.ones((2, 2, 3), np.float32))),
    ("compute_transition_scores", "beam_indices"): scores_transitions(beam_indices=np.array([[0, 1], [1, -1]])),
    ("compute_transition_scores", "normalize_logits"): scores_transitions(normalize_logits=True),
    ("get_correct_attn_implementation", "requested_attention"): refuses(
        lambda model: model.get_correct_attn_implementation(requested_attention="flash"), "expected one of sdpa, eager"
    ),
    ("get_correct_attn_implementation", "is_init_check"): lambda framework, model: (
        {model.get_correct_attn_implementation(None, is_init_check=check) for check in (True, False)} == {"sdpa"}
    ),
    ("resize_token_embeddings", "new_num_tokens"): lambda *given: count_resized_rows(new_num_tokens=110)(*given) == 110,
    ("resize_token_embeddings", "pad_to_multiple_of"): lambda *given: (
        count_resized_rows(pad_to_multiple_of=8)(*given) == 104
    ),
    ("resize_token_type_embeddings", "size"): lambda framework, model: (
        framework.value(model.resize_token_type_embeddings(size=9)).shape[0] == 9
    ),
    ("resize_token_embeddings", "mean_resizing"): refuses_mean_resizing,
    ("prune_heads", "heads_to_prune"): lambda framework, model: (
        model.prune_heads(heads_to_prune={0: [0]}) or model.encoder.layer[0].attention.self.heads == 2
    ),
    ("init_cache", "batch_size"): lambda framework, model: (
        model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[0] == 3
    ),
    ("init_cache", "max_length"): lambda framework, model: (
        model.init_cache(batch_size=3, max_length=5).layers[0][0].shape[2] == 5
    ),
    ("num_parameters", "exclude_embeddings"): lambda framework, model: (
        model.num_parameters(exclude_embeddings=True) == model.num_parameters() - (101 + 19 + 5) * 12
    ),
}
LOADED = ("from_pretrained", "save_pretrained", "push_to_hub")


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # one is enough to see an effect
    return config


def list_methods(framework):
    return {**METHODS, **framework.METHODS}


def test_every_argument_of_every_method_has_a_check(framework):
    body = framework.kind("Model")
    found = {
        (name, argument)
        for kind in body.__mro__
        if kind.__module__.startswith("roberta_")
        for name, method in ((name, getattr(kind, name)) for name in vars(kind))
        if name == "__init__" or (not name.startswith("_") and name not in (*LOADED, *framework.INNER))
        if inspect.isroutine(method) and not isinstance(method, cached_property)
        for argument in inspect.signature(method).parameters
        if argument != "self"
    }
    assert found - framework.PASSED_ON == list_methods(framework).keys()


ROWS = {("method", "option"): list_methods}


def test_every_argument_of_a_method_has_an_effect(framework, fresh, config, method, option):
    assert list_methods(framework)[method, option](framework, fresh("Model", config))
