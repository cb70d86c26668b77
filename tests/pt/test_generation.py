import numpy as np
import pytest
import torch

from roberta_core.outputs import GenerateOutput
from roberta_pt import RobertaForCausalLM

WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 3, "temperature": 2.0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
}


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make(RobertaForCausalLM, config)


@pytest.fixture
def prompts():
    """Two prompts, the second padded on the left."""
    return torch.tensor([[0, 45, 9, 100], [1, 1, 0, 33]])


@pytest.mark.parametrize("way", WAYS)
def test_a_cache_changes_speed_only(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 64, "eos_token_id": None}
    cached = decoder.generate(prompts, **arguments)
    assert cached.shape == (len(prompts) * arguments.get("num_return_sequences", 1), 68)
    assert torch.equal(cached, decoder.generate(prompts, use_cache=False, **arguments))


@pytest.mark.parametrize("way", ["greedy", "beams"])
def test_left_padding_does_not_change_the_text(decoder, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": 20, "num_return_sequences": 1, "eos_token_id": None}
    padded = decoder.generate(prompts, **arguments)[1, 4:]
    alone = decoder.generate(prompts[1:, 2:], **arguments)[0, 2:]
    assert torch.equal(padded, alone)


def test_greedy_text_is_what_the_forward_pass_says(decoder, prompts):
    ids = prompts[:1]
    for _ in range(10):
        ids = torch.cat([ids, decoder(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(decoder.generate(prompts[:1], max_new_tokens=10, eos_token_id=None), ids)


def test_the_encoder_is_read_by_every_beam(make, config, prompts):
    config.is_decoder = config.add_cross_attention = True
    model = make(RobertaForCausalLM, config)
    states = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0)) * 3
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "max_new_tokens": 10}
    for way in WAYS.values():
        cached = model.generate(prompts, **arguments, **way)
        assert torch.equal(cached, model.generate(prompts, use_cache=False, **arguments, **way))
    other = model.generate(prompts, max_new_tokens=10, encoder_hidden_states=-states)
    assert not torch.equal(model.generate(prompts, **arguments), other)


def test_a_fixed_cache_equals_one_that_grows(decoder, ids):
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 0] = 0
    ids = ids.clamp(min=3)
    fixed = decoder(ids[:, :5], attention_mask=mask, past_key_values=decoder.init_cache(2, 9))
    growing = decoder(ids[:, :5], attention_mask=mask[:, :5])
    torch.testing.assert_close(fixed.logits[0], growing.logits[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fixed.logits[1, 1:], growing.logits[1, 1:], rtol=1e-4, atol=1e-4)
    assert fixed.past_key_values.filled == 5
    fixed = decoder(ids[:, 5:], attention_mask=mask, past_key_values=fixed.past_key_values)
    growing = decoder(ids[:, 5:], attention_mask=mask[:, :7], past_key_values=growing.past_key_values)
    torch.testing.assert_close(fixed.logits, growing.logits, rtol=1e-4, atol=1e-4)


def test_all_of_the_output_is_returned_on_request(decoder, prompts):
    output = decoder.generate(
        prompts, max_new_tokens=3, eos_token_id=None, output_scores=True, return_dict_in_generate=True
    )
    assert type(output) is GenerateOutput
    assert torch.equal(torch.stack(output.scores, dim=1).argmax(-1), output.sequences[:, 4:])


def test_a_streamer_sees_the_tokens_of_each_step(decoder, prompts):
    seen = []
    text = decoder.generate(prompts, max_new_tokens=5, eos_token_id=None, streamer=seen.append)
    assert len(seen) == 5
    np.testing.assert_array_equal(np.stack(seen, axis=1), np.asarray(text)[:, 4:])


def test_without_a_prompt_text_begins_with_the_first_token(decoder):
    assert decoder.generate(max_new_tokens=3)[0, 0] == decoder.config.bos_token_id


def test_generation_leaves_the_mode_as_it_was(decoder, prompts):
    decoder.train()
    decoder.generate(prompts, max_new_tokens=2)
    assert decoder.training


def test_what_cannot_be_generated_is_refused(make, config, decoder, prompts):
    with pytest.raises(ValueError, match="79 new ones are more than the 78"):
        decoder.generate(prompts[:, :1] * 0, max_new_tokens=79)
    with pytest.raises(TypeError, match="max_tokens"):
        decoder.generate(prompts, max_tokens=3)
    config.is_decoder = False
    with pytest.raises(ValueError, match="generate needs a decoder"):
        make(RobertaForCausalLM, config).generate(prompts)
