import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quick")
HIDDEN = np.random.default_rng(0).standard_normal((2, 7, 12), np.float32)
WORDS = "roberta.embeddings.word_embeddings.weight"


def add(number, *places):
    def change(array):
        array[places or ...] += number
        return array

    return change


def test_the_language_model_head_always_uses_gelu(framework, make, config):
    plain = framework.scores(make("ForMaskedLM", config), HIDDEN)
    config.hidden_act = "relu"
    np.testing.assert_array_equal(framework.scores(make("ForMaskedLM", config), HIDDEN), plain)


def test_the_language_model_head_scores_with_the_word_embeddings(framework, fresh, config):
    model = fresh("ForMaskedLM", config)
    assert framework.table(model.get_output_embeddings()) is framework.table(model.get_input_embeddings())
    before = framework.scores(model, HIDDEN)
    framework.change(model, WORDS, add(1, 7))
    assert set(np.nonzero(framework.scores(model, HIDDEN) - before)[2]) == {7}


def test_an_untied_head_has_a_separate_matrix(framework, fresh, config):
    config.tie_word_embeddings = False
    model = fresh("ForMaskedLM", config)
    assert model.get_output_embeddings() is model.lm_head.decoder
    assert framework.table(model.get_output_embeddings()) is not framework.table(model.get_input_embeddings())
    assert framework.tensors(model)["lm_head.decoder.weight"].shape == (101, 12)
    before = framework.scores(model, HIDDEN[:1, :1])
    framework.change(model, WORDS, add(1, 7))
    np.testing.assert_array_equal(framework.scores(model, HIDDEN[:1, :1]), before)
    framework.change(model, "lm_head.decoder.weight", lambda array: 2 * array)
    assert (framework.scores(model, HIDDEN[:1, :1]) != before).all()


@pytest.mark.parametrize("tied", [True, False])
def test_the_bias_of_the_head_is_added_once(framework, fresh, config, tied):
    config.tie_word_embeddings = tied
    model = fresh("ForMaskedLM", config)
    before = framework.scores(model, HIDDEN)
    framework.change(model, "lm_head.bias", add(5))
    np.testing.assert_allclose(framework.scores(model, HIDDEN) - before, 5, rtol=1e-5)


def test_classification_reads_the_first_token_only(framework, make, config):
    head, changed = make("ForSequenceClassification", config).classifier, HIDDEN.copy()
    changed[:, 1:] = 0
    got, want = (framework.call(head, framework.backend.tensor(hidden)) for hidden in (changed, HIDDEN))
    np.testing.assert_array_equal(got, want)
    assert got.shape == (2, 2)


def test_classifier_dropout_comes_before_hidden_dropout(framework, make, config):
    config.hidden_dropout_prob = 0.3
    assert framework.rate(make("ForSequenceClassification", config).classifier.dropout) == 0.3
    config.classifier_dropout = 0.0
    assert framework.rate(make("ForSequenceClassification", config).classifier.dropout) == 0.0
