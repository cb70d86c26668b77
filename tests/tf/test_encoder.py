import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import roberta_tf
from roberta_tf import TFRobertaModel


def close(got, want, rtol=2e-6):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    error = abs(got - want).max() / abs(want).max()
    assert error <= rtol, f"error {error:.1e}"


def test_gelu_is_fused_into_its_product(fresh, config, ids):
    products = fused(fresh(TFRobertaModel, config), ids)
    if not products:
        pytest.skip("this TensorFlow multiplies without oneDNN")
    assert products.count([b"BiasAdd", b"GeluExact"]) == config.num_hidden_layers


def fused(model, ids):
    """Return the operations that TensorFlow fuses into each matrix product of oneDNN in the graph of a call."""
    context.enable_graph_collection()
    try:
        model(ids)
        graphs = [graph for kept in context.export_run_metadata().function_graphs for graph in kept.partition_graphs]
    finally:
        context.disable_graph_collection()
    return [
        list(node.attr["fused_ops"].list.s) for graph in graphs for node in graph.node if "MklNativeFused" in node.op
    ]


def test_gradient_checkpointing_draws_dropout_as_before(fresh, config, ids):
    model = fresh(TFRobertaModel, config)
    found = [getattr(layer, "seed_generator", None) for layer in model._flatten_layers()]
    seeds = [one.state for one in found if isinstance(one, keras.random.SeedGenerator)]

    def gradients():
        for seed in seeds:
            seed.assign([5, 0])  # so that dropout selects the same elements
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(ids, training=True).last_hidden_state))
        return [loss, *tape.gradient(loss, model.encoder.trainable_weights)], [seed.numpy().tolist() for seed in seeds]

    want, drawn = gradients()
    model.gradient_checkpointing_enable()
    got, drawn_again = gradients()
    assert len(model._graphs.traced) == 2
    model.gradient_checkpointing_disable()
    assert not model.encoder.gradient_checkpointing
    assert drawn == drawn_again
    largest = max(float(tf.reduce_max(tf.abs(value))) for value in want[1:])
    for one, other in zip(got, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * largest)


def test_a_layer_is_computed_again_for_the_backward_pass(fresh, config, ids, monkeypatch):
    model, calls = fresh(TFRobertaModel, config), []
    monkeypatch.setattr("roberta_tf.pretrained.is_eager_call", lambda model, arguments: False)
    call = model.encoder.layer[0].intermediate.call
    monkeypatch.setattr(model.encoder.layer[0].intermediate, "call", lambda x: calls.append(1) or call(x))
    model.gradient_checkpointing_enable()
    model(ids)
    assert len(calls) == 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(ids, training=True).last_hidden_state))
    assert len(calls) == 2
    tape.gradient(loss, model.encoder.trainable_weights)
    assert len(calls) == 3


def test_an_id_outside_its_table_is_an_error_inside_a_graph_too(make, config, ids):
    model = make(TFRobertaModel, config)
    run = tf.function(lambda ids: model(ids).last_hidden_state, autograph=False)
    for wrong in (101, -1):
        ids[0, 1] = wrong
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"= {wrong} is not in"):
            run(tf.constant(ids))


@pytest.mark.parametrize("wrong", [101, -1])
def test_an_id_outside_its_table_is_nan_where_xla_compiles(make, config, ids, wrong):
    model = make(TFRobertaModel, config)
    run = tf.function(lambda ids: model.embeddings.word_embeddings(ids), jit_compile=True)
    ids[0, 1] = wrong
    assert np.argwhere(np.isnan(run(tf.constant(ids)).numpy()).all(-1)).tolist() == [[0, 1]]


def test_the_published_encoder_computes_what_the_model_computes(make, config, ids):
    model = make(TFRobertaModel, config)
    encoder = roberta_tf.TFRobertaEncoder(config)
    whole = model(ids, output_hidden_states=True, output_attentions=True)
    encoder(whole.hidden_states[0])
    values = {variable.path.partition("encoder/layer/")[2]: variable for variable in model.encoder.variables}
    for variable in encoder.variables:
        path = variable.path.partition("layer_._")[2]
        if path:
            variable.assign(values[path])
    given = encoder(whole.hidden_states[0], output_hidden_states=True, output_attentions=True)
    for name in ("last_hidden_state", "hidden_states", "attentions"):
        for one, other in zip(tf.nest.flatten(given[name]), tf.nest.flatten(whole[name]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        encoder(whole.hidden_states[0], use_cache=True)


def test_blocks_alone_start_from_the_published_initialiser(config):
    config.hidden_size, config.num_attention_heads, config.initializer_range = 120, 3, 0.03
    for kind in ("TFRobertaClassificationHead", "TFRobertaPooler", "TFRobertaSelfAttention", "TFRobertaIntermediate"):
        block = getattr(roberta_tf, kind)(config)
        block(np.zeros((1, 2, 120), np.float32))
        matrix = next(iter(block.trainable_variables)).numpy()
        assert 0.025 < matrix.std() < 0.034, kind
        assert np.abs(matrix).max() < 0.0601, kind  # truncated at two standard deviations
