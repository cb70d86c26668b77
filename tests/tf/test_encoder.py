import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf
from tensorflow.python.eager import context

from roberta_core.config import RobertaConfig
from roberta_tf import TFRobertaForCausalLM, TFRobertaModel
from roberta_tf.activations import ACTIVATIONS


def close(got, want, rtol=2e-6):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    error = abs(got - want).max() / abs(want).max()
    assert error <= rtol, f"error {error:.1e}"


def apart(first, second):
    return abs(np.asarray(first) - np.asarray(second)).max()


def test_positions_start_after_the_pad_and_skip_pads(make, config):
    model = make(TFRobertaModel, config)
    assert model.embeddings.positions(tf.constant([[1, 0, 5, 1, 6]])).numpy().tolist() == [[1, 2, 3, 1, 4]]
    config.pad_token_id = 3
    positions = make(TFRobertaModel, config).embeddings.positions(tf.constant([[3, 0, 5]]))
    assert positions.numpy().tolist() == [[3, 4, 5]]


def test_given_positions_and_types_are_used(make, config, ids):
    model = make(TFRobertaModel, config)
    plain = model(ids).last_hidden_state
    positions = model.embeddings.positions(tf.constant(ids)).numpy()
    close(model(ids, position_ids=positions, token_type_ids=ids * 0).last_hidden_state, plain)
    assert apart(model(ids, position_ids=positions[:, ::-1], token_type_ids=ids * 0).last_hidden_state, plain) > 0.1
    assert apart(model(ids, position_ids=positions, token_type_ids=ids * 0 + 4).last_hidden_state, plain) > 0.1


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_real_tokens(make, config, ids, side):
    model = make(TFRobertaModel, config)
    alone = ids[1:, :4]
    padded = np.pad(alone, ((0, 0), (3, 0) if side == "left" else (0, 3)), constant_values=1)
    states = model(padded, attention_mask=padded != 1).last_hidden_state
    close(states[:, 3:] if side == "left" else states[:, :4], model(alone).last_hidden_state)


def test_without_a_mask_pads_are_attended(make, config, ids):
    model = make(TFRobertaModel, config)
    assert apart(model(ids).last_hidden_state[1], model(ids, ids != 1).last_hidden_state[1]) > 0.1


@pytest.mark.parametrize("rank", [2, 3, 4])
def test_a_mask_of_any_rank_means_the_same(make, config, ids, rank):
    model = make(TFRobertaModel, config)
    mask = (ids != 1).astype(int)
    shapes = {2: (mask, (2, 7)), 3: (mask[:, None], (2, 7, 7)), 4: (mask[:, None, None], (2, 1, 7, 7))}
    wide = np.broadcast_to(*shapes[rank])
    plain = model(ids, attention_mask=mask.astype(bool)).last_hidden_state
    close(model(ids, attention_mask=wide).last_hidden_state, plain)


def test_a_fully_masked_row_attends_evenly(make, config, ids):
    model = make(TFRobertaModel, config)
    mask = np.ones_like(ids)
    mask[1] = 0
    output = model(ids, attention_mask=mask, output_attentions=True)
    close(output.attentions[0][1], np.full((3, 7, 7), 1 / 7))
    assert np.isfinite(output.last_hidden_state).all()


def test_attention_weights_sum_to_one_and_skip_masked_keys(make, config, ids):
    output = make(TFRobertaModel, config)(ids, attention_mask=ids != 1, output_attentions=True)
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 3, 7, 7)] * 2
    for weights in output.attentions:
        close(tf.reduce_sum(weights, axis=-1), np.ones((2, 3, 7)))
        assert not weights[1, :, :, 4:].numpy().any()


def test_a_head_mask_silences_its_head(make, config, ids):
    model = make(TFRobertaModel, config)
    silenced = model(ids, head_mask=np.float32([1.0, 0.0, 0.5]), output_attentions=True).attentions
    plain = model(ids, output_attentions=True).attentions
    assert not silenced[0][:, 1].numpy().any()
    close(silenced[0][:, 2], plain[0][:, 2] / 2)
    by_layer = model(ids, head_mask=np.float32([[1, 1, 1], [1, 0, 1]]), output_attentions=True).attentions
    assert by_layer[0][:, 1].numpy().any()
    assert not by_layer[1][:, 1].numpy().any()


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_half_precision_masks_do_not_overflow(fresh, config, ids, dtype):
    model = fresh(TFRobertaModel, config, dtype=dtype)
    for layer in model.encoder.layer:
        query = layer.attention.self.query.kernel
        query.assign(query.numpy() * 40)  # float16's minimum and a score below -16 are more than it holds
    for mask in ((ids != 1) & (ids != 0), np.zeros_like(ids)):
        states = model(ids, attention_mask=mask.astype(int)).last_hidden_state
        assert states.dtype.name == dtype.removeprefix("mixed_")
        assert np.isfinite(tf.cast(states, tf.float32)).all()


