"""What the published blocks refuse; tests/reference compares the rest with the published blocks."""

import pytest
import torch

from roberta_core.outputs import FixedCache
from roberta_pt import DynamicCache, EncoderDecoderCache, RobertaAttention, RobertaEncoder, RobertaLayer


@pytest.fixture
def hidden():
    return torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))


def test_two_calls_with_a_cache_give_what_one_call_gives(config, hidden):
    config.is_decoder = config.add_cross_attention = True
    encoder, states = RobertaEncoder(config).eval(), hidden[:, :5] * 2
    mask = torch.full((7, 7), torch.finfo(torch.float32).min).triu(1)[None, None]
    whole = encoder(hidden, mask, encoder_hidden_states=states).last_hidden_state
    first = encoder(hidden[:, :4], mask[..., :4, :4], encoder_hidden_states=states, use_cache=True)
    cache = first.past_key_values
    assert [tuple(part.shape[2] for part in layer) for layer in cache] == [(4, 4, 5, 5)] * config.num_hidden_layers
    again = encoder(hidden[:, 4:], mask[..., 4:, :], None, states, None, cache.to_legacy_cache())
    second = encoder(hidden[:, 4:], mask[..., 4:, :], None, states, None, cache)
    assert second.past_key_values is cache
    assert cache.get_seq_length() == 7
    for output in (again, second):
        torch.testing.assert_close(output.last_hidden_state, whole[:, 4:], rtol=1e-5, atol=1e-5)


def test_a_cache_that_cannot_be_used_is_refused(config, hidden):
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        RobertaEncoder(config)(hidden, use_cache=True)
    config.is_decoder = config.add_cross_attention = True
    encoder, layer = RobertaEncoder(config), RobertaLayer(config, layer_idx=0)
    with pytest.raises(ValueError, match="is a FixedCache, which only models accept"):
        encoder(hidden, past_key_values=FixedCache((), 0))
    encoder.gradient_checkpointing = True
    with pytest.raises(ValueError, match="cannot be extended with gradient checkpointing"):
        encoder(hidden, past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()))
    assert "past_key_values" not in encoder(hidden, use_cache=True)
    with pytest.raises(ValueError, match="requires a block with layer_idx"):
        RobertaLayer(config)(hidden, past_key_value=DynamicCache())
    with pytest.raises(ValueError, match="must be a DynamicCache or an EncoderDecoderCache, not tuple"):
        layer(hidden, past_key_values=((hidden, hidden),))
    with pytest.raises(ValueError, match="must be an EncoderDecoderCache, not DynamicCache"):
        layer(hidden, encoder_hidden_states=hidden, past_key_values=DynamicCache())


def test_heads_that_cannot_be_pruned_are_refused(config):
    block = RobertaAttention(config)
    block.prune_heads([1])
    block.prune_heads([])
    with pytest.raises(ValueError, match=r"there are no heads \[3\]: the heads are 0 to 2"):
        block.prune_heads([3])
    with pytest.raises(ValueError, match="would leave none of the 3 heads"):
        block.prune_heads([0, 2])
    assert (block.pruned_heads, block.self.heads) == ({1}, 2)
