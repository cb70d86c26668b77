import torch

from roberta_pt import RobertaForMaskedLM, RobertaForSequenceClassification
from roberta_pt.heads import ClassificationHead


def test_the_language_model_head_is_gelu_whatever_the_body_uses(make, config, ids):
    hidden = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))
    plain = make(RobertaForMaskedLM, config).lm_head(hidden)
    config.hidden_act = "relu"
    torch.testing.assert_close(make(RobertaForMaskedLM, config).lm_head(hidden), plain, rtol=0, atol=0)


def test_the_language_model_head_scores_with_the_word_embeddings(make, config):
    model = make(RobertaForMaskedLM, config)
    words = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is words
    hidden = torch.randn(1, 1, 12)
    before = model.lm_head(hidden)
    with torch.no_grad():
        words[7] += 1
    assert (model.lm_head(hidden) - before)[0, 0].nonzero().tolist() == [[7]]


def test_an_untied_head_has_a_matrix_of_its_own(make, config):
    config.tie_word_embeddings = False
    model = make(RobertaForMaskedLM, config)
    assert model.lm_head.decoder.weight is not model.get_input_embeddings().weight
    assert "lm_head.decoder.weight" in model.state_dict()


def test_the_bias_of_the_head_has_two_names_and_one_memory(make, config):
    model = make(RobertaForMaskedLM, config)
    assert model.lm_head.bias is model.lm_head.decoder.bias
    model.lm_head.bias.data[3] += 5
    assert model.lm_head.decoder.bias[3] == model.lm_head.bias[3]


def test_classification_reads_the_first_token_only(make, config, ids):
    head = make(RobertaForSequenceClassification, config).classifier
    hidden = torch.randn(2, 7, 12)
    changed = hidden.clone()
    changed[:, 1:] = 0
    torch.testing.assert_close(head(hidden), head(changed), rtol=0, atol=0)
    assert head(hidden).shape == (2, 2)


def test_classifier_dropout_comes_before_hidden_dropout(config):
    config.hidden_dropout_prob = 0.3
    assert ClassificationHead(config).dropout.p == 0.3
    config.classifier_dropout = 0.0
    assert ClassificationHead(config).dropout.p == 0.0
