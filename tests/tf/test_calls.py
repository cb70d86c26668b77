import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForQuestionAnswering, TFRobertaModel


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # tracing a graph takes time
    return config


def states(output):
    return output.last_hidden_state.numpy()


def test_inputs_come_in_every_published_form(make, config, ids):
    model = make(TFRobertaModel, config)
    mask = (ids != 1).astype(int)
    want = states(model(ids, attention_mask=mask))
    tensors = [tf.constant(ids), tf.constant(mask, tf.int64)]
    forms = [
        model(input_ids=ids.tolist(), attention_mask=mask.tolist()),
        model(ids, mask),
        model({"input_ids": ids, "attention_mask": mask, "token_type_ids": None}),
        model({"input_ids": ids}, attention_mask=mask),
        model(tensors),
        model(tuple(tensors), training=False),
        model(ids.astype(np.int32), mask > 0),
    ]
    for output in forms:
        np.testing.assert_array_equal(states(output), want)
    with pytest.raises(TypeError, match="input_ids came in the dict and as an argument"):
        model({"input_ids": ids}, input_ids=ids)


def test_options_may_come_by_position(make, config, ids):
    output = make(TFRobertaModel, config)(ids, None, None, None, None, None, None, None, None, None, True, True, False)
    assert [len(part) for part in output[2:]] == [2, 1]


def test_wrong_inputs_are_refused(make, config, ids):
    model = make(TFRobertaModel, config)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds; got neither"):
        model()
    with pytest.raises(ValueError, match="input_ids has dtype float64; ids must be integers"):
        model(ids * 1.0)
    with pytest.raises(ValueError, match=r"token_type_ids has shape \[2, 1\]"):
        model(ids, token_type_ids=ids[:, :1])
    with pytest.raises(ValueError, match="input_ids contains 4294967301"):
        model(ids * 0 + 2**32 + 5)


def test_new_sizes_do_not_trace_anew(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    for batch, length in ((1, 3), (2, 3), (2, 17), (5, 1)):
        ids = np.full((batch, length), 7)
        model(ids, attention_mask=ids > 0)
        model(ids.astype(np.int32), attention_mask=ids)
    assert len(model._graphs.traced) == 1
    model(ids, attention_mask=ids, output_attentions=True)
    model(ids, attention_mask=ids, training=True)
    model(ids)
    assert len(model._graphs.traced) == 4


def test_a_graph_reads_the_parameters_where_they_are(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    before = model(ids).logits
    (graph,) = model._graphs.traced.values()
    handles = [id(variable.value.handle) for variable in model.variables]
    assert {id(captured) for captured in graph.captured_inputs} <= set(handles)
    constants = [op.outputs[0].shape.num_elements() for op in graph.graph.get_operations() if op.type == "Const"]
    assert max(constants) < 12  # the smallest parameter
    model.lm_head.bias.assign_add(np.ones(101))
    np.testing.assert_allclose(model(ids).logits, before + 1, rtol=1e-5, atol=1e-5)


def test_a_changed_setting_is_followed(fresh, config, ids):
    model = fresh(TFRobertaModel, config)
    assert "hidden_states" not in model(ids)
    model.config.output_hidden_states = True
    assert len(model(ids).hidden_states) == 2


def test_a_changed_layer_is_followed(fresh, config, ids):
    model = fresh(TFRobertaModel, config)
    before = states(model(ids))
    query = model.encoder.layer[0].attention.self.query
    query.enable_lora(2)
    np.testing.assert_allclose(states(model(ids)), before, rtol=1e-6)
    query.lora_kernel_b.assign(np.ones((2, 12)))
    changed = states(model(ids))
    assert abs(changed - before).max() > 0.1
    assert (states(model(ids, training=True)) != changed).any()
    for dropout in (layer for layer in model._graphs.layers if isinstance(layer, keras.layers.Dropout)):
        dropout.rate = 0
    np.testing.assert_array_equal(states(model(ids, training=True)), changed)


def test_an_attribute_that_a_layer_reads_is_followed(fresh, config, ids):
    config.num_hidden_layers = 2
    model = fresh(TFRobertaModel, config)
    norm, count = model.embeddings.LayerNorm, len(model._graphs.traced)
    first, eps = states(model(ids)), norm.epsilon
    norm.epsilon = 3.0
    assert np.abs(states(model(ids)) - first).max() > 0.1
    norm.epsilon = eps
    np.testing.assert_allclose(states(model(ids)), first, rtol=1e-5, atol=1e-6)
    model.encoder.layer = model.encoder.layer[:1]
    cut = model(ids, output_hidden_states=True)
    assert len(cut.hidden_states) == 2
    np.testing.assert_array_equal(states(model(ids)), states(cut))
    assert len(model._graphs.traced) - count == 5  # each set of values once
    model(ids)
    assert len(model._graphs.traced) - count == 5


def test_gradients_pass_through_a_kept_graph(make, config, ids):
    model = make(TFRobertaForMaskedLM, config)
    gradients = []
    for call in (model, model.call):
        with tf.GradientTape() as tape:
            loss = call(tf.constant(ids), labels=tf.constant(ids)).loss
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for first, second in zip(*gradients, strict=True):
        first, second = (tf.convert_to_tensor(gradient) for gradient in (first, second))
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_training_comes_from_the_layer_around(make, config, ids):
    body = make(TFRobertaModel, config)

    class Around(keras.layers.Layer):
        def call(self, ids):
            return body(ids).last_hidden_state

    around = Around()
    np.testing.assert_array_equal(around(ids), around(ids, training=False))
    assert (around(ids, training=True) != around(ids, training=True)).numpy().any()


def test_a_stateless_call_uses_the_values_it_is_given(fresh, config, ids):
    model = fresh(TFRobertaForMaskedLM, config)
    values = [variable.value for variable in model.trainable_variables]
    rest = [variable.value for variable in model.non_trainable_variables]
    silent, _ = model.stateless_call([tf.zeros_like(value) for value in values], rest, ids)
    assert not silent.logits.numpy().any()
    output, _ = model.stateless_call(values, rest, ids)
    np.testing.assert_allclose(output.logits, model(ids).logits, rtol=1e-4, atol=1e-5)


def test_a_functional_model_has_it_as_a_layer(fresh, config, ids, tmp_path):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("input_ids", "attention_mask")}
    body = fresh(TFRobertaModel, config)
    model = keras.Model(inputs, keras.layers.Dense(3)(body(inputs).last_hidden_state))
    given = {"input_ids": ids, "attention_mask": ids != 1}
    want = model(given)
    assert want.shape == (2, 7, 3)
    assert (model(given, training=True) != model(given, training=True)).numpy().any()
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(given), want, rtol=1e-5, atol=1e-6)


