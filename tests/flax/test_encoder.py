import copy
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_flax import FlaxRobertaForCausalLM, FlaxRobertaForMaskedLM, FlaxRobertaModel
from roberta_flax.activations import ACTIVATIONS

pytestmark = pytest.mark.usefixtures("eager")


def key(seed=0):
    return jax.random.key(seed, impl="rbg")  # XLA compiles the usual one for seconds


def close(got, want, rtol=2e-6):
    error = np.abs(np.asarray(got) - want).max() / np.abs(want).max()
    assert error <= rtol, f"error {error:.1e}"


def differ(got, want):
    assert np.abs(np.asarray(got) - want).max() > 0.1


def test_positions_start_after_the_pad_and_skip_pads(make, config):
    model = make(FlaxRobertaModel, config)
    assert model.embeddings.positions(jnp.array([[1, 0, 5, 1, 6]])).tolist() == [[1, 2, 3, 1, 4]]
    config.pad_token_id = 3
    assert make(FlaxRobertaModel, config).embeddings.positions(jnp.array([[3, 0, 5]])).tolist() == [[3, 4, 5]]


def test_given_positions_and_types_are_used(make, config, ids):
    model = make(FlaxRobertaModel, config)
    plain = model(ids).last_hidden_state
    positions = model.embeddings.positions(jnp.asarray(ids))
    close(model(ids, position_ids=positions, token_type_ids=ids * 0).last_hidden_state, plain, 0)
    differ(model(ids, position_ids=positions[:, ::-1]).last_hidden_state, plain)
    differ(model(ids, token_type_ids=ids * 0 + 4).last_hidden_state, plain)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_real_tokens(make, config, ids, side):
    model = make(FlaxRobertaModel, config)
    alone = ids[1:, :4]
    pads = (3, 0) if side == "left" else (0, 3)
    padded = np.pad(alone, ((0, 0), pads), constant_values=1)
    states = model(padded, attention_mask=padded != 1).last_hidden_state
    real = states[:, 3:] if side == "left" else states[:, :4]
    close(real, model(alone).last_hidden_state)


def test_without_a_mask_pads_are_attended(make, config, ids):
    model = make(FlaxRobertaModel, config)
    differ(model(ids).last_hidden_state[1], model(ids, ids != 1).last_hidden_state[1])


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_mask_of_any_rank_means_the_same(make, config, ids, rank):
    model = make(FlaxRobertaModel, config)
    mask = (ids != 1).astype(int)
    wide = {2: mask, 3: mask[:, None].repeat(7, 1), 4: mask[:, None, None].repeat(7, 2)}[rank]
    close(model(ids, attention_mask=wide).last_hidden_state, model(ids, attention_mask=mask > 0).last_hidden_state, 0)


def test_a_fully_masked_row_attends_evenly(make, config, ids):
    model = make(FlaxRobertaModel, config)
    mask = np.ones_like(ids)
    mask[1] = 0
    attentions = model(ids, attention_mask=mask, output_attentions=True).attentions
    close(attentions[0][1], np.full((3, 7, 7), 1 / 7))


def test_attention_weights_sum_to_one_and_skip_masked_keys(make, config, ids):
    output = make(FlaxRobertaModel, config)(ids, attention_mask=ids != 1, output_attentions=True)
    assert [weights.shape for weights in output.attentions] == [(2, 3, 7, 7)] * 2
    for weights in output.attentions:
        close(weights.sum(-1), np.ones((2, 3, 7)))
        assert not weights[1, :, :, 4:].any()


