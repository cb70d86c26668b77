"""No argument of `generate` is ignored, and generation does not change the model."""

import dataclasses
from contextlib import contextmanager

import pytest
import torch
from torch.utils._pytree import tree_flatten

from roberta_core.generation import Settings
from roberta_pt import RobertaForCausalLM


@contextmanager
def recorded(model, name):
    """Record the calls of a method."""
    calls, method = [], getattr(model, name)
    setattr(model, name, lambda *arguments: calls.append(arguments) or method(*arguments))
    yield calls


def same(one, other):
    (ours, shape), (theirs, wanted) = tree_flatten(one), tree_flatten(other)
    return shape == wanted and all(map(torch.equal, ours, theirs))


# Settings of a generation, and one more argument that changes the result.
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
    "bos_token_id": ({}, 7),
    "output_scores": ({"return_dict_in_generate": True}, True),
    "return_dict_in_generate": ({}, True),
    "use_cache": ({}, False),
    "streamer": ({}, list.append),
    "logits_processor": ({"max_new_tokens": 6}, [lambda ids, scores: -scores]),
    "stopping_criteria": ({"max_new_tokens": 6}, [lambda ids, scores: torch.full((len(ids),), ids.shape[1] >= 6)]),
    "prefix_allowed_tokens_fn": ({"max_new_tokens": 6}, lambda row, ids: [5, 6]),
}


def test_every_argument_of_generate_is_known():
    assert {field.name for field in dataclasses.fields(Settings)} == GENERATION.keys()


@pytest.mark.parametrize("name", GENERATION)
def test_every_argument_of_generate_has_an_effect(make, config, ids, name):
    config.is_decoder = config.add_cross_attention = True
    model, seen = make(RobertaForCausalLM, config), []
    prompt = ids[:, :4].clamp(2)
    common, value = GENERATION[name]
    way = {key: other for key, other in common.items() if key in SAMPLED}
    first = model.generate(prompt, **{"max_new_tokens": 2, **way})[0, 5].item()  # a token to use as the end token
    before = {key: first if other == "first" else other for key, other in common.items()}
    prompt = None if name == "bos_token_id" else prompt
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


def test_generation_leaves_the_mode_as_it_was(make, config):
    config.is_decoder = True
    decoder = make(RobertaForCausalLM, config).train()
    decoder.generate(torch.tensor([[0, 45, 9, 100], [1, 1, 0, 33]]), max_new_tokens=2)
    assert decoder.training
