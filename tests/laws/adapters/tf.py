"""What the laws need of TensorFlow beyond its backend."""

import json
import os
from contextlib import contextmanager, nullcontext

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_core import RobertaTokenizerFast
from roberta_tf import TFRobertaMainLayer, TFRobertaPreTrainedModel
from roberta_tf.weights import assign

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

PREFIX, FORWARD, RETURN_TENSORS = "TF", "call", "tf"
TITLE, DISTRIBUTION, DEVICE = "TensorFlow", "tensorflow", "cpu"
TENSOR, INTEGERS = tf.Tensor, "int32"
KEEPS_MODELS, MODEL_LAYERS, NEW_TOKENS, NEW_ROWS = True, 1, 32, 107  # a graph costs time
FLAGS = (("from_pt", "bin"), ("from_pt", "safetensors"))
EXPECTED_CASES = {"mask", "labels"}  # test_encoder.py has the others
KILLED_STEPS, KILLS = 60, ((9, 0.003),)
LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight", "bias": "bias"}
HALF = {"float16": "mixed_float16", "bfloat16": "bfloat16"}
PRELOADED, SHARING = ("tensorflow", "roberta_tf.backend", "roberta_tf.training"), ()
strict = quick = compiled = wide = lenient = training = nullcontext


def build_environments(ports):
    """Return the variables of processes by which the workers of TensorFlow find each other."""
    workers = [f"127.0.0.1:{port}" for port in ports]
    tasks = [{"type": "worker", "index": index} for index in range(len(ports))]
    return [{"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})} for task in tasks]


@contextmanager
def eager():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


single_steps = eager  # a graph takes longer to trace than a step


def arguments(values):
    """Arrays as a model takes them: as they are."""
    return values


def call(model, *values, **named):
    return model(*values, **named)


def call_training(model, *values, seed=0, **named):
    _seed(model, seed)
    return model(*values, **named, training=True)


def _seed(model, seed):
    for layer in model._flatten_layers():
        if isinstance(found := getattr(layer, "seed_generator", None), keras.random.SeedGenerator):
            found.state.assign([seed, 0])


def gradients(model, loss, *values, seed=None, **named):
    """The gradients of a function of the output by published name; with dropout if there is a seed."""
    if seed is not None:
        _seed(model, seed)
    with tf.GradientTape() as tape:
        value = loss(model(*values, **named, training=seed is not None))
    found = tape.gradient(value, model.trainable_variables)
    named = zip(model.trainable_variables, found, strict=True)
    return {_name(variable): None if one is None else _published(variable, one) for variable, one in named}


def _published(variable, gradient):
    """A gradient as an array; Keras keeps matrices transposed."""
    array = tf.convert_to_tensor(gradient).numpy()
    return array.T if variable.path.endswith("kernel") else array


def _name(variable):
    *path, leaf = variable.path.split("/")
    return ".".join([*path, LEAVES[leaf]])


def gradient(function, array):
    """A function of an array and its gradient."""
    given = tf.constant(array)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = function(given)
    return value.numpy(), tape.gradient(value, given).numpy()


def numpy(value):
    return (tf.cast(value, tf.float32) if value.dtype.is_floating else value).numpy()


def dtype(value):
    return tf.as_dtype(value.dtype).name


def total(value):
    return tf.reduce_sum(value)


def map_tree(function, tree):
    assert type(tf.nest.map_structure(function, tree)) is type(tree)
    return keras.tree.map_structure(function, tree)


def leaves(tree):
    """The leaves, and the kinds and keys of what holds them."""
    if isinstance(tree, dict | tuple):
        parts = [leaves(part) for part in (tree.values() if isinstance(tree, dict) else tree)]
        structure = (type(tree).__name__, list(tree) if isinstance(tree, dict) else None, [part[1] for part in parts])
        return [leaf for part in parts for leaf in part[0]], structure
    return [tree], None


def half(backend, architecture, config, given, precision):
    return backend.from_tensors(architecture, config, given, dtype=HALF[precision])


def table(layer):
    """The variable that holds the matrix of a layer."""
    return layer.embeddings if hasattr(layer, "embeddings") else layer.kernel


def embedding(rows, columns):
    made = keras.layers.Embedding(rows, columns)
    made.build()
    return made


def scores(model, hidden):
    return model.lm_head(tf.constant(hidden), words=model.get_input_embeddings()).numpy()


def rate(dropout):
    return dropout.rate


def cast(value, name):
    return tf.cast(value, name)


def change(model, name, array):
    assign(model, [(name, array)])


def value(layer):
    """The matrix of a layer."""
    return table(layer)


def whole(encoding):
    """Other ways of giving a model an encoding."""
    return (encoding,)


def has_moved(value, before):
    return value is before  # a tensor that does not move by itself stays where it is


def own_names(model):
    """The published names of all that a model stores."""
    assert len({variable.path for variable in model.weights}) == len(model.weights)
    return {_name(variable) for variable in model.weights}


def own_arguments(plain):
    return {"training": (plain, {**plain, "training": True})}


def is_lacking(architecture, name):
    return False


def new(model, **settings):
    return type(model)(model.config, **settings)


def counts_trainable(framework, model):
    model.embeddings.trainable = False
    return model.num_parameters(only_trainable=True) < model.num_parameters()


def has_dtype(framework, model):
    return new(model, dtype="float64").embeddings.LayerNorm.gamma.dtype == "float64"


def expands_heads(**changes):
    def is_changed(framework, model):
        plain = {"head_mask": tf.constant([1.0, 0.0, 1.0]), "num_hidden_layers": 2}
        before, after = (model.get_head_mask(**given) for given in (plain, {**plain, **changes}))
        return before.shape == (2, 1, 3, 1, 1) and np.shape(before) != np.shape(after)

    return is_changed


def prepares_inputs(**changes):
    def is_changed(framework, model):
        plain = {"input_ids": tf.constant([[0, 5, 6]])}
        before, after = (model.prepare_inputs_for_generation(**given) for given in (plain, {**plain, **changes}))
        return str(before) != str(after)

    return is_changed


def sets_the_bias(framework, model):
    head = framework.kind("ForMaskedLM")(model.config)
    with pytest.raises(ValueError, match="has no language-model head, so it has no bias"):
        model.set_bias(value={"bias": np.ones(101)})
    with pytest.raises(ValueError, match=r"the bias has the shape \(7,\), but the vocabulary has 101 entries"):
        head.set_bias({"bias": np.ones(7)})
    head.set_bias({"bias": np.ones(101)})
    return (head.get_bias()["bias"].numpy() == 1).all() and model.get_bias() is None and model.get_lm_head() is None


def sets_output_embeddings(framework, model):
    with pytest.raises(ValueError, match="the output embeddings are tied, or this class has none"):
        model.set_output_embeddings(value=np.ones((12, 101)))
    model.config.tie_word_embeddings = False
    head = framework.kind("ForMaskedLM")(model.config)
    head.set_output_embeddings(value=np.ones((12, 101)))
    return (head.get_output_embeddings().kernel.numpy() == 1).all()


def computes_the_loss(framework, model):
    with pytest.raises(ValueError, match="TFRobertaModel has no head, so it has no loss"):
        model.hf_compute_loss(labels=None, logits=None)
    ids = tf.constant([[0, 5, 6, 2]])
    for name, labels in (("ForMaskedLM", ids), ("ForSequenceClassification", tf.constant([1]))):
        head = framework.kind(name)(model.config)
        output = head(ids, labels=labels)
        np.testing.assert_allclose(head.hf_compute_loss(labels=labels, logits=output.logits), output.loss, rtol=1e-6)
    head, places = framework.kind("ForQuestionAnswering")(model.config), tf.constant([2])
    output = head(ids, start_positions=places, end_positions=places)
    labels = {"start_position": places, "end_position": places}
    found = head.hf_compute_loss(labels, (output.start_logits, output.end_logits))
    return np.isclose(found, output.loss, rtol=1e-6)


def serves(framework, model):
    output = model.serving(inputs={"input_ids": tf.constant([[0, 5, 2]])})
    again = model.serving_output(output=model(tf.constant([[0, 5, 2]])))
    return np.allclose(output["last_hidden_state"], again["last_hidden_state"], atol=1e-6)


def prepares_data(check, **settings):
    """The first batch of rows of different lengths, with the labels that the class accepts."""

    def is_prepared(framework, model):
        head = framework.kind("ForSequenceClassification")(model.config)
        rows = [{"input_ids": [0, 5, 2][: 2 + number % 2], "label": number, "text": "a"} for number in range(5)]
        tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
        given = {"dataset": rows, "batch_size": 2, "shuffle": False, "tokenizer": tokenizer, **settings}
        return check(list(head.prepare_tf_dataset(**given)))

    return is_prepared


def stack(rows, times=1):
    return {"input_ids": [row["input_ids"][:2] * times for row in rows], "label": [0.5] * len(rows)}


PREPARED = {
    "dataset": prepares_data(lambda found: len(found) == 1, dataset=[{"input_ids": [0, 2], "label": 1}]),
    "batch_size": prepares_data(lambda found: len(found) == 1, batch_size=5),
    "shuffle": prepares_data(lambda found: len(found) == 2, shuffle=True),
    "tokenizer": prepares_data(lambda found: found[0][0]["attention_mask"].numpy().tolist() == [[1, 1, 0], [1, 1, 1]]),
    "collate_fn": prepares_data(lambda found: found[0][1].dtype == "float32", collate_fn=stack),
    "collate_fn_args": prepares_data(
        lambda found: found[0][0].shape == (2, 6), collate_fn=stack, collate_fn_args={"times": 3}
    ),
    "drop_remainder": prepares_data(lambda found: len(found) == 2, drop_remainder=True),
    "prefetch": prepares_data(lambda found: len(found) == 3 and found[2][1].numpy().tolist() == [4], prefetch=False),
}

METHODS = {
    ("get_head_mask", "head_mask"): expands_heads(head_mask=None),
    ("get_head_mask", "num_hidden_layers"): expands_heads(num_hidden_layers=3),
    ("prepare_inputs_for_generation", "input_ids"): prepares_inputs(input_ids=tf.constant([[0, 5]])),
    ("prepare_inputs_for_generation", "past_key_values"): prepares_inputs(past_key_values=()),
    ("prepare_inputs_for_generation", "attention_mask"): prepares_inputs(attention_mask=tf.constant([[0, 1, 1]])),
    ("set_bias", "value"): sets_the_bias,
    ("set_output_embeddings", "value"): sets_output_embeddings,
    ("hf_compute_loss", "labels"): computes_the_loss,
    ("hf_compute_loss", "logits"): computes_the_loss,
    ("serving", "inputs"): serves,
    ("serving_output", "output"): serves,
    **{("prepare_tf_dataset", name): check for name, check in PREPARED.items()},
    ("__init__", "name"): lambda framework, model: new(model, name="reader").name == "reader",
    ("__init__", "dtype"): has_dtype,
    ("__init__", "trainable"): lambda framework, model: not new(model, trainable=False).trainable_weights,
    ("num_parameters", "only_trainable"): counts_trainable,
}
# Keras passes custom_objects to every class; `inputs` are further arguments of a user's class.
PASSED_ON = {("__init__", "settings"), ("__init__", "inputs"), ("from_config", "custom_objects")}
PASSED_ON |= {("prepare_inputs_for_generation", "arguments")}  # published options that the cache makes unnecessary
PASSED_ON |= {
    ("compile", name) for name in ("args", "kwargs", "metrics")
}  # to Keras; tests/tf/test_fitting.py has metrics
# Keras calls these; tests/tf/test_serving.py has tests of `export`, tests/tf/test_fitting.py of `compile_from_config`.
INNER = (
    "export", "build", "call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics",
    "compile_from_config",
)  # fmt: skip


def new_layer():
    layer = keras.layers.Dense(3, name="extra")
    layer.build((None, 12))
    return layer


class OwnClassifier(TFRobertaPreTrainedModel):
    """What research code writes: the first token beside the mean of all, a second head, a plain parameter."""

    def __init__(self, config, *inputs, scale=1.0, **kwargs):
        super().__init__(config, *inputs, **kwargs)
        self.num_labels, self.scale = config.num_labels, scale
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False, name="roberta")
        self.dense = keras.layers.Dense(config.hidden_size, activation="tanh", name="dense")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5)
        self.heads = [keras.layers.Dense(size) for size in (5, config.num_labels)]
        shape = (config.num_labels, config.num_labels)
        self.transitions = self.add_weight(shape=shape, initializer="zeros", name="transitions")

    def call(self, input_ids=None, attention_mask=None, training=False):
        hidden = self.roberta(input_ids, attention_mask=attention_mask, training=training)[0]
        pooled = self.norm(self.dense(tf.concat([hidden[:, 0], tf.reduce_mean(hidden, axis=1)], axis=-1)))
        scores = self.heads[1](pooled)
        return self.heads[0](pooled), self.scale * (scores + scores @ self.transitions)