def test_a_head_mask_silences_its_head(make, config, ids):
    model = make(FlaxRobertaModel, config)
    silenced = model(ids, head_mask=[1.0, 0.0, 0.5], output_attentions=True).attentions
    plain = model(ids, output_attentions=True).attentions
    assert not silenced[0][:, 1].any()
    close(silenced[0][:, 2], plain[0][:, 2] / 2)
    by_layer = model(ids, head_mask=[[1, 1, 1], [1, 0, 1]], output_attentions=True).attentions
    assert by_layer[0][:, 1].any()
    assert not by_layer[1][:, 1].any()


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_masks_do_not_overflow(make, config, ids, dtype):
    model = make(FlaxRobertaModel, config, dtype=dtype)
    for mask in ((ids != 1) & (ids != 0), np.zeros_like(ids)):
        states = model(ids, attention_mask=mask).last_hidden_state
        assert states.dtype == dtype
        assert jnp.isfinite(states).all()


def test_activations_are_the_published_functions():
    x = np.linspace(-4, 4, 41)
    phi = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    tanh_form = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    want = {"gelu": x * phi, "gelu_new": tanh_form, "quick_gelu": x / (1 + np.exp(-1.702 * x))}
    want |= {"gelu_pytorch_tanh": tanh_form, "relu": x.clip(0), "silu": x / (1 + np.exp(-x))}
    want |= {"swish": want["silu"], "tanh": np.tanh(x)}
    assert set(ACTIVATIONS) == set(want)
    with jax.enable_x64(True):
        for name, function in ACTIVATIONS.items():
            np.testing.assert_allclose(function(jnp.asarray(x)), want[name], rtol=1e-12, atol=1e-12)


def test_a_decoder_sees_no_later_token(make, config, ids):
    config.is_decoder = True
    model = make(FlaxRobertaModel, config)
    changed = ids.copy()
    changed[:, 5] = 50
    first, second = model(ids).last_hidden_state, model(changed).last_hidden_state
    close(first[:, :5], second[:, :5], 0)
    differ(first[:, 5], second[:, 5])


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_decoding_with_a_cache_equals_the_whole(make, config, ids, steps, padded):
    config.is_decoder = True
    model = make(FlaxRobertaForCausalLM, config)
    ids[1] = [1, 1, 0, 33, 80, 60, 2] if padded else ids[0][::-1]
    mask = (ids != 1).astype(int)
    whole = model(ids, attention_mask=mask).logits
    start = model(ids[:, :-steps], attention_mask=mask[:, :-steps], use_cache=True)
    rest = model(ids[:, -steps:], attention_mask=mask, past_key_values=start.past_key_values)
    close(rest.logits, whole[:, -steps:])
    assert rest.past_key_values[1][0].shape == (2, 3, 7, 4)


def test_cross_attention_reads_the_encoder_and_caches_its_keys(make, config, ids):
    config.is_decoder = config.add_cross_attention = True
    model = make(FlaxRobertaForCausalLM, config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32)
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    whole = model(ids, **arguments, output_attentions=True)
    assert whole.cross_attentions[0].shape == (2, 3, 7, 5)
    assert not whole.cross_attentions[1][1, :, :, 2:].any()
    start = model(ids[:, :4], **arguments)
    rest = model(ids[:, 4:], **arguments, past_key_values=start.past_key_values)
    close(rest.logits, whole.logits[:, 4:])
    assert [len(layer) for layer in rest.past_key_values] == [4, 4]
    differ(model(ids, encoder_hidden_states=states).logits, whole.logits)


@pytest.mark.usefixtures("compiled")
def test_gradient_checkpointing_changes_no_gradient(make, config, ids):
    config.num_hidden_layers, gradients = 1, []
    for checkpointed in (False, True):
        model = make(FlaxRobertaForMaskedLM, config, gradient_checkpointing=checkpointed)
        assert model.roberta.encoder.gradient_checkpointing is checkpointed

        def loss(params, model=model):
            return model(ids, labels=ids, params=params, train=True, dropout_rng=key()).loss

        gradients.append(jax.jit(jax.grad(loss))(model.params))
    for first, second in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_the_pad_gets_no_gradient_from_being_looked_up(make, config, ids):
    model = make(FlaxRobertaModel, config)
    ids = np.pad(ids, ((0, 0), (0, 9)), constant_values=1)  # the length that XLA has compiled for
    found = jax.grad(lambda params: jnp.square(model(ids, params=params).last_hidden_state).sum())(model.params)
    for table in ("word_embeddings", "position_embeddings"):
        gradient = found["embeddings"][table]["embedding"]
        assert not gradient[1].any()
        assert gradient[2].any()


