import numpy as np
import pytest
import torch

from roberta_core.config import RobertaConfig
from roberta_pt import RobertaForCausalLM, RobertaForMaskedLM, RobertaModel
from roberta_pt.activations import ACTIVATIONS
from roberta_pt.encoder import SelfAttention


def close(got, want, rtol=2e-6):
    error = (got - want).abs().max() / want.abs().max()
    assert error <= rtol, f"error {error:.1e}"


def test_positions_start_after_the_pad_and_skip_pads(make, config):
    model = make(RobertaModel, config)
    assert model.embeddings.positions(torch.tensor([[1, 0, 5, 1, 6]])).tolist() == [[1, 2, 3, 1, 4]]
    config.pad_token_id = 3
    assert make(RobertaModel, config).embeddings.positions(torch.tensor([[3, 0, 5]])).tolist() == [[3, 4, 5]]


def test_given_positions_and_types_are_used(make, config, ids):
    model = make(RobertaModel, config)
    plain = model(ids).last_hidden_state
    positions = model.embeddings.positions(ids)
    close(model(ids, position_ids=positions, token_type_ids=ids * 0).last_hidden_state, plain, 0)
    assert (model(ids, position_ids=positions.flip(1)).last_hidden_state - plain).abs().max() > 0.1
    assert (model(ids, token_type_ids=ids * 0 + 4).last_hidden_state - plain).abs().max() > 0.1


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_real_tokens(make, config, ids, side):
    model = make(RobertaModel, config)
    alone = ids[1:, :4]
    pads = (3, 0) if side == "left" else (0, 3)
    padded = torch.nn.functional.pad(alone, pads, value=1)
    states = model(padded, attention_mask=padded != 1).last_hidden_state
    real = states[:, 3:] if side == "left" else states[:, :4]
    close(real, model(alone).last_hidden_state)


def test_without_a_mask_pads_are_attended(make, config, ids):
    model = make(RobertaModel, config)
    assert (model(ids).last_hidden_state - model(ids, ids != 1).last_hidden_state)[1].abs().max() > 0.1


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_mask_of_any_rank_means_the_same(make, config, ids, rank):
    model = make(RobertaModel, config)
    mask = (ids != 1).long()
    wide = {2: mask, 3: mask[:, None].expand(2, 7, 7), 4: mask[:, None, None].expand(2, 1, 7, 7)}[rank]
    close(model(ids, attention_mask=wide).last_hidden_state, model(ids, attention_mask=mask.bool()).last_hidden_state)


def test_a_fully_masked_row_attends_evenly(make, config, ids):
    for attention in ("sdpa", "eager"):
        model = make(RobertaModel, config, attn_implementation=attention)
        mask = torch.ones_like(ids)
        mask[1] = 0
        attentions = model(ids, attention_mask=mask, output_attentions=True).attentions
        close(attentions[0][1], torch.full((3, 7, 7), 1 / 7))
        even = model(ids, attention_mask=mask).last_hidden_state
        close(even, model(ids, attention_mask=mask, output_attentions=True).last_hidden_state)


def test_the_fused_kernel_and_plain_attention_agree(make, config, ids):
    fused, plain = (make(RobertaModel, config, attn_implementation=kind) for kind in ("sdpa", "eager"))
    close(fused(ids, ids != 1).last_hidden_state, plain(ids, ids != 1).last_hidden_state)


def test_attention_weights_sum_to_one_and_skip_masked_keys(make, config, ids):
    output = make(RobertaModel, config)(ids, attention_mask=ids != 1, output_attentions=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 3, 7, 7)] * 2
    for weights in output.attentions:
        close(weights.sum(-1), torch.ones(2, 3, 7))
        assert not weights[1, :, :, 4:].any()


def test_a_head_mask_silences_its_head(make, config, ids):
    model = make(RobertaModel, config)
    silenced = model(ids, head_mask=torch.tensor([1.0, 0.0, 0.5]), output_attentions=True).attentions
    plain = model(ids, output_attentions=True).attentions
    assert not silenced[0][:, 1].any()
    close(silenced[0][:, 2], plain[0][:, 2] / 2)
    by_layer = model(ids, head_mask=torch.tensor([[1.0, 1, 1], [1, 0, 1]]), output_attentions=True).attentions
    assert by_layer[0][:, 1].any()
    assert not by_layer[1][:, 1].any()


def test_half_precision_masks_do_not_overflow(make, config, ids):
    for dtype in (torch.float16, torch.bfloat16):
        states = make(RobertaModel, config).to(dtype)(ids, attention_mask=(ids != 1) & (ids != 0)).last_hidden_state
        assert states.isfinite().all()
        mask = torch.zeros_like(ids)
        assert make(RobertaModel, config).to(dtype)(ids, attention_mask=mask).last_hidden_state.isfinite().all()


