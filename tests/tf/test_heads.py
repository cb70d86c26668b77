import numpy as np
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForSequenceClassification
from roberta_tf.heads import ClassificationHead

HIDDEN = tf.constant(np.random.default_rng(0).standard_normal((2, 7, 12), np.float32))


def scores(model, hidden=HIDDEN):
    return model.lm_head(hidden, words=model.get_input_embeddings()).numpy()


def test_the_language_model_head_is_gelu_whatever_the_body_uses(make, config):
    plain = scores(make(TFRobertaForMaskedLM, config))
    config.hidden_act = "relu"
    np.testing.assert_array_equal(scores(make(TFRobertaForMaskedLM, config)), plain)


def test_the_language_model_head_scores_with_the_word_embeddings(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    assert model.get_output_embeddings() is model.get_input_embeddings()
    before = scores(model)
    words = model.get_input_embeddings().embeddings
    changed = words.numpy()
    changed[7] += 1
    words.assign(changed)
    assert set(np.nonzero(scores(model) - before)[2]) == {7}


def test_an_untied_head_has_a_matrix_of_its_own(make, config):
    config.tie_word_embeddings = False
    model = make(TFRobertaForMaskedLM, config)
    assert model.get_output_embeddings() is model.lm_head.decoder
    assert model.lm_head.decoder.kernel.path == "lm_head/decoder/kernel"


def test_the_bias_of_the_head_is_added_once(fresh, config):
    for tied in (True, False):
        config.tie_word_embeddings = tied
        model = fresh(TFRobertaForMaskedLM, config)
        before = scores(model)
        model.lm_head.bias.assign(model.lm_head.bias.numpy() + 5)
        np.testing.assert_allclose(scores(model) - before, 5, rtol=1e-5)


def test_classification_reads_the_first_token_only(make, config):
    head = make(TFRobertaForSequenceClassification, config).classifier
    changed = HIDDEN.numpy()
    changed[:, 1:] = 0
    np.testing.assert_array_equal(head(HIDDEN), head(changed))
    assert head(HIDDEN).shape == (2, 2)


def test_classifier_dropout_comes_before_hidden_dropout(config):
    config.hidden_dropout_prob = 0.3
    assert ClassificationHead(config).dropout.rate == 0.3
    config.classifier_dropout = 0.0
    assert ClassificationHead(config).dropout.rate == 0.0
