import jax.numpy as jnp
import numpy as np
import pytest

from roberta_flax import FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification
from roberta_flax.heads import ClassificationHead

pytestmark = pytest.mark.usefixtures("eager")


def hidden(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


def scores(model, states):
    return np.asarray(model.lm_head(states, model.get_input_embeddings()))


def test_the_language_model_head_is_gelu_whatever_the_body_uses(make, config):
    plain = scores(make(FlaxRobertaForMaskedLM, config), hidden(2, 7, 12))
    config.hidden_act = "relu"
    np.testing.assert_array_equal(scores(make(FlaxRobertaForMaskedLM, config), hidden(2, 7, 12)), plain)


def test_the_language_model_head_scores_with_the_word_embeddings(make, config):
    model = make(FlaxRobertaForMaskedLM, config)
    assert model.get_output_embeddings() is model.get_input_embeddings()
    before = scores(model, hidden(1, 1, 12))
    table = model.get_input_embeddings().embedding
    table[...] = table[...].at[7].add(1)
    assert np.argwhere(scores(model, hidden(1, 1, 12)) != before).tolist() == [[0, 0, 7]]


def test_an_untied_head_has_a_matrix_of_its_own(make, config):
    config.tie_word_embeddings = False
    model = make(FlaxRobertaForMaskedLM, config)
    assert model.get_output_embeddings() is model.lm_head.decoder
    assert model.params["lm_head"]["decoder"]["kernel"].shape == (12, 101)
    before = scores(model, hidden(1, 1, 12))
    model.lm_head.decoder.kernel[...] *= 2
    assert (scores(model, hidden(1, 1, 12)) != before).all()


def test_the_bias_of_the_head_is_added_once(make, config):
    model = make(FlaxRobertaForMaskedLM, config)
    before = scores(model, hidden(1, 1, 12))
    model.lm_head.bias[...] += 5
    np.testing.assert_allclose(scores(model, hidden(1, 1, 12)), before + 5, rtol=1e-5)


def test_classification_reads_the_first_token_only(make, config):
    head = make(FlaxRobertaForSequenceClassification, config).classifier
    states = hidden(2, 7, 12)
    np.testing.assert_array_equal(head(states), head(states.at[:, 1:].set(0)))
    assert head(states).shape == (2, 2)


def test_classifier_dropout_comes_before_hidden_dropout(config):
    config.hidden_dropout_prob = 0.3
    assert ClassificationHead(config, jnp.float32).dropout.rate == 0.3
    config.classifier_dropout = 0.0
    assert ClassificationHead(config, jnp.float32).dropout.rate == 0.0
