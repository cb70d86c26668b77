import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForQuestionAnswering, TFRobertaForSequenceClassification

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CLASSES = np.array([1, 0])


@pytest.fixture
def still(config):
    """Return a configuration without dropout, so that a step can be repeated, and with one layer, for speed."""
    config.num_hidden_layers = 1
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    return config


def stepped(model, *data, **settings):
    """Run one step of gradient descent; return the loss and a variable of the head."""
    model.compile(keras.optimizers.SGD(0.1), **settings)
    history = model.fit(*data, batch_size=2, verbose=0).history
    return history["loss"][0], model.classifier.dense.kernel.numpy()


@pytest.mark.parametrize("form", ["its own loss", "a compiled loss"])
def test_fit_takes_the_step_of_the_loss(fresh, still, ids, form):
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).astype(int)}
    model = fresh(TFRobertaForSequenceClassification, still)
    before = model.classifier.dense.kernel.numpy()
    with tf.GradientTape() as tape:
        want = model(inputs, labels=CLASSES, training=True).loss
    after = before - 0.1 * tape.gradient(want, model.classifier.dense.kernel.value).numpy()
    if form == "its own loss":
        loss, kernel = stepped(model, inputs, CLASSES)
    else:  # labels in the dict serve a compiled loss too
        loss, kernel = stepped(model, {**inputs, "labels": CLASSES}, loss=CROSS_ENTROPY)
    assert loss == pytest.approx(float(want), rel=1e-5)
    np.testing.assert_allclose(kernel, after, rtol=1e-4, atol=1e-6)


def test_metrics_see_the_logits(fresh, still, ids):
    model = fresh(TFRobertaForSequenceClassification, still)
    model.compile("sgd", metrics=["accuracy"])
    found = model.evaluate({"input_ids": ids, "labels": CLASSES}, verbose=0, return_dict=True)
    want = model(ids, labels=CLASSES)
    assert found["loss"] == pytest.approx(float(want.loss), rel=1e-5)
    assert found["accuracy"] == (want.logits.numpy().argmax(-1) == CLASSES).mean()


def test_predict_leaves_labels_aside_and_joins_batches(fresh, config, ids):
    model = fresh(TFRobertaForSequenceClassification, config)
    found = model.predict({"input_ids": ids, "labels": CLASSES}, batch_size=1, verbose=0)
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found.logits, model(ids).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_spans_have_two_labels(fresh, still, ids, compiled):
    model = fresh(TFRobertaForQuestionAnswering, still)
    want = model(ids, start_positions=[1, 2], end_positions=[3, 3]).loss
    names = ("start_logits", "end_logits") if compiled else ("start_positions", "end_positions")
    model.compile("sgd", loss=dict.fromkeys(names, CROSS_ENTROPY) if compiled else None)
    labels = dict(zip(names, (np.array([1, 2]), np.array([3, 3])), strict=True))
    loss = model.fit({"input_ids": ids}, labels, verbose=0).history["loss"][0]
    assert loss / (1 + compiled) == pytest.approx(
        float(want), rel=1e-5
    )  # Keras sums what the loss of the model averages


@pytest.mark.parametrize("metrics", [["accuracy"], [keras.metrics.SparseCategoricalAccuracy("accuracy")]])
def test_a_metric_is_computed_for_both_labels_of_a_span(fresh, still, ids, metrics):
    model = fresh(TFRobertaForQuestionAnswering, still)
    scores = model(ids)
    starts, ends = (found.numpy().argmax(-1) for found in (scores.start_logits, scores.end_logits))
    model.compile("sgd", metrics=metrics)
    labels = {"start_positions": np.array([starts[0], starts[1] + 1]), "end_positions": ends}
    found = model.evaluate({"input_ids": ids, **labels}, verbose=0, return_dict=True)
    assert (found["start_logits_accuracy"], found["end_logits_accuracy"]) == (0.5, 1.0)


@pytest.mark.parametrize("how", ["jit_compile", "run_eagerly"])
def test_fit_runs_compiled_and_eagerly(fresh, still, ids, how):
    model = fresh(TFRobertaForMaskedLM, still)
    want = float(model(ids, labels=ids).loss)
    model.compile(keras.optimizers.SGD(0.01), **{how: True})
    losses = model.fit({"input_ids": ids, "labels": ids}, epochs=2, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(want, rel=1e-5)
    assert losses[1] < losses[0]


def test_a_loaded_model_resumes_fit(fresh, still, ids, tmp_path):
    data = {"input_ids": ids, "start_positions": np.array([1, 2]), "end_positions": np.array([3, 3])}
    model = fresh(TFRobertaForQuestionAnswering, still)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), metrics=["accuracy"], run_eagerly=True)
    model.fit(data, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (again.compiled, again.run_eagerly, int(again.optimizer.iterations)) == (True, True, 1)
    for one, other in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    want = float(model(**data).loss)
    found = again.fit(data, verbose=0).history
    assert found.keys() == {"loss", "start_logits_accuracy", "end_logits_accuracy"}
    assert found["loss"][0] == pytest.approx(want, rel=1e-5)


def test_a_users_own_compile_is_not_called_on_loading(still, tmp_path):
    @keras.saving.register_keras_serializable()
    class Own(TFRobertaForSequenceClassification):
        def compile(self, rate):
            super().compile(keras.optimizers.SGD(rate))

    model = Own(still)
    model.compile(0.1)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="method is custom"):
        again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is Own
    assert getattr(again, "optimizer", None) is None


def test_losses_one_a_label_are_averaged(fresh, still, ids):
    model = fresh(TFRobertaForSequenceClassification, still, loss_reduction="none")
    model.compile("sgd")
    loss = model.evaluate({"input_ids": ids, "labels": CLASSES}, verbose=0)
    assert loss == pytest.approx(float(tf.reduce_mean(model(ids, labels=CLASSES).loss)), rel=1e-5)


def test_a_fit_without_a_loss_is_refused(fresh, config, ids):
    model = fresh(TFRobertaForSequenceClassification, config)
    model.compile("sgd")
    with pytest.raises(ValueError, match="there is no loss: give compile"):
        model.fit({"input_ids": ids}, verbose=0)
    with pytest.raises(ValueError, match="takes no sample weights"):
        model.fit({"input_ids": ids}, CLASSES, sample_weight=np.ones(2), verbose=0)
