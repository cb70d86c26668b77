import math

import numpy as np
import pytest

from roberta_core.config import RobertaConfig

pytestmark = pytest.mark.usefixtures("quick")


def states(framework, model, *values, **named):
    return framework.call(model, *values, **named).last_hidden_state


def positions(framework, model, ids):
    return np.asarray(model.embeddings.positions(framework.backend.tensor(np.array(ids))))


def test_positions_start_after_the_pad_and_skip_pads(framework, make, config):
    assert positions(framework, make("Model", config), [[1, 0, 5, 1, 6]]).tolist() == [[1, 2, 3, 1, 4]]
    config.pad_token_id = 3
    assert positions(framework, make("Model", config), [[3, 0, 5]]).tolist() == [[3, 4, 5]]


def test_given_positions_and_types_are_used(framework, make, config, ids, close, apart):
    model = make("Model", config)
    plain, given, types = states(framework, model, ids), positions(framework, model, ids), np.zeros_like(ids)
    close(states(framework, model, ids, position_ids=given, token_type_ids=types), plain)
    turned = given[:, ::-1].copy()
    assert apart(states(framework, model, ids, position_ids=turned, token_type_ids=types), plain) > 0.1
    assert apart(states(framework, model, ids, position_ids=given, token_type_ids=types + 4), plain) > 0.1


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_real_tokens(framework, make, config, ids, close, side):
    model = make("Model", config)
    alone = ids[1:, :4]
    padded = np.pad(alone, ((0, 0), (3, 0) if side == "left" else (0, 3)), constant_values=1)
    found = states(framework, model, padded, attention_mask=padded != 1)
    close(found[:, 3:] if side == "left" else found[:, :4], states(framework, model, alone))


def test_without_a_mask_pads_are_attended(framework, make, config, ids, apart):
    model = make("Model", config)
    assert apart(states(framework, model, ids)[1], states(framework, model, ids, ids != 1)[1]) > 0.1


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_masks_of_every_rank_are_equivalent(framework, make, config, ids, close, rank):
    model = make("Model", config)
    mask = (ids != 1).astype(int)
    shapes = {2: (mask, (2, 7)), 3: (mask[:, None], (2, 7, 7)), 4: (mask[:, None, None], (2, 1, 7, 7))}
    wide = np.broadcast_to(*shapes[rank])
    plain = states(framework, model, ids, attention_mask=mask.astype(bool))
    close(states(framework, model, ids, attention_mask=wide), plain)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_fully_masked_row_attends_evenly(framework, make, config, ids, close, attention):
    model = make("Model", config, attn_implementation=attention)
    mask = np.ones_like(ids)
    mask[1] = 0
    output = framework.call(model, ids, attention_mask=mask, output_attentions=True)
    close(output.attentions[0][1], np.full((3, 7, 7), 1 / 7))
    close(states(framework, model, ids, attention_mask=mask), output.last_hidden_state)


def test_attention_weights_sum_to_one_and_skip_masked_keys(framework, make, config, ids, close):
    output = framework.call(make("Model", config), ids, attention_mask=ids != 1, output_attentions=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 3, 7, 7)] * 2
    for weights in map(np.asarray, output.attentions):
        close(weights.sum(-1), np.ones((2, 3, 7)))
        assert not weights[1, :, :, 4:].any()


def test_a_head_mask_silences_its_head(framework, make, config, ids, close):
    def attentions(**named):
        return list(map(np.asarray, framework.call(model, ids, **named, output_attentions=True).attentions))

    model = make("Model", config)
    silenced, plain = attentions(head_mask=np.float32([1.0, 0.0, 0.5])), attentions()
    assert not silenced[0][:, 1].any()
    close(silenced[0][:, 2], plain[0][:, 2] / 2)
    by_layer = attentions(head_mask=np.float32([[1, 1, 1], [1, 0, 1]]))
    assert by_layer[0][:, 1].any()
    assert not by_layer[1][:, 1].any()


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_masks_do_not_overflow(framework, weights, config, ids, precision):
    given = weights(config, "Model")  # the minimum of float16 plus a score below -16 overflows
    given |= {name: 40 * value for name, value in given.items() if name.endswith("query.weight")}
    model = framework.half("Model", config, given, precision)
    for mask in ((ids != 1) & (ids != 0), np.zeros_like(ids)):
        found = states(framework, model, ids, attention_mask=mask.astype(int))
        assert framework.dtype(found) == precision
        assert np.isfinite(framework.numpy(found)).all()


