import numpy as np
import pytest

from roberta_core.outputs import GenerateOutput

pytestmark = pytest.mark.usefixtures("quick")

WAYS = {
    "greedy": {},
    "sampled": {"do_sample": True, "seed": 3, "temperature": 2.0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
}


@pytest.fixture
def config(framework, config):
    config.num_hidden_layers = framework.MODEL_LAYERS
    return config


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make("ForCausalLM", config)


@pytest.fixture
def generate(framework):
    """Return `generate(model, prompts, ...)`, which accepts and returns NumPy arrays."""

    def generate(model, *prompts, **settings):
        return np.asarray(model.generate(*framework.arguments(prompts), **framework.arguments(settings)))

    return generate


@pytest.fixture
def prompts():
    """Return two prompts; the second is padded on the left."""
    return np.array([[0, 45, 9, 100], [1, 1, 0, 33]])


@pytest.mark.parametrize("way", WAYS)
def test_a_cache_does_not_change_the_text(framework, decoder, generate, prompts, way):
    arguments = {**WAYS[way], "max_new_tokens": framework.NEW_TOKENS, "eos_token_id": None}
    cached = generate(decoder, prompts, **arguments)
    assert cached.shape == (2 * arguments.get("num_return_sequences", 1), framework.NEW_TOKENS + 4)
    np.testing.assert_array_equal(cached, generate(decoder, prompts, use_cache=False, **arguments))


@pytest.mark.parametrize("way", ["greedy", "beams"])
def test_left_padding_does_not_change_the_text(framework, decoder, generate, prompts, way):
    tokens = min(20, framework.NEW_TOKENS)
    arguments = {**WAYS[way], "max_new_tokens": tokens, "num_return_sequences": 1, "eos_token_id": None}
    padded = generate(decoder, prompts, **arguments)[1, 4:]
    np.testing.assert_array_equal(padded, generate(decoder, prompts[[1, 1], 2:], **arguments)[0, 2:])


def test_greedy_text_follows_the_argmax_of_the_forward_pass(framework, decoder, generate, prompts):
    ids = start = prompts[[0, 0]]
    for _ in range(10):
        best = np.asarray(framework.call(decoder, ids).logits)[:, -1].argmax(-1)
        ids = np.concatenate([ids, best[:, None]], axis=1)
    np.testing.assert_array_equal(generate(decoder, start, max_new_tokens=10, eos_token_id=None), ids)


def test_the_encoder_is_read_by_every_beam(make, config, generate, prompts):
    config.is_decoder = config.add_cross_attention = True
    model = make("ForCausalLM", config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32) * 3
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "max_new_tokens": 10}
    for way in WAYS.values():
        cached = generate(model, prompts, **arguments, **way)
        np.testing.assert_array_equal(cached, generate(model, prompts, use_cache=False, **arguments, **way))
    other = generate(model, prompts, **{**arguments, "encoder_hidden_states": -states})
    assert (generate(model, prompts, **arguments) != other).any()


@pytest.mark.usefixtures("compiled")
def test_a_fixed_size_cache_equals_a_growing_cache(framework, decoder, ids):
    mask = np.ones((2, 9), int)
    mask[1, 0] = 0
    ids, near = ids.clip(3), {"rtol": 1e-4, "atol": 1e-4}
    fixed = framework.call(decoder, ids[:, :5], attention_mask=mask, past_key_values=decoder.init_cache(2, 9))
    growing = framework.call(decoder, ids[:, :5], attention_mask=mask[:, :5])
    np.testing.assert_allclose(fixed.logits[0], growing.logits[0], **near)
    np.testing.assert_allclose(fixed.logits[1, 1:], growing.logits[1, 1:], **near)
    assert fixed.past_key_values.filled == 5
    fixed = framework.call(decoder, ids[:, 5:], attention_mask=mask, past_key_values=fixed.past_key_values)
    past = growing.past_key_values
    growing = framework.call(decoder, ids[:, 5:], attention_mask=mask[:, :7], past_key_values=past)
    np.testing.assert_allclose(fixed.logits, growing.logits, **near)


def test_the_whole_output_is_returned_on_request(framework, decoder, prompts):
    options = {"output_scores": True, "return_dict_in_generate": True}
    output = decoder.generate(framework.arguments(prompts), max_new_tokens=3, eos_token_id=None, **options)
    assert type(output) is GenerateOutput
    scores = np.stack(list(map(np.asarray, output.scores)), axis=1)
    np.testing.assert_array_equal(scores.argmax(-1), np.asarray(output.sequences)[:, 4:])


