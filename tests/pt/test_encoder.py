import pytest
import torch

import roberta_pt
from roberta_core.config import RobertaConfig
from roberta_pt import RobertaModel
from roberta_pt.encoder import SelfAttention


def close(got, want, rtol=2e-6):
    error = (got - want).abs().max() / want.abs().max()
    assert error <= rtol, f"error {error:.1e}"


def test_the_fused_kernel_and_plain_attention_agree(make, config, ids):
    fused, plain = (make(RobertaModel, config, attn_implementation=kind) for kind in ("sdpa", "eager"))
    close(fused(ids, ids != 1).last_hidden_state, plain(ids, ids != 1).last_hidden_state)


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


def test_the_published_encoder_computes_what_the_model_computes(make, config, ids):
    model = make(RobertaModel, config)
    encoder = roberta_pt.RobertaEncoder(config).eval()
    encoder.load_state_dict(model.encoder.state_dict())
    whole = model(ids, output_hidden_states=True, output_attentions=True)
    given = encoder(whole.hidden_states[0], output_hidden_states=True, output_attentions=True)
    for name in ("last_hidden_state", "hidden_states", "attentions"):
        torch.testing.assert_close(given[name], whole[name], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        encoder(whole.hidden_states[0], use_cache=True)
    with pytest.raises(ValueError, match="add_cross_attention=True"):
        roberta_pt.RobertaLayer(RobertaConfig(is_decoder=True))(torch.zeros(1, 1, 768), encoder_hidden_states=1)
