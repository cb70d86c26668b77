"""What the laws need of TensorFlow beyond its backend."""

import os
from contextlib import contextmanager, nullcontext

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

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
strict = quick = compiled = wide = lenient = training = nullcontext


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
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([seed, 0])


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


METHODS = {
    ("__init__", "name"): lambda framework, model: new(model, name="reader").name == "reader",
    ("__init__", "dtype"): has_dtype,
    ("__init__", "trainable"): lambda framework, model: not new(model, trainable=False).trainable_weights,
    ("num_parameters", "only_trainable"): counts_trainable,
}
# Keras passes custom_objects to every class; `inputs` are further arguments of a user's class.
PASSED_ON = {("__init__", "settings"), ("__init__", "inputs"), ("from_config", "custom_objects")}
# Keras calls these; `export` has its tests in tests/tf/test_serving.py.
INNER = ("export", "build", "call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


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