def test_the_defaults_of_a_model_are_used_saved_and_loaded(framework, decoder, generate, prompts, tmp_path):
    assert framework.kind("Model").can_generate() is False
    assert decoder.base_model.generation_config is None
    assert (decoder.generation_config.eos_token_id, decoder.generation_config.pad_token_id) == (2, 1)
    text = generate(decoder, prompts, max_new_tokens=3, eos_token_id=None)
    decoder.generation_config.max_new_tokens = 3
    decoder.generation_config.eos_token_id = [int(text[0, 4]), 2]
    want = generate(decoder, prompts)
    assert want.shape[1] <= 7
    assert (want[0, 5:] == 1).all()
    np.testing.assert_array_equal(generate(decoder, prompts, eos_token_id=None, max_new_tokens=2), text[:, :6])
    decoder.save_pretrained(tmp_path)
    again = framework.kind("ForCausalLM").from_pretrained(tmp_path)
    assert again.generation_config == decoder.generation_config
    np.testing.assert_array_equal(generate(again, prompts), want)
    given = framework.kind("ForCausalLM").from_pretrained(tmp_path, generation_config={"max_new_tokens": 1})
    assert generate(given, prompts).shape[1] == 5
    again.generation_config = {"max_new_tokens": 2, "eos_token_id": None}
    np.testing.assert_array_equal(generate(again, prompts), text[:, :6])
    (tmp_path / "generation_config.json").write_text('{"typical_p": 0.5}')
    with pytest.raises(ValueError, match="the model's generation_config sets typical_p"):
        framework.kind("ForCausalLM").from_pretrained(tmp_path).generate(framework.arguments(prompts))


def test_a_streamer_receives_the_tokens_of_each_step(decoder, generate, prompts):
    seen = []
    text = generate(decoder, prompts, max_new_tokens=5, eos_token_id=None, streamer=seen.append)
    assert len(seen) == 5
    np.testing.assert_array_equal(np.stack(seen, axis=1), text[:, 4:])


def test_without_a_prompt_text_begins_with_the_first_token(decoder, generate):
    start = decoder.config.bos_token_id
    assert generate(decoder, max_new_tokens=3)[:, 0].tolist() == [start]
    texts = generate(decoder, max_new_tokens=3, do_sample=True, num_return_sequences=2)
    assert texts[:, 0].tolist() == [start] * 2


def test_impossible_requests_are_refused(make, config, decoder, generate, prompts):
    with pytest.raises(ValueError, match="79 new ones exceed the 78"):
        generate(decoder, prompts[:, :1] * 0, max_new_tokens=79)
    with pytest.raises(TypeError, match="max_tokens"):
        generate(decoder, prompts, max_tokens=3)
    with pytest.raises(ValueError, match="input_ids contains 101"):
        generate(decoder, prompts + 1)
    config.is_decoder = False
    with pytest.raises(ValueError, match="generate needs a decoder"):
        generate(make("ForCausalLM", config), prompts)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"inputs": [[0, 5]], "input_ids": [[0, 5]]}, "specify inputs or input_ids, not both"),
        (
            {"inputs": [[0, 5]], "encoder_attention_mask": [[1] * 5]},
            "encoder_attention_mask requires encoder_hidden_states",
        ),
    ],
)
def test_arguments_that_would_be_ignored_are_refused(make, config, generate, arguments, sentence):
    config.is_decoder = config.add_cross_attention = True
    given = {name: np.array(value) for name, value in arguments.items()}
    with pytest.raises(ValueError, match=sentence):
        generate(make("ForCausalLM", config), **given, max_new_tokens=2)


def test_callbacks_receive_tensors_of_the_framework(framework, decoder, generate, prompts):
    kinds = set()

    def process(ids, scores, *length):
        kinds.update(isinstance(one, framework.TENSOR) for one in (ids, scores))
        return scores * 0 + framework.arguments(np.eye(101, dtype=np.float32)[[9]])

    found = generate(decoder, prompts, max_new_tokens=2, logits_processor=[process], eos_token_id=[7, 8])
    assert (found[:, 4:] == 9).all()
    assert kinds == {True}
    with pytest.raises(ValueError, match="assistant_model='x' is not supported: generate without it"):
        generate(decoder, prompts, assistant_model="x")


def test_scores_of_sampled_and_beam_text_are_returned(framework, decoder, prompts):
    for options in ({}, {"num_beams": 2}):
        output = decoder.generate(
            framework.arguments(prompts),
            generation_config={"max_new_tokens": 3, "return_dict_in_generate": True, "output_scores": True},
            **options,
        )
        scores = decoder.compute_transition_scores(
            output.sequences, output.scores, output.beam_indices, normalize_logits=not options
        )
        assert isinstance(scores, framework.TENSOR)
        found = np.asarray(scores)
        if options:
            sizes = (np.asarray(output.beam_indices) >= 0).sum(axis=1)
            np.testing.assert_allclose(found.sum(axis=1) / sizes, output.sequences_scores, rtol=1e-4)
        assert (found <= 0).all()