def test_activations_are_the_published_functions():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    phi = torch.distributions.Normal(0.0, 1.0).cdf(x)
    tanh_form = 0.5 * x * (1 + torch.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    want = {"gelu": x * phi, "gelu_new": tanh_form, "quick_gelu": x / (1 + torch.exp(-1.702 * x))}
    want |= {"gelu_pytorch_tanh": tanh_form, "relu": x.clamp(min=0), "silu": x / (1 + torch.exp(-x))}
    want |= {"swish": want["silu"], "tanh": torch.tanh(x)}
    assert set(ACTIVATIONS) == set(want)
    for name, function in ACTIVATIONS.items():
        torch.testing.assert_close(function(x), want[name], rtol=1e-12, atol=1e-12)


def test_a_decoder_sees_no_later_token(make, config, ids):
    config.is_decoder = True
    model = make(RobertaModel, config)
    changed = ids.clone()
    changed[:, 5] = 50
    first, second = model(ids).last_hidden_state, model(changed).last_hidden_state
    close(first[:, :5], second[:, :5], 0)
    assert (first[:, 5] - second[:, 5]).abs().max() > 0.1


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_decoding_with_a_cache_equals_the_whole(make, config, ids, steps, padded):
    config.is_decoder = True
    model = make(RobertaForCausalLM, config)
    ids = ids.clone()
    ids[1] = torch.tensor([1, 1, 0, 33, 80, 60, 2]) if padded else ids[0].flip(0)
    mask = (ids != 1).long()
    whole = model(ids, attention_mask=mask).logits
    start = model(ids[:, :-steps], attention_mask=mask[:, :-steps], use_cache=True)
    rest = model(ids[:, -steps:], attention_mask=mask, past_key_values=start.past_key_values)
    close(rest.logits, whole[:, -steps:])
    assert rest.past_key_values[1][0].shape == (2, 3, 7, 4)


def test_cross_attention_reads_the_encoder_and_caches_its_keys(make, config, ids):
    config.is_decoder = config.add_cross_attention = True
    model = make(RobertaForCausalLM, config)
    states = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    whole = model(ids, **arguments, output_attentions=True)
    assert whole.cross_attentions[0].shape == (2, 3, 7, 5)
    assert not whole.cross_attentions[1][1, :, :, 2:].any()
    start = model(ids[:, :4], **arguments)
    rest = model(ids[:, 4:], **arguments, past_key_values=start.past_key_values)
    close(rest.logits, whole.logits[:, 4:])
    assert [len(layer) for layer in rest.past_key_values] == [4, 4]
    assert (model(ids, encoder_hidden_states=states).logits - whole.logits).abs().max() > 0.1


def test_gradient_checkpointing_changes_no_gradient(make, config, ids):
    gradients = []
    for checkpointed in (False, True):
        model = make(RobertaForMaskedLM, config)
        model.config.hidden_dropout_prob = 0.0
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.roberta.encoder.gradient_checkpointing = checkpointed
        model.train()(ids, labels=ids).loss.backward()
        gradients.append([value.grad for value in model.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_the_pad_gets_no_gradient_from_being_looked_up(make, config, ids):
    model = make(RobertaModel, config)
    model(ids).last_hidden_state.square().sum().backward()
    for table in (model.embeddings.word_embeddings, model.embeddings.position_embeddings):
        assert not table.weight.grad[1].any()
        assert table.weight.grad[2].any()


def test_dropout_acts_in_training_only(make, config, ids):
    model = make(RobertaModel, config)
    close(model(ids).last_hidden_state, model(ids).last_hidden_state, 0)
    model.train()
    assert (model(ids).last_hidden_state - model(ids).last_hidden_state).abs().max() > 0.1


def test_the_expected_outputs_of_transformers_are_met(shared, make):
    from safetensors.torch import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / "expected/Model.safetensors")
    model = RobertaModel.from_pretrained(folder / "checkpoints/Model/pt-safetensors")
    for case in ("mask", "nomask", "types", "positions", "embeds", "mask3d", "head_mask", "masked_row", "longest"):
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        output = model(**inputs, output_hidden_states=True)
        for name in ("last_hidden_state", "pooler_output"):
            close(output[name], expected[f"{case}.out.{name}"], 1e-5)


def test_relative_positions_are_refused():
    with pytest.raises(ValueError, match="relative_key"):
        RobertaModel(RobertaConfig(position_embedding_type="relative_key"))


@pytest.mark.parametrize(("rank", "implementation"), [(2, "sdpa"), (3, "sdpa"), (4, "eager")])
def test_a_mask_that_hides_nothing_is_left_out(monkeypatch, make, config, rank, implementation):
    seen = []
    attend = SelfAttention.attend
    monkeypatch.setattr(SelfAttention, "attend", lambda *given: (seen.append(given[4]), attend(*given))[1])
    model = make(RobertaModel, config, attn_implementation=implementation)
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 9]])
    shape = {2: (2, 4), 3: (2, 4, 4), 4: (2, 1, 4, 4)}[rank]
    mask = torch.ones(shape)
    whole = model(ids, attention_mask=mask).last_hidden_state
    mask[0, ..., 3] = 0
    part = model(ids, attention_mask=mask).last_hidden_state
    hidden = [one is not None for one in seen]
    assert hidden == [False] * config.num_hidden_layers + [True] * config.num_hidden_layers
    assert (whole - part).abs().max() > 1e-4
    torch.testing.assert_close(whole, model(ids).last_hidden_state)
