import ml_dtypes
import numpy as np
import pytest
import torch

from roberta_pt import RobertaForMaskedLM
from roberta_pt.weights import as_concrete, assign, from_numpy, tensors, to_numpy


def test_arrays_become_parameters_without_a_copy(config):
    model = RobertaForMaskedLM(config)
    array = np.full((12,), 3.0, np.float32)
    assign(model, [("lm_head.dense.bias", array)])
    array[5] = 7
    assert model.lm_head.dense.bias[5] == 7
    assert np.shares_memory(dict(tensors(model))["lm_head.dense.bias"], array)


@pytest.mark.parametrize("spelling", ["stored", "both", "second", "with buffers"])
def test_a_published_state_dict_loads_strictly(make, config, spelling):
    source, target = make(RobertaForMaskedLM, config), RobertaForMaskedLM(config)
    state = dict(source.state_dict())
    words, bias = "roberta.embeddings.word_embeddings.weight", "lm_head.bias"
    if spelling in ("both", "second"):
        state["lm_head.decoder.weight"], state["lm_head.decoder.bias"] = state[words], state[bias]
    if spelling == "second":
        del state[bias]
    if spelling == "with buffers":
        state["roberta.embeddings.position_ids"] = torch.arange(19)[None]
    assert not any(target.load_state_dict(state, strict=True))
    for (name, got), want in zip(target.named_parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0, msg=name)
    assert target.lm_head.decoder.weight is target.get_input_embeddings().weight


def test_a_state_dict_that_lacks_a_tensor_does_not_load(make, config):
    state = dict(make(RobertaForMaskedLM, config).state_dict())
    del state["lm_head.dense.weight"]
    with pytest.raises(RuntimeError, match=r"lm_head\.dense\.weight"):
        RobertaForMaskedLM(config).load_state_dict(state)


def test_a_state_dict_has_each_tied_tensor_once(make, config):
    assert not [name for name in make(RobertaForMaskedLM, config).state_dict() if "decoder" in name]


@pytest.mark.parametrize("kind", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_arrays_pass_through_bit_for_bit(kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    again = to_numpy(from_numpy(array))
    assert again.dtype == array.dtype
    assert again.tobytes() == array.tobytes()


def test_values_are_read_only_where_it_costs_nothing():
    ids = torch.tensor([1])
    assert isinstance(as_concrete(ids), np.ndarray)
    assert as_concrete(None) is None
    assert not isinstance(as_concrete(ids.to("meta")), np.ndarray)
    seen = []
    torch.func.vmap(lambda x: seen.append(as_concrete(x)) or x)(torch.tensor([[1], [2]]))
    assert not isinstance(seen[0], np.ndarray)


def test_the_bias_of_the_head_has_two_names_and_one_memory(make, config):
    model = make(RobertaForMaskedLM, config)
    assert model.lm_head.bias is model.lm_head.decoder.bias
    model.lm_head.bias.data[3] += 5
    assert model.lm_head.decoder.bias[3] == model.lm_head.bias[3]
