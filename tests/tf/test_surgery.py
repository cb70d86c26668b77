import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForSequenceClassification, TFRobertaModel


def test_a_larger_vocabulary_leaves_the_old_words_alone(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    before = model(ids).logits
    embeddings = model.resize_token_embeddings(110)
    assert model.config.vocab_size == embeddings.input_dim == model.lm_head.units == 110
    after = model(ids).logits
    assert after.shape == (2, 7, 110)
    np.testing.assert_allclose(after[..., :101], before, rtol=1e-5, atol=1e-5)
    assert model.get_output_embeddings() is embeddings
    with tf.GradientTape() as tape:
        loss = model(ids + 9, labels=ids).loss
    gradients = tape.gradient(loss, model.trainable_variables)
    assert [gradient.shape for gradient in gradients] == [value.shape for value in model.trainable_variables]
    assert len(gradients) == 42


def test_a_smaller_vocabulary_refuses_the_words_it_lost(fresh, config, ids):
    config.tie_word_embeddings = False
    model = fresh(TFRobertaForMaskedLM, config)
    assert model(ids).logits.shape[-1] == 101
    model.resize_token_embeddings(100)
    with pytest.raises(ValueError, match="input_ids contains 100, but vocab_size is 100"):
        model(ids)
    assert model(ids.clip(0, 99)).logits.shape[-1] == 100


def test_without_a_size_the_embeddings_are_returned(fresh, config):
    model = fresh(TFRobertaModel, config)
    assert model.resize_token_embeddings() is model.embeddings.word_embeddings
    assert model.resize_token_embeddings(pad_to_multiple_of=8).input_dim == 104


def test_a_second_token_type_changes_no_output_yet(fresh, config, ids):
    model = fresh(TFRobertaModel, config)
    before = model(ids, token_type_ids=np.zeros_like(ids)).last_hidden_state
    model.resize_token_type_embeddings(7)
    after = model(ids, token_type_ids=np.full_like(ids, 6)).last_hidden_state
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_a_pruned_head_is_a_silenced_head(fresh, config, ids):
    model = fresh(TFRobertaForSequenceClassification, config)
    model(ids)
    silenced = model(ids, head_mask=np.float32([[1, 0, 1], [0, 1, 0]])).logits
    model.prune_heads({0: [1], 1: [0, 2]})
    np.testing.assert_allclose(model(ids).logits, silenced, rtol=1e-4, atol=1e-5)
    assert [layer.attention.self.heads for layer in model.roberta.encoder.layer] == [2, 1]
    assert model(ids, output_attentions=True).attentions[1].shape == (2, 1, 7, 7)


def test_a_pruned_model_is_saved_and_loaded(fresh, config, ids, tmp_path):
    model = fresh(TFRobertaForMaskedLM, config)
    model.prune_heads({1: [1]})
    model.save_pretrained(tmp_path)
    again = TFRobertaForMaskedLM.from_pretrained(tmp_path)
    assert again.config.pruned_heads == {1: [1]}
    np.testing.assert_array_equal(again(ids).logits, model(ids).logits)


def test_a_frozen_part_stays_frozen(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    model.roberta.trainable = False
    model.resize_token_embeddings(103)
    assert not model.get_input_embeddings().embeddings.trainable
    assert model.lm_head.bias.trainable
    assert len(model.trainable_variables) == 5


def test_new_input_embeddings_are_tied(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    table = keras.layers.Embedding(105, 12)
    table.build()
    model.set_input_embeddings(table)
    np.testing.assert_array_equal(model.get_output_embeddings().embeddings.numpy(), table.embeddings.numpy())
    assert model(ids).logits.shape[-1] == 105


def test_a_changed_model_is_compiled_and_fitted_anew(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    data = {"input_ids": ids, "labels": ids}
    for size in (101, 104):
        model.resize_token_embeddings(size)
        model.compile("adam")
        before = model.lm_head.bias.numpy()
        model.fit(data, verbose=0)
        assert (model.lm_head.bias.numpy() != before).any()
