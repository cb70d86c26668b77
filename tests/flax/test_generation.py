from functools import wraps

import jax
import numpy as np
import pytest

from roberta_core.outputs import GenerateOutput
from roberta_flax import FlaxRobertaForCausalLM, FlaxRobertaModel

pytestmark = pytest.mark.usefixtures("eager")

WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 3, "temperature": 2.0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
}  # as few shapes as possible: XLA compiles each operation for each of them


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make(FlaxRobertaForCausalLM, config)


@pytest.fixture
def prompts():
    """Two prompts, the second padded on the left."""
    return np.array([[0, 45, 9, 100], [1, 1, 0, 33]])


@pytest.mark.parametrize("way", WAYS)
def test_a_cache_changes_speed_only(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 12, "eos_token_id": None}
    cached = decoder.generate(prompts, **arguments)
    assert cached.shape == (len(prompts) * arguments.get("num_return_sequences", 1), 16)
    np.testing.assert_array_equal(cached, decoder.generate(prompts, use_cache=False, **arguments))


@pytest.mark.parametrize("way", ["greedy", "beams"])
def test_left_padding_does_not_change_the_text(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 12, "num_return_sequences": 1, "eos_token_id": None}
    padded = decoder.generate(prompts, **arguments)[1, 4:]
    alone = decoder.generate(prompts[[1, 1], 2:], **arguments)[0, 2:]
    np.testing.assert_array_equal(padded, alone)


def test_greedy_text_is_what_the_forward_pass_says(decoder, prompts):
    ids = start = prompts[[0, 0]]
    for _ in range(10):
        best = np.asarray(decoder(ids).logits[:, -1]).argmax(-1)
        ids = np.concatenate([ids, best[:, None]], axis=1)
    np.testing.assert_array_equal(decoder.generate(start, max_new_tokens=10, eos_token_id=None), ids)


def test_the_encoder_is_read_by_every_beam(make, config, prompts):
    config.is_decoder = config.add_cross_attention = True
    model = make(FlaxRobertaForCausalLM, config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32) * 3
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "max_new_tokens": 10}
    for way in WAYS.values():
        cached = model.generate(prompts, **arguments, **way)
        np.testing.assert_array_equal(cached, model.generate(prompts, use_cache=False, **arguments, **way))
    other = model.generate(prompts, max_new_tokens=10, encoder_hidden_states=-states)
    assert not np.array_equal(model.generate(prompts, **arguments), other)


@pytest.mark.usefixtures("compiled")
def test_a_fixed_cache_equals_one_that_grows(decoder, ids):
    mask = np.ones((2, 9), int)
    mask[1, 0] = 0
    ids = ids.clip(3)
    fixed = decoder(ids[:, :5], attention_mask=mask, past_key_values=decoder.init_cache(2, 9))
    growing = decoder(ids[:, :5], attention_mask=mask[:, :5])
    np.testing.assert_allclose(fixed.logits[0], growing.logits[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fixed.logits[1, 1:], growing.logits[1, 1:], rtol=1e-4, atol=1e-4)
    assert fixed.past_key_values.filled == 5
    fixed = decoder(ids[:, 5:], attention_mask=mask, past_key_values=fixed.past_key_values)
    growing = decoder(ids[:, 5:], attention_mask=mask[:, :7], past_key_values=growing.past_key_values)
    np.testing.assert_allclose(fixed.logits, growing.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("compiled")
def test_a_full_cache_takes_no_more(decoder, ids):
    empty, ids = decoder.init_cache(2, 9), ids[:, :3]
    with pytest.raises(ValueError, match="the cache has room for 9 tokens; 7 are in it and 3 more came"):
        decoder(ids, past_key_values=empty._replace(filled=7))
    step = jax.jit(lambda filled: decoder(ids, past_key_values=empty._replace(filled=filled)).logits)
    assert np.isfinite(step(6)).all()
    assert np.isnan(step(7)).all()


def test_all_of_the_output_is_returned_on_request(decoder, prompts):
    output = decoder.generate(
        prompts, max_new_tokens=3, eos_token_id=None, output_scores=True, return_dict_in_generate=True
    )
    assert type(output) is GenerateOutput
    np.testing.assert_array_equal(np.stack(output.scores, axis=1).argmax(-1), output.sequences[:, 4:])


def test_a_streamer_sees_the_tokens_of_each_step(decoder, prompts):
    seen = []
    text = decoder.generate(prompts, max_new_tokens=5, eos_token_id=None, streamer=seen.append)
    assert len(seen) == 5
    np.testing.assert_array_equal(np.stack(seen, axis=1), np.asarray(text)[:, 4:])


def test_without_a_prompt_text_begins_with_the_first_token(decoder):
    texts = decoder.generate(max_new_tokens=3, do_sample=True, num_return_sequences=2)
    assert texts[:, 0].tolist() == [decoder.config.bos_token_id] * 2


def test_what_cannot_be_generated_is_refused(make, config, decoder, prompts):
    with pytest.raises(ValueError, match="79 new ones are more than the 78"):
        decoder.generate(prompts[:, :1] * 0, max_new_tokens=79)
    with pytest.raises(TypeError, match="max_tokens"):
        decoder.generate(prompts, max_tokens=3)
    with pytest.raises(ValueError, match="input_ids contains 101"):
        decoder.generate(prompts + 1)
    config.is_decoder = False
    with pytest.raises(ValueError, match="generate needs a decoder"):
        make(FlaxRobertaForCausalLM, config).generate(prompts)


@pytest.mark.usefixtures("compiled")
def test_two_functions_are_compiled_for_any_length(decoder, prompts, monkeypatch):
    seen = []
    forward = FlaxRobertaModel.forward

    @wraps(forward)
    def counted(self, input_ids, *args, **kwargs):
        seen.append(input_ids.shape)
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(FlaxRobertaModel, "forward", counted)
    texts = [decoder.generate(prompts[:, :length], max_new_tokens=8 - length, eos_token_id=None) for length in (3, 4)]
    compiled = list(seen)
    with jax.disable_jit():
        plain = decoder.generate(prompts[:, :3], max_new_tokens=5, eos_token_id=None, use_cache=False)
    np.testing.assert_array_equal(texts[0], plain)
    assert compiled == [(2, 16), (2, 1)]