def test_keras_saves_and_loads_it(fresh, config, ids, tmp_path):
    model = fresh(TFRobertaForQuestionAnswering, config, name="mine")
    want = model(ids).start_logits
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (type(again), again.name, again.config) == (TFRobertaForQuestionAnswering, "mine", config)
    np.testing.assert_array_equal(again(ids).start_logits, want)
    model.save_weights(tmp_path / "model.weights.h5")
    other = TFRobertaForQuestionAnswering(config)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(ids).start_logits, want)


def test_xla_compiles_it(make, config, ids):
    model = make(TFRobertaForMaskedLM, config)
    run = tf.function(lambda ids: model(ids, labels=ids), jit_compile=True)
    got, want = run(tf.constant(ids, tf.int32)), model(ids, labels=ids)
    np.testing.assert_allclose(got.logits, want.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-6)


def test_it_is_exported_with_named_inputs(make, config, ids, tmp_path):
    model = make(TFRobertaForMaskedLM, config)
    specs = {name: tf.TensorSpec((None, None), tf.int32, name) for name in ("input_ids", "attention_mask")}
    model.export(tmp_path, input_signature=[specs], verbose=False)
    given = {"input_ids": tf.constant(ids, tf.int32), "attention_mask": tf.constant(ids != 1, tf.int32)}
    loaded = tf.saved_model.load(tmp_path)
    want = model(given).logits
    np.testing.assert_allclose(loaded.serve(given)["logits"], want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loaded.signatures["serving_default"](**given)["logits"], want, rtol=1e-4, atol=1e-5)


def test_another_keras_backend_is_refused():
    code = "import keras; keras.backend.backend = lambda: 'jax'; import roberta_tf"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "ImportError: roberta_tf is written for Keras with TensorFlow, but Keras runs on jax here" in done.stderr


def test_a_users_call_reads_its_attributes_at_every_call(config):
    class Scaled(TFRobertaModel):
        scale = 1.0

        def call(self, input_ids=None, training=False):
            output = super().call(input_ids, training=training)
            output.last_hidden_state = output.last_hidden_state * self.scale
            return output

    model, ids = Scaled(config), np.array([[0, 5, 2]])
    before = model(ids).last_hidden_state
    model.scale = 2.0
    np.testing.assert_allclose(model(ids).last_hidden_state, 2 * before, rtol=1e-6)
