import pytest
import torch

from roberta_pt import RobertaForMaskedLM, RobertaForSequenceClassification, RobertaModel


def test_a_larger_vocabulary_leaves_the_old_words_alone(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    before = model(ids).logits
    embeddings = model.resize_token_embeddings(110)
    assert model.config.vocab_size == embeddings.num_embeddings == model.lm_head.decoder.out_features == 110
    after = model(ids).logits
    assert after.shape == (2, 7, 110)
    torch.testing.assert_close(after[..., :101], before)
    assert model.lm_head.decoder.weight is embeddings.weight
    model(ids + 9, labels=ids).loss.backward()


def test_a_smaller_vocabulary_refuses_the_words_it_lost(make, config, ids):
    model = make(RobertaForMaskedLM, config)
    model.resize_token_embeddings(100)
    with pytest.raises(ValueError, match="input_ids contains 100, but vocab_size is 100"):
        model(ids)


def test_without_a_size_the_embeddings_are_returned(make, config):
    model = make(RobertaModel, config)
    assert model.resize_token_embeddings() is model.embeddings.word_embeddings
    assert model.resize_token_embeddings(pad_to_multiple_of=8).num_embeddings == 104


def test_a_second_token_type_changes_no_output_yet(make, config, ids):
    model = make(RobertaModel, config)
    before = model(ids).last_hidden_state
    model.resize_token_type_embeddings(7)
    torch.testing.assert_close(model(ids, token_type_ids=torch.full_like(ids, 6)).last_hidden_state, before)


def test_a_pruned_head_is_a_silenced_head(make, config, ids):
    model = make(RobertaForSequenceClassification, config)
    silenced = model(ids, head_mask=torch.tensor([[1.0, 0, 1], [0, 1, 0]])).logits
    model.prune_heads({0: [1], 1: [0, 2]})
    torch.testing.assert_close(model(ids).logits, silenced)
    assert [layer.attention.self.heads for layer in model.roberta.encoder.layer] == [2, 1]
    assert model(ids, output_attentions=True).attentions[1].shape == (2, 1, 7, 7)


def test_a_pruned_model_is_saved_and_loaded(make, config, ids, tmp_path):
    model = make(RobertaForMaskedLM, config)
    model.prune_heads({1: [1]})
    model.save_pretrained(tmp_path)
    again = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert again.config.pruned_heads == {1: [1]}
    torch.testing.assert_close(again(ids).logits, model(ids).logits, rtol=0, atol=0)


def test_a_frozen_part_stays_frozen(make, config):
    model = make(RobertaForMaskedLM, config)
    model.roberta.requires_grad_(False)
    model.resize_token_embeddings(103)
    assert not model.get_input_embeddings().weight.requires_grad


def test_new_input_embeddings_are_tied(make, config):
    model = make(RobertaForMaskedLM, config)
    table = torch.nn.Embedding(101, 12)
    model.set_input_embeddings(table)
    assert model.get_output_embeddings().weight is table.weight
