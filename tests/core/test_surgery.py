import numpy as np
import pytest

from roberta_core.parameters import parameters
from roberta_core.surgery import prune_heads, resize_token_types, resize_vocabulary

WORDS = "roberta.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("size", [90, 101, 120])
def test_a_resized_vocabulary_keeps_its_first_rows(config, weights, size):
    old = weights(config, "ForMaskedLM")
    new_config, changed = resize_vocabulary(config, "ForMaskedLM", old, size)
    assert (new_config.vocab_size, config.vocab_size) == (size, 101)
    assert set(changed) == (set() if size == 101 else {WORDS, "lm_head.bias"})
    shapes = {name: parameter.shape for name, parameter in parameters(new_config, "ForMaskedLM").items()}
    for name, values in changed.items():
        kept = min(size, 101)
        assert values.shape == shapes[name]
        np.testing.assert_array_equal(values[:kept], old[name][:kept])
    if size == 120:
        assert not changed["lm_head.bias"][101:].any()
        assert 0.01 < changed[WORDS][101:].std() < 0.03


def test_an_untied_head_grows_with_the_vocabulary(config, weights):
    config.tie_word_embeddings = False
    _, changed = resize_vocabulary(config, "ForMaskedLM", weights(config, "ForMaskedLM"), 103)
    assert changed["lm_head.decoder.weight"].shape == (103, 12)


def test_a_vocabulary_is_rounded_up(config, weights):
    old = weights(config, "Model")
    assert resize_vocabulary(config, "Model", old, 101, pad_to_multiple_of=8).config.vocab_size == 104
    assert resize_vocabulary(config, "Model", old, 104, pad_to_multiple_of=8).config.vocab_size == 104


def test_new_token_types_are_copies_of_the_first(config, weights):
    old = weights(config, "Model")
    new_config, changed = resize_token_types(config, "Model", old, 7)
    (table,) = changed.values()
    assert (new_config.type_vocab_size, table.shape) == (7, (7, 12))
    np.testing.assert_array_equal(table[:5], old["embeddings.token_type_embeddings.weight"])
    np.testing.assert_array_equal(table[5:], np.tile(table[0], (2, 1)))


def test_pruned_heads_lose_their_rows_and_columns(config, weights):
    old = weights(config, "ForMaskedLM")
    new_config, changed = prune_heads(config, "ForMaskedLM", old, {1: [0]})
    path = "roberta.encoder.layer.1.attention."
    assert new_config.pruned_heads == {1: [0]}
    np.testing.assert_array_equal(changed[f"{path}self.key.weight"], old[f"{path}self.key.weight"][4:])
    np.testing.assert_array_equal(changed[f"{path}self.value.bias"], old[f"{path}self.value.bias"][4:])
    np.testing.assert_array_equal(changed[f"{path}output.dense.weight"], old[f"{path}output.dense.weight"][:, 4:])
    assert len(changed) == 7
    assert not config.pruned_heads


def test_heads_are_numbered_as_in_the_unpruned_model(config, weights):
    old = weights(config, "Model")
    first, changed = prune_heads(config, "Model", old, {0: [0]})
    second, again = prune_heads(first, "Model", {**old, **changed}, {0: [0, 2]})
    assert second.pruned_heads == {0: [0, 2]}
    name = "encoder.layer.0.attention.self.query.weight"
    np.testing.assert_array_equal(again[name], old[name][4:8])
    shapes = {name: parameter.shape for name, parameter in parameters(second, "Model").items()}
    assert all(values.shape == shapes[name] for name, values in again.items())


def test_impossible_changes_are_refused(config, weights):
    old = weights(config, "Model")
    with pytest.raises(ValueError, match=r"layer 2 has no heads \[0\]: the model has 2 layers of 3 heads"):
        prune_heads(config, "Model", old, {2: [0]})
    with pytest.raises(ValueError, match=r"no heads \[1, 3\]"):
        prune_heads(config, "Model", old, {0: [1, 3]})
    with pytest.raises(ValueError, match="would lose all of its 3 heads"):
        prune_heads(config, "Model", old, {0: [0, 1, 2]})
    with pytest.raises(ValueError, match="vocab_size is 0"):
        resize_vocabulary(config, "Model", old, 0)
    with pytest.raises(ValueError, match="pad_to_multiple_of is 0"):
        resize_vocabulary(config, "Model", old, 5, pad_to_multiple_of=0)
