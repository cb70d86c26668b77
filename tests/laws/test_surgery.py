import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quick")


def compute_logits(framework, model, *values, **named):
    return framework.call(model, *values, **named).logits


def count_rows(framework, layer):
    return framework.value(layer).shape[0]


def assert_near(got, want, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def test_a_larger_vocabulary_does_not_change_the_old_rows(framework, fresh, config, ids):
    model = fresh("ForMaskedLM", config)
    before = compute_logits(framework, model, ids)
    embeddings = model.resize_token_embeddings(110)
    assert model.config.vocab_size == count_rows(framework, embeddings) == 110
    assert framework.tensors(model)["lm_head.bias"].shape == (110,)
    after = compute_logits(framework, model, ids)
    assert after.shape == (2, 7, 110)
    assert_near(after[..., :101], before)
    assert framework.table(model.get_output_embeddings()) is framework.table(embeddings)
    found = framework.gradients(model, lambda output: output.loss, ids + 9, labels=ids)
    shapes = {name: value.shape for name, value in framework.tensors(model).items()}
    assert {name: value.shape for name, value in found.items()} == shapes


@pytest.mark.parametrize("tied", [True, False])
def test_a_smaller_vocabulary_refuses_removed_ids(framework, fresh, config, ids, tied):
    config.tie_word_embeddings = tied
    model = fresh("ForMaskedLM", config)
    assert compute_logits(framework, model, ids).shape[-1] == 101
    model.resize_token_embeddings(100)
    with pytest.raises(ValueError, match="input_ids contains 100, but vocab_size is 100"):
        framework.call(model, ids)
    assert compute_logits(framework, model, ids.clip(0, 99)).shape[-1] == 100


def test_without_a_size_the_embeddings_are_returned(framework, fresh, config):
    model = fresh("Model", config)
    assert model.resize_token_embeddings() is model.embeddings.word_embeddings
    assert count_rows(framework, model.resize_token_embeddings(pad_to_multiple_of=8)) == 104


def test_a_second_token_type_does_not_change_outputs_at_first(framework, fresh, config, ids):
    model = fresh("Model", config)
    before = framework.call(model, ids, token_type_ids=np.zeros_like(ids)).last_hidden_state
    model.resize_token_type_embeddings(7)
    assert_near(framework.call(model, ids, token_type_ids=np.full_like(ids, 6)).last_hidden_state, before)


def test_pruning_a_head_equals_masking_it(framework, fresh, config, ids):
    model = fresh("ForSequenceClassification", config)
    compute_logits(framework, model, ids)
    silenced = compute_logits(framework, model, ids, head_mask=np.float32([[1, 0, 1], [0, 1, 0]]))
    model.prune_heads({0: [1], 1: [0, 2]})
    assert_near(compute_logits(framework, model, ids), silenced)
    assert [layer.attention.self.heads for layer in model.roberta.encoder.layer] == [2, 1]
    assert framework.call(model, ids, output_attentions=True).attentions[1].shape == (2, 1, 7, 7)


def test_a_pruned_model_can_be_saved_and_loaded(framework, fresh, config, ids, tmp_path):
    model = fresh("ForMaskedLM", config)
    model.prune_heads({1: [1]})
    model.save_pretrained(tmp_path)
    again = framework.kind("ForMaskedLM").from_pretrained(tmp_path)
    assert again.config.pruned_heads == {1: [1]}
    np.testing.assert_array_equal(compute_logits(framework, again, ids), compute_logits(framework, model, ids))


def test_new_input_embeddings_are_tied(framework, fresh, config, ids):
    model = fresh("ForMaskedLM", config)
    table = framework.embedding(101, 12)
    model.set_input_embeddings(table)
    assert framework.table(model.get_output_embeddings()) is framework.table(model.get_input_embeddings())
    np.testing.assert_array_equal(framework.value(model.get_output_embeddings()), framework.value(table))
    assert compute_logits(framework, model, ids).shape == (2, 7, 101)
