"""What the laws need of Flax beyond its backend."""

import os
from contextlib import contextmanager, nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from roberta_flax import FlaxRobertaModel, FlaxRobertaPreTrainedModel
from roberta_flax.weights import assign, tensors

PREFIX, FORWARD, RETURN_TENSORS = "Flax", "__call__", "jax"
TITLE, DISTRIBUTION, DEVICE = "Flax", "flax", "cpu"
TENSOR, INTEGERS = jax.Array, "int32"
KEEPS_MODELS, MODEL_LAYERS, NEW_TOKENS, NEW_ROWS = (
    False,
    2,
    12,
    107,
)  # as few shapes as possible: XLA compiles for each of them
FLAGS = (("from_pt", "bin"), ("from_pt", "safetensors"))
EXPECTED_CASES = {"mask", "nomask", "types", "positions", "embeds", "labels"}
KILLED_STEPS, KILLS = 60, ((9, 0.003),)


PRELOADED, SHARING = ("jax", "roberta_flax.backend", "roberta_flax.training"), ["--distributed"]


def build_environments(ports):
    """Return the variables by which JAX's processes find each other; two have two devices each."""
    shared = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{ports[0]}", "JAX_NUM_PROCESSES": str(len(ports))}
    if len(ports) == 2:
        shared["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    return [shared | {"JAX_PROCESS_ID": str(index)} for index in range(len(ports))]


@contextmanager
def strict():
    """JAX never widens a type or a rank by itself, so that none of ours rests on that."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def lenient():
    return jax.numpy_dtype_promotion("standard")


def eager():
    return jax.disable_jit()


single_steps = nullcontext
quick = eager  # XLA takes a second for each function


def compiled():
    return jax.disable_jit(False)


@contextmanager
def wide():
    with jax.enable_x64(True), jax.disable_jit():
        yield


@contextmanager
def training():
    """Functions compiled in a third of the time and not made quick: they run once or twice. In new processes too."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with lenient():  # optax widens types
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        del os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"]


def arguments(values):
    """Arrays as a model takes them: as they are."""
    return values


def call(model, *values, **named):
    return model(*values, **named)


def call_training(model, *values, seed=0, **named):
    return model(*values, **named, train=True, dropout_rng=_key(seed))


def _key(seed):
    return jax.random.key(seed, impl="rbg")  # XLA compiles the usual one for seconds


def gradients(model, loss, *values, seed=None, **named):
    """The gradients of a function of the output by published name; with dropout if there is a seed."""
    settings = {} if seed is None else {"train": True, "dropout_rng": _key(seed)}
    found = jax.grad(lambda params: loss(model(*values, **named, **settings, params=params)))(model.params)
    return dict(tensors(model, found))


def gradient(function, array):
    """A function of an array and its gradient."""
    return jax.value_and_grad(function)(jnp.asarray(array))


def numpy(value):
    return np.asarray(value, np.float32 if jnp.issubdtype(value.dtype, jnp.floating) else None)


def dtype(value):
    return value.dtype.name


def total(value):
    return value.sum()


def map_tree(function, tree):
    return jax.tree.map(function, tree)


def leaves(tree):
    return jax.tree.flatten(tree)


def half(backend, architecture, config, given, precision):
    return backend.from_tensors(architecture, config, given, precision=precision)


def table(layer):
    """The variable that holds the matrix of a layer."""
    return layer.embedding if hasattr(layer, "embedding") else layer.kernel


def embedding(rows, columns):
    return nnx.Embed(rows, columns, rngs=nnx.Rngs(0))


def scores(model, hidden):
    return np.asarray(model.lm_head(jnp.asarray(hidden), model.get_input_embeddings()))


def rate(dropout):
    return dropout.rate


def cast(value, name):
    return value.astype(name)


def change(model, name, array):
    assign(model, [(name, array)])


def value(layer):
    """The matrix of a layer."""
    return table(layer)[...]


def whole(encoding):
    """Other ways of giving a model an encoding."""
    return ()


def has_moved(value, before):
    return value is before  # a tensor that does not move by itself stays where it is


def own_names(model):
    """The published names of all that a model stores."""
    names = [name for name, _ in tensors(model)]
    assert len(jax.tree.leaves(model)) == len(jax.tree.leaves(model.params)) == len(names)
    return set(names)


def own_arguments(plain):
    dropout = {**plain, "train": True, "dropout_rng": jax.random.key(0)}
    return {
        "params": (plain, plain),
        "dropout_rng": (dropout, {**dropout, "dropout_rng": jax.random.key(1)}),
        "train": (plain, dropout),
    }


def doubled(params):
    return jax.tree.map(lambda value: 2 * value, params)


# What the classes take of the arguments that all of them share.
SHARED = {"input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds"}
SHARED |= {"params", "dropout_rng", "train", "output_attentions", "output_hidden_states", "return_dict"}
CROSS = {"encoder_hidden_states", "encoder_attention_mask"}
DECODER = {*CROSS, "past_key_values", "use_cache"}
OWN = {
    "Model": DECODER,
    "ForCausalLM": {*DECODER, "labels", "num_items_in_batch"},
    "ForMaskedLM": {*CROSS, "labels"},
    "ForQuestionAnswering": {"start_positions", "end_positions"},
}


def is_lacking(architecture, name):
    return name not in SHARED | OWN.get(architecture, {"labels"})


def new(model, **settings):
    return type(model)(model.config, **settings)


def is_built_without_values(framework, model):
    with pytest.raises(ValueError, match="made without values"):
        new(model, _do_init=False).params  # noqa: B018
    return True


def is_drawn_from_the_key(framework, model):
    one, other = (model.init_weights(jax.random.key(number)) for number in (1, 2))
    return any(map(lambda a, b: (a != b).any(), *map(jax.tree.leaves, (one, other))))


def keeps_given_params(framework, model):
    kept = model.init_weights(jax.random.key(1), params=model.params)
    return all(map(np.array_equal, *map(jax.tree.leaves, (kept, model.params))))


def casts(kind, argument):
    """All parameters are cast, or none where the mask is False."""

    def is_cast(framework, model):
        half = model.to_fp16(model.params) if kind == "fp32" else model.params
        mask = jax.tree.map(lambda _: argument == "params", half)
        before, after = half, getattr(model, f"to_{kind}")(half, mask)
        kinds = [{leaf.dtype.name for leaf in jax.tree.leaves(tree)} for tree in (before, after)]
        return (kinds[0] == kinds[1]) == (argument == "mask")

    return is_cast


def is_checkpointing(framework, model):
    return new(model, gradient_checkpointing=True).encoder.gradient_checkpointing


METHODS = {
    ("__init__", "dtype"): lambda framework, model: new(model, dtype=jnp.bfloat16).dtype == jnp.bfloat16,
    ("__init__", "_do_init"): is_built_without_values,
    ("__init__", "gradient_checkpointing"): is_checkpointing,
    ("init_weights", "rng"): is_drawn_from_the_key,
    ("init_weights", "params"): keeps_given_params,
    **{
        (f"to_{kind}", argument): casts(kind, argument)
        for kind in ("fp32", "fp16", "bf16")
        for argument in ("params", "mask")
    },
}
PASSED_ON = {("__init__", "settings"), ("__init__", "args"), ("__init__", "arguments")}  # the last of a user's class
# Published arguments that say nothing, and why.
PASSED_ON |= {
    ("__init__", "input_shape"): "it is an attribute, and variables do not depend on the shape of inputs",
    ("init_weights", "input_shape"): "the same",
    ("num_parameters", "only_trainable"): "what is trained is the optimizer's to say: all parameters can be",
}.keys()
INNER = ()


def new_layer():
    return nnx.Linear(12, 3, rngs=nnx.Rngs(0))


class OwnClassifier(FlaxRobertaPreTrainedModel):
    """What research code writes: the first token beside the mean of all, a second head, a plain parameter."""

    def __init__(self, config, *args, scale=1.0, **settings):
        super().__init__(config, *args, **settings)
        hidden, rngs = config.hidden_size, nnx.Rngs(0)
        self.num_labels, self.scale = config.num_labels, scale
        self.roberta = FlaxRobertaModel(config, add_pooling_layer=False)
        self.dense = nnx.Linear(2 * hidden, hidden, rngs=rngs)
        self.norm = nnx.LayerNorm(hidden, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(hidden, size, rngs=rngs) for size in (5, config.num_labels)])
        self.transitions = nnx.Param(jnp.zeros((config.num_labels, config.num_labels)))

    def __call__(self, input_ids=None, attention_mask=None):
        hidden = self.roberta(input_ids, attention_mask=attention_mask)[0]
        pooled = self.norm(jnp.tanh(self.dense(jnp.concatenate([hidden[:, 0], hidden.mean(1)], axis=-1))))
        scores = self.heads[1](pooled)
        return self.heads[0](pooled), self.scale * (scores + scores @ self.transitions[...])
