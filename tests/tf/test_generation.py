import numpy as np
import pytest
import tensorflow as tf

from roberta_core.outputs import GenerateOutput
from roberta_tf import TFRobertaForCausalLM

WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 3, "temperature": 2.0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
}


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # a graph costs time
    return config


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make(TFRobertaForCausalLM, config)


@pytest.fixture
def prompts() -> np.ndarray:
    """Two prompts, the second padded on the left."""
    return np.array([[0, 45, 9, 100], [1, 1, 0, 33]])


@pytest.mark.parametrize("way", WAYS)
def test_a_cache_changes_speed_only(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 32, "eos_token_id": None}
    cached = decoder.generate(prompts, **arguments)
    assert cached.shape == (len(prompts) * arguments.get("num_return_sequences", 1), 36)
    np.testing.assert_array_equal(cached, decoder.generate(prompts, use_cache=False, **arguments))


@pytest.mark.parametrize("way", ["greedy", "beams"])
def test_left_padding_does_not_change_the_text(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 20, "num_return_sequences": 1, "eos_token_id": None}
    padded = decoder.generate(prompts, **arguments)[1, 4:]
    np.testing.assert_array_equal(padded, decoder.generate(prompts[1:, 2:], **arguments)[0, 2:])


def test_greedy_text_is_what_the_forward_pass_says(decoder, prompts):
    ids = prompts[:1]
    for _ in range(10):
        ids = np.concatenate([ids, decoder(ids).logits.numpy()[:, -1:].argmax(-1)], axis=1)
    np.testing.assert_array_equal(decoder.generate(prompts[:1], max_new_tokens=10, eos_token_id=None), ids)


def test_the_encoder_is_read_by_every_beam(make, config, prompts):
    config.is_decoder = config.add_cross_attention = True
    model = make(TFRobertaForCausalLM, config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32) * 3
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "max_new_tokens": 10}
    for way in WAYS.values():
        cached = model.generate(prompts, **arguments, **way)
        np.testing.assert_array_equal(cached, model.generate(prompts, use_cache=False, **arguments, **way))
    other = model.generate(prompts, **{**arguments, "encoder_hidden_states": -states})
    assert (model.generate(prompts, **arguments) != other).numpy().any()


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
    full = decoder(ids[:, :3], attention_mask=mask, past_key_values=fixed.past_key_values)
    assert np.isnan(full.logits).all()


def test_decoding_traces_one_graph(decoder, prompts):
    decoder.generate(prompts, max_new_tokens=2)
    before = len(decoder.roberta.graphs.traced)
    decoder.generate(np.tile(prompts, (3, 2)), max_new_tokens=9)
    assert len(decoder.roberta.graphs.traced) == before


def test_all_of_the_output_is_returned_on_request(decoder, prompts):
    output = decoder.generate(
        prompts, max_new_tokens=3, eos_token_id=None, output_scores=True, return_dict_in_generate=True
    )
    assert type(output) is GenerateOutput
    np.testing.assert_array_equal(tf.stack(output.scores, axis=1).numpy().argmax(-1), output.sequences[:, 4:])


def test_a_streamer_sees_the_tokens_of_each_step(decoder, prompts):
    seen = []
    text = decoder.generate(prompts, max_new_tokens=5, eos_token_id=None, streamer=seen.append)
    assert len(seen) == 5
    np.testing.assert_array_equal(np.stack(seen, axis=1), np.asarray(text)[:, 4:])


def test_without_a_prompt_text_begins_with_the_first_token(decoder):
    assert decoder.generate(max_new_tokens=3)[0, 0] == decoder.config.bos_token_id


def test_what_cannot_be_generated_is_refused(make, config, decoder, prompts):
    with pytest.raises(ValueError, match="79 new ones are more than the 78"):
        decoder.generate(prompts[:, :1] * 0, max_new_tokens=79)
    with pytest.raises(TypeError, match="max_tokens"):
        decoder.generate(prompts, max_tokens=3)
    config.is_decoder = False
    with pytest.raises(ValueError, match="generate needs a decoder"):
        make(TFRobertaForCausalLM, config).generate(prompts)
