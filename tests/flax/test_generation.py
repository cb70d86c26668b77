from functools import wraps

import jax
import numpy as np
import pytest
from flax import nnx

from roberta_core import GenerationConfig, RobertaTokenizerFast
from roberta_flax import FlaxRobertaForCausalLM, FlaxRobertaModel

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make(FlaxRobertaForCausalLM, config)


@pytest.fixture
def prompts():
    """Return two prompts; the second is padded on the left."""
    return np.array([[0, 45, 9, 100], [1, 1, 0, 33]])


def test_copies_of_a_model_do_not_share_what_is_set_on_one(decoder):
    copied = nnx.clone(decoder)
    copied.generation_config = GenerationConfig(max_new_tokens=5)
    assert copied.generation_config.max_new_tokens == 5
    assert decoder.generation_config.max_new_tokens != 5


@pytest.mark.usefixtures("compiled")
def test_a_full_cache_takes_no_more(decoder, ids):
    empty, ids = decoder.init_cache(2, 9), ids[:, :3]
    with pytest.raises(ValueError, match="the cache has room for 9 tokens; 7 are in it and 3 more came"):
        decoder(ids, past_key_values=empty._replace(filled=7))
    step = jax.jit(lambda filled: decoder(ids, past_key_values=empty._replace(filled=filled)).logits)
    assert np.isfinite(step(6)).all()
    assert np.isnan(step(7)).all()


@pytest.mark.usefixtures("compiled")
def test_two_functions_are_compiled_for_any_length(decoder, prompts, monkeypatch):
    seen = []
    forward = FlaxRobertaModel._forward

    @wraps(forward)
    def counted(self, input_ids, *args, **kwargs):
        seen.append(input_ids.shape)
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(FlaxRobertaModel, "_forward", counted)
    texts = [decoder.generate(prompts[:, :length], max_new_tokens=8 - length, eos_token_id=None) for length in (3, 4)]
    compiled = list(seen)
    with jax.disable_jit():
        plain = decoder.generate(prompts[:, :3], max_new_tokens=5, eos_token_id=None, use_cache=False)
    np.testing.assert_array_equal(texts[0], plain)
    assert compiled == [(2, 16), (2, 1)]


def test_the_ids_are_an_array_and_have_the_field_of_the_published_output(decoder, prompts):
    found = decoder.generate(prompts, max_new_tokens=2, eos_token_id=None)
    assert isinstance(found.sequences, jax.Array)
    assert found.shape == found.sequences.shape == (2, 6)
    np.testing.assert_array_equal(found["sequences"], found)
    np.testing.assert_array_equal(jax.numpy.concatenate([found, found[:, :1]], axis=1)[:, :6], found.sequences)
    np.testing.assert_array_equal(jax.jit(lambda ids: ids + 1)(found), found.at[:].add(1))
    assert type(found[0]) is np.ndarray
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    assert tokenizer.batch_decode(found) == tokenizer.batch_decode(found.sequences)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 3
    with pytest.raises(AttributeError):
        found.wrong  # noqa: B018