@pytest.mark.usefixtures("wide")
def test_activations_are_the_published_functions(framework):
    x = np.linspace(-4, 4, 41)
    phi = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    tanh_form = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    want = {"gelu": x * phi, "gelu_new": tanh_form, "quick_gelu": x / (1 + np.exp(-1.702 * x))}
    want |= {"gelu_pytorch_tanh": tanh_form, "relu": x.clip(0), "silu": x / (1 + np.exp(-x))}
    want |= {"swish": want["silu"], "tanh": np.tanh(x)}
    functions = framework.module("activations").ACTIVATIONS
    assert set(functions) == set(want)
    for name, function in functions.items():
        got = np.asarray(function(framework.backend.tensor(x)))
        np.testing.assert_allclose(got, want[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_a_decoder_sees_no_later_token(framework, make, config, ids, close, apart):
    config.is_decoder = True
    model = make("Model", config)
    changed = ids.copy()
    changed[:, 5] = 50
    first, second = states(framework, model, ids), states(framework, model, changed)
    close(first[:, :5], second[:, :5], 0)
    assert apart(first[:, 5], second[:, 5]) > 0.1


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_decoding_with_a_cache_equals_one_call(framework, make, config, ids, close, steps, padded):
    config.is_decoder = True
    model = make("ForCausalLM", config)
    ids[1] = [1, 1, 0, 33, 80, 60, 2] if padded else ids[0, ::-1]
    mask = (ids != 1).astype(int)
    whole = framework.call(model, ids, attention_mask=mask).logits
    start = framework.call(model, ids[:, :-steps], attention_mask=mask[:, :-steps], use_cache=True)
    rest = framework.call(model, ids[:, -steps:], attention_mask=mask, past_key_values=start.past_key_values)
    close(rest.logits, whole[:, -steps:])
    assert rest.past_key_values[1][0].shape == (2, 3, 7, 4)


def test_cross_attention_reads_the_encoder_and_caches_its_keys(framework, make, config, ids, close, apart):
    config.is_decoder = config.add_cross_attention = True
    model = make("ForCausalLM", config)
    hidden = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32)
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    arguments = {"encoder_hidden_states": hidden, "encoder_attention_mask": mask, "output_attentions": True}
    whole = framework.call(model, ids, **arguments)
    assert whole.cross_attentions[0].shape == (2, 3, 7, 5)
    assert not np.asarray(whole.cross_attentions[1])[1, :, :, 2:].any()
    start = framework.call(model, ids[:, :4], **arguments)
    rest = framework.call(model, ids[:, 4:], **arguments, past_key_values=start.past_key_values)
    close(rest.logits, whole.logits[:, 4:])
    assert [len(layer) for layer in rest.past_key_values] == [4, 4]
    assert apart(framework.call(model, ids, encoder_hidden_states=hidden).logits, whole.logits) > 0.1


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_gradient_checkpointing_does_not_change_gradients(framework, fresh, config, ids, rate):
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = rate
    model, found = fresh("ForMaskedLM", config), []
    for on in (False, True):
        framework.set_checkpointing(model, on)
        assert model.roberta.encoder.gradient_checkpointing is on
        found.append(framework.gradients(model, lambda output: output.loss, ids, labels=ids, seed=5))
    framework.set_checkpointing(model, False)
    assert not model.roberta.encoder.gradient_checkpointing
    largest = max(abs(value).max() for value in found[0].values())
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-5, atol=5e-6 * largest, err_msg=name)


def test_the_embedding_lookup_gives_the_pad_no_gradient(framework, make, config, ids):
    ids = np.pad(ids, ((0, 0), (0, 9)), constant_values=1)  # the length that XLA has already compiled for
    found = framework.gradients(make("Model", config), lambda output: framework.total(output.last_hidden_state**2), ids)
    for table in ("word_embeddings", "position_embeddings"):
        gradient = found[f"embeddings.{table}.weight"]
        assert not gradient[1].any()
        assert gradient[2].any()


def test_dropout_acts_in_training_only(framework, make, config, ids, close, apart):
    model = make("Model", config)
    plain = states(framework, model, ids)
    close(states(framework, model, ids), plain, 0)
    dropped, again, other = (framework.call_training(model, ids, seed=seed).last_hidden_state for seed in (0, 0, 1))
    assert apart(dropped, plain) > 0.1
    close(again, dropped, 0)
    assert apart(other, dropped) > 0.1
    close(states(framework, model, ids), plain, 0)


def test_the_outputs_equal_those_of_transformers(framework, shared, close):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / "expected/Model.safetensors")
    model = framework.kind("Model").from_pretrained(folder / "checkpoints/Model/pt-safetensors")
    for case in ("mask", "nomask", "types", "positions", "embeds", "mask3d", "head_mask", "masked_row", "longest"):
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        output = framework.call(model, **inputs, output_hidden_states=True)
        for name in ("last_hidden_state", "pooler_output"):
            close(output[name], expected[f"{case}.out.{name}"], 1e-5)


def test_relative_positions_are_refused(framework):
    with pytest.raises(ValueError, match="relative_key"):
        framework.kind("Model")(RobertaConfig(position_embedding_type="relative_key"))


@pytest.mark.parametrize("fixed", [False, True])
def test_positions_count_masked_tokens_that_are_not_padding(framework, make, config, ids, close, fixed):
    config.is_decoder = True
    model = make("ForCausalLM", config)
    ids[1] = [1, 0, 33, 1, 80, 60, 2]
    mask = np.ones_like(ids)
    mask[0, 1:3] = mask[1, 2] = 0  # masked, but not padding
    whole = framework.call(model, ids, attention_mask=mask).logits
    cache = model.init_cache(2, 7) if fixed else None
    for first, last in ((0, 4), (4, 5), (5, 7)):
        seen = np.pad(mask[:, :last], ((0, 0), (0, 7 - last))) if fixed else mask[:, :last]
        given = {"attention_mask": seen, "use_cache": True} | ({} if cache is None else {"past_key_values": cache})
        step = framework.call(model, ids[:, first:last], **given)
        close(step.logits, whole[:, first:last])
        cache = step.past_key_values
    assert np.asarray(cache.real).tolist() == [[7], [5]]
    again = framework.map_tree(lambda part: part, cache)
    assert np.asarray(again.real).tolist() == [[7], [5]]


def test_the_length_of_a_foreign_cache_comes_from_the_mask(framework, make, config, ids, close):
    config.is_decoder = True
    model = make("ForCausalLM", config)
    ids[1] = [1, 1, 0, 33, 80, 60, 2]
    mask = (ids != 1).astype(int)
    whole = framework.call(model, ids, attention_mask=mask).logits
    start = framework.call(model, ids[:, :4], attention_mask=mask[:, :4], use_cache=True)
    plain = tuple(tuple(layer) for layer in start.past_key_values)
    close(framework.call(model, ids[:, 4:], attention_mask=mask, past_key_values=plain).logits, whole[:, 4:])
