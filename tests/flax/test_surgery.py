import numpy as np
import pytest
from flax import nnx

from roberta_flax import FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification, FlaxRobertaModel

pytestmark = pytest.mark.usefixtures("eager")


def close(got, want, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def test_a_larger_vocabulary_leaves_the_old_words_alone(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    before = model(ids).logits
    embeddings = model.resize_token_embeddings(110)
    assert model.config.vocab_size == embeddings.num_embeddings == len(model.lm_head.bias) == 110
    after = model(ids).logits
    assert after.shape == (2, 7, 110)
    close(after[..., :101], before)
    assert model.get_output_embeddings() is embeddings
    assert np.isfinite(model(ids + 9, labels=ids).loss)


def test_a_smaller_vocabulary_refuses_the_words_it_lost(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    model.resize_token_embeddings(100)
    with pytest.raises(ValueError, match="input_ids contains 100, but vocab_size is 100"):
        model(ids)


def test_without_a_size_the_embeddings_are_returned(make, config):
    model = make(FlaxRobertaModel, config)
    assert model.resize_token_embeddings() is model.embeddings.word_embeddings
    assert model.resize_token_embeddings(pad_to_multiple_of=8).num_embeddings == 104


def test_a_second_token_type_changes_no_output_yet(make, config, ids):
    model = make(FlaxRobertaModel, config)
    before = model(ids).last_hidden_state
    model.resize_token_type_embeddings(7)
    close(model(ids, token_type_ids=np.full_like(ids, 6)).last_hidden_state, before)


def test_a_pruned_head_is_a_silenced_head(make, config, ids):
    model = make(FlaxRobertaForSequenceClassification, config)
    silenced = model(ids, head_mask=np.array([[1.0, 0, 1], [0, 1, 0]], np.float32)).logits
    model.prune_heads({0: [1], 1: [0, 2]})
    close(model(ids).logits, silenced)
    assert [layer.attention.self.heads for layer in model.roberta.encoder.layer] == [2, 1]
    assert model(ids, output_attentions=True).attentions[1].shape == (2, 1, 7, 7)


def test_a_pruned_model_is_saved_and_loaded(make, config, ids, tmp_path):
    model = make(FlaxRobertaForMaskedLM, config)
    model.prune_heads({1: [1]})
    model.save_pretrained(tmp_path)
    again = FlaxRobertaForMaskedLM.from_pretrained(tmp_path)
    assert again.config.pruned_heads == {1: [1]}
    close(again(ids).logits, model(ids).logits, 0, 0)


def test_new_input_embeddings_are_tied(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    table = nnx.Embed(101, 12, rngs=nnx.Rngs(0))
    model.set_input_embeddings(table)
    assert model.get_output_embeddings().embedding is table.embedding
    assert model(ids).logits.shape == (2, 7, 101)