def test_the_tied_pad_gets_its_gradient_from_being_scored(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    ids = np.pad(ids, ((0, 0), (0, 9)), constant_values=1)
    found = jax.grad(lambda params: model(ids, labels=ids, params=params).loss)(model.params)
    assert found["roberta"]["embeddings"]["word_embeddings"]["embedding"][1].any()
    assert not found["roberta"]["embeddings"]["position_embeddings"]["embedding"][1].any()


def test_dropout_acts_in_training_only(make, config, ids):
    model = make(FlaxRobertaModel, config)
    plain = model(ids).last_hidden_state
    close(model(ids, dropout_rng=key()).last_hidden_state, plain, 0)
    dropped = model(ids, train=True, dropout_rng=key()).last_hidden_state
    differ(dropped, plain)
    close(model(ids, train=True, dropout_rng=key()).last_hidden_state, dropped, 0)
    differ(model(ids, train=True, dropout_rng=key(1)).last_hidden_state, dropped)


def test_each_dropout_draws_its_own_elements(make, config, ids):
    config.attention_probs_dropout_prob = 0.5
    model = make(FlaxRobertaModel, config)
    attentions = model(ids, train=True, dropout_rng=key(), output_attentions=True).attentions
    dropped = [np.asarray(weights == 0) for weights in attentions]
    assert 0.4 < dropped[0].mean() < 0.6
    heads = [*dropped[0].swapaxes(0, 1), *dropped[1].swapaxes(0, 1)]
    assert all((first != second).any() for number, first in enumerate(heads) for second in heads[:number])


def test_training_with_dropout_needs_a_key(make, config, ids):
    with pytest.raises(ValueError, match="train=True needs dropout_rng"):
        make(FlaxRobertaModel, config)(ids, train=True)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = make(FlaxRobertaModel, config)
    close(model(ids, train=True).last_hidden_state, model(ids).last_hidden_state, 0)


def test_what_nobody_could_check_becomes_nan(make, config, ids):
    model = make(FlaxRobertaModel, config)

    def states(name, value):
        arguments = {"input_ids": jnp.asarray(ids), "position_ids": jnp.asarray(ids % 19), "token_type_ids": ids * 0}
        arguments[name] = (
            arguments[name].at[0, 3].set(value) if name != "token_type_ids" else jnp.asarray(ids * 0 + value)
        )
        return model._forward(**arguments).last_hidden_state

    for name, limit in (("input_ids", 101), ("position_ids", 19), ("token_type_ids", 5)):
        assert jnp.isfinite(states(name, limit - 1)).all()
        for wrong in (limit, -1, -limit):
            assert jnp.isnan(states(name, wrong)[0]).all(), (name, wrong)


def test_the_expected_outputs_of_transformers_are_met(shared):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / "expected/Model.safetensors")
    model = FlaxRobertaModel.from_pretrained(folder / "checkpoints/Model/pt-safetensors")
    for case in ("mask3d", "head_mask", "masked_row"):  # test_models.py has the others
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        output = model(**inputs, output_hidden_states=True)
        for name in ("last_hidden_state", "pooler_output"):
            close(output[name], expected[f"{case}.out.{name}"], 1e-5)


def test_relative_positions_are_refused():
    with pytest.raises(ValueError, match="relative_key"):
        FlaxRobertaModel(RobertaConfig(position_embedding_type="relative_key"))


def test_the_configuration_is_not_copied(make, config):
    before = copy.deepcopy(config)
    model = make(FlaxRobertaModel, config)
    assert model.config is config
    assert config == before
