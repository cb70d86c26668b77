import numpy as np
import pytest

from roberta_tf import TFRobertaForCausalLM


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # tracing a graph takes time
    return config


@pytest.fixture
def decoder(make, config):
    config.is_decoder = True
    config.max_position_embeddings = 80
    return make(TFRobertaForCausalLM, config)


@pytest.fixture
def prompts() -> np.ndarray:
    """Return two prompts; the second is padded on the left."""
    return np.array([[0, 45, 9, 100], [1, 1, 0, 33]])


def test_decoding_traces_one_graph(decoder, prompts):
    decoder.generate(prompts, max_new_tokens=2)
    before = len(decoder.roberta._graphs.traced)
    decoder.generate(np.tile(prompts, (3, 2)), max_new_tokens=9)
    assert len(decoder.roberta._graphs.traced) == before


def test_a_full_cache_gives_nan(decoder, ids):
    ids = ids.clip(3)
    full = decoder(ids, past_key_values=decoder.init_cache(2, 9)).past_key_values
    assert np.isnan(decoder(ids[:, :3], past_key_values=full).logits).all()