def test_activations_are_the_published_functions():
    x = np.linspace(-4, 4, 41)
    tanh_form = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    want = {"gelu": x * (1 + erf(x / np.sqrt(2))) / 2, "gelu_new": tanh_form, "gelu_pytorch_tanh": tanh_form}
    want |= {"quick_gelu": x / (1 + np.exp(-1.702 * x)), "relu": x.clip(0), "silu": x / (1 + np.exp(-x))}
    want |= {"swish": want["silu"], "tanh": np.tanh(x)}
    assert set(ACTIVATIONS) == set(want)
    for name, function in ACTIVATIONS.items():
        np.testing.assert_allclose(function(tf.constant(x)), want[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_gelu_is_fused_into_its_product(fresh, config, ids):
    products = fused(fresh(TFRobertaModel, config), ids)
    if not products:
        pytest.skip("this TensorFlow multiplies without oneDNN")
    assert products.count([b"BiasAdd", b"GeluExact"]) == config.num_hidden_layers


def fused(model, ids):
    """What each of oneDNN's matrix products has fused into it, once TensorFlow has rewritten the graph of a call."""
    context.enable_graph_collection()
    try:
        model(ids)
        graphs = [graph for kept in context.export_run_metadata().function_graphs for graph in kept.partition_graphs]
    finally:
        context.disable_graph_collection()
    return [
        list(node.attr["fused_ops"].list.s) for graph in graphs for node in graph.node if "MklNativeFused" in node.op
    ]


def test_a_decoder_sees_no_later_token(make, config, ids):
    config.is_decoder = True
    model = make(TFRobertaModel, config)
    changed = ids.copy()
    changed[:, 5] = 50
    first, second = model(ids).last_hidden_state, model(changed).last_hidden_state
    close(first[:, :5], second[:, :5], 0)
    assert apart(first[:, 5], second[:, 5]) > 0.1


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("padded", [False, True])
def test_decoding_with_a_cache_equals_the_whole(make, config, ids, steps, padded):
    config.is_decoder = True
    model = make(TFRobertaForCausalLM, config)
    ids[1] = [1, 1, 0, 33, 80, 60, 2] if padded else ids[0, ::-1]
    mask = (ids != 1).astype(int)
    whole = model(ids, attention_mask=mask).logits
    start = model(ids[:, :-steps], attention_mask=mask[:, :-steps])
    rest = model(ids[:, -steps:], attention_mask=mask, past_key_values=start.past_key_values)
    close(rest.logits, whole[:, -steps:])
    assert rest.past_key_values[1][0].shape == (2, 3, 7, 4)


def test_cross_attention_reads_the_encoder_and_caches_its_keys(make, config, ids):
    config.is_decoder = config.add_cross_attention = True
    model = make(TFRobertaForCausalLM, config)
    states = np.random.default_rng(0).standard_normal((2, 5, 12), np.float32)
    mask = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    arguments = {"encoder_hidden_states": states, "encoder_attention_mask": mask, "output_attentions": True}
    whole = model(ids, **arguments)
    assert whole.cross_attentions[0].shape == (2, 3, 7, 5)
    assert not whole.cross_attentions[1][1, :, :, 2:].numpy().any()
    start = model(ids[:, :4], **arguments)
    rest = model(ids[:, 4:], **arguments, past_key_values=start.past_key_values)
    close(rest.logits, whole.logits[:, 4:])
    assert [len(layer) for layer in rest.past_key_values] == [4, 4]
    assert apart(model(ids, encoder_hidden_states=states).logits, whole.logits) > 0.1


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_gradient_checkpointing_changes_no_gradient(fresh, config, ids, rate):
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = rate
    model = fresh(TFRobertaModel, config)
    seeds = [layer.seed_generator.state for layer in model._flatten_layers() if hasattr(layer, "seed_generator")]

    def gradients():
        for seed in seeds:
            seed.assign([5, 0])  # so that dropout falls on the same elements
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


def test_the_pad_gets_no_gradient_from_being_looked_up(make, config, ids):
    model = make(TFRobertaModel, config)
    tables = [model.embeddings.word_embeddings.embeddings.value, model.embeddings.position_embeddings.embeddings.value]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids).last_hidden_state ** 2)
    for gradient in tape.gradient(loss, tables):
        gradient = tf.convert_to_tensor(gradient).numpy()
        assert not gradient[1].any()
        assert gradient[2].any()


def test_dropout_acts_in_training_only(make, config, ids):
    model = make(TFRobertaModel, config)
    close(model(ids).last_hidden_state, model(ids).last_hidden_state, 0)
    assert apart(model(ids, training=True).last_hidden_state, model(ids, training=True).last_hidden_state) > 0.1


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


def test_the_expected_outputs_of_transformers_are_met(shared):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / "expected/Model.safetensors")
    model = TFRobertaModel.from_pretrained(folder / "checkpoints/Model/pt-safetensors")
    for case in ("mask", "nomask", "types", "positions", "embeds", "mask3d", "head_mask", "masked_row", "longest"):
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        output = model(inputs)
        for name in ("last_hidden_state", "pooler_output"):
            close(output[name], expected[f"{case}.out.{name}"], 1e-5)


def test_relative_positions_are_refused():
    with pytest.raises(ValueError, match="relative_key"):
        TFRobertaModel(RobertaConfig(position_embedding_type="relative_key"))
