"""Idioms of Keras and TensorFlow: optimizers, precision policies, weight files, graphs, freezing layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForSequenceClassification, TFRobertaModel
from roberta_tf.weights import tensors

LABELS = np.array([1, 0])


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # tracing a graph takes time
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return config


@pytest.mark.parametrize("compiled", [False, True])
def test_a_repeated_token_is_one_gradient_to_an_optimizer(fresh, config, ids, compiled):
    model = fresh(TFRobertaForSequenceClassification, config)
    before = model.get_input_embeddings().embeddings.numpy()
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-12), jit_compile=compiled)
    model.fit({"input_ids": np.repeat(ids, 2, axis=0)[:, :5], "labels": np.repeat(LABELS, 2)}, batch_size=4, verbose=0)
    moved = np.abs(model.get_input_embeddings().embeddings.numpy() - before)
    assert moved[0].min() > 0  # the first token of all rows
    np.testing.assert_allclose(moved[0], 1e-3, rtol=1e-2)  # the first step of Adam has the size of the learning rate


def test_the_gradient_of_a_table_is_that_of_tensorflow(fresh, config, ids):
    table = fresh(TFRobertaModel, config).embeddings.token_type_embeddings
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(tf.square(table(tf.constant(ids % 5))))
        theirs = tf.reduce_sum(tf.square(tf.gather(table.embeddings.value, ids % 5)))
    got, want = (tape.gradient(loss, table.embeddings.value) for loss in (ours, theirs))
    assert isinstance(got, tf.Tensor)
    np.testing.assert_allclose(got, tf.convert_to_tensor(want), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_in_mixed_precision_keeps_float32_variables(fresh, config, ids, policy):
    model = fresh(TFRobertaForSequenceClassification, config, dtype=policy)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit({"input_ids": ids, "labels": LABELS}, epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model(ids).logits.dtype == policy.removeprefix("mixed_")


def test_weights_are_saved_and_loaded_by_keras(fresh, config, ids, tmp_path):
    model = fresh(TFRobertaForMaskedLM, config)
    model.save_weights(tmp_path / "model.weights.h5")
    other = TFRobertaForMaskedLM(config, seed=5)
    other.load_weights(tmp_path / "model.weights.h5")
    for (name, value), (_, want) in zip(tensors(other), tensors(model), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)
    np.testing.assert_array_equal(other(ids).logits, model(ids).logits)


def test_a_function_of_the_user_traces_it_once_for_all_sizes(make, config, ids):
    model, traces = make(TFRobertaForSequenceClassification, config), []

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], reduce_retracing=True)
    def scores(ids):
        traces.append(1)
        return model(ids).logits

    for part in (ids, ids[:1, :4]):
        np.testing.assert_allclose(scores(tf.constant(part, tf.int32)), model(part).logits, rtol=1e-5, atol=1e-6)
    assert len(traces) == 1


def test_a_frozen_body_stays_as_it_is(fresh, config, ids):
    model = fresh(TFRobertaForSequenceClassification, config)
    model.roberta.trainable = False
    before = {name: np.array(value) for name, value in tensors(model)}
    model.compile(keras.optimizers.SGD(0.1))
    model.fit({"input_ids": ids, "labels": LABELS}, verbose=0)
    changed = {name.split(".")[0] for name, value in tensors(model) if not np.array_equal(value, before[name])}
    assert changed == {"classifier"}
    assert model.num_parameters(only_trainable=True) == 12 * 12 + 12 + 12 * 2 + 2
