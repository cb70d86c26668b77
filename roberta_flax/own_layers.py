"""The layers that a user's class adds to the published ones, in Flax: their names, and classes written in Linen.

A tensor is named by the attributes that lead to it, and by kind as in PyTorch: `head.weight` is the transposed kernel
of the linear layer `self.head`. So a checkpoint of the same class in another framework loads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from roberta_core.parameters import LEAVES, SPELLING, Kind, Parameter, draw, is_transposed, spell

# The leaves that tell the kind of a layer; a kernel of another rank is of a convolution.
SIGNS = {"kernel": Kind.LINEAR, "scale": Kind.NORM, "embedding": Kind.EMBEDDING}


class LinenState:
    """The Linen module of a model and its parameters: a static attribute, as the published classes pass both around."""

    def __init__(self, module: Any, shapes: Mapping[str, Any]):
        self.module, self.shapes = module, shapes
        self.params: dict[str, Any] | None = None


def list_values(model: Any) -> dict[str, Any]:
    """Return the variables of a model by Flax's names, or the arrays (or shapes) of one written in Linen."""
    if model._linen is not None:
        return dict(flatten(model._linen.shapes if model._linen.params is None else model._linen.params))
    return {
        ".".join(map(str, path)): value
        for path, value in nnx.iter_graph(model)
        if isinstance(value, nnx.Variable) and not isinstance(value, nnx.RngState)
    }


def describe(values: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the rows of the table for values by Flax's names, by the leaves that a layer has."""
    layers: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, value in values.items():
        path, _, leaf = name.rpartition(".")
        layers.setdefault(path, {})[leaf] = tuple(to_raw(value).shape)
    rows = [row for path, leaves in layers.items() for row in _describe_layer(path, leaves)]
    return {row.name: row for row in rows}


def _describe_layer(path: str, leaves: Mapping[str, tuple[int, ...]]) -> Iterable[Parameter]:
    kind = next((kind for sign, kind in SIGNS.items() if sign in leaves), Kind.OTHER)
    if kind is Kind.LINEAR:
        kind = Kind.LINEAR if "bias" in leaves else Kind.PROJECTION
        kind = kind if len(leaves["kernel"]) == 2 else Kind.OTHER
    published = {spelled: name for (of, name), spelled in SPELLING["flax"].items() if of is kind}
    for leaf, shape in leaves.items():
        name = published.get(leaf, leaf)
        row = Parameter(f"{path}.{name}".lstrip("."), kind if name in LEAVES.get(kind, ()) else Kind.OTHER, shape)
        yield replace(row, shape=shape[::-1]) if is_transposed(row, "flax") else row


def make_linen_state(model: Any, arguments: Mapping[str, Any], input_shape: tuple[int, ...]) -> LinenState:
    """Return the state of a class whose `module_class` is a Linen module, without values."""
    module = model.module_class(
        config=model.config, dtype=model.dtype, gradient_checkpointing=model.gradient_checkpointing, **arguments
    )
    shapes = jax.eval_shape(lambda: init_linen(model, module, jax.random.key(0), input_shape))
    return LinenState(module, shapes)


def init_linen(model: Any, module: Any, key: jax.Array, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """Draw the parameters of a Linen module, as the published `init_weights` does."""
    params_key, dropout_key = jax.random.split(key)
    ids = jnp.zeros(input_shape, jnp.int32)
    inputs = (ids, jnp.ones_like(ids), jnp.ones_like(ids), ids + model.config.pad_token_id + 1, _make_head_mask(model))
    if model.config.add_cross_attention:
        inputs += (jnp.zeros((*input_shape, model.config.hidden_size)), jnp.ones_like(ids))
    return module.init({"params": params_key, "dropout": dropout_key}, *inputs, return_dict=False)["params"]


def draw_linen(model: Any, seed: int, input_shape: tuple[int, ...], names: Iterable[str] | None = None) -> None:
    """Give a model its parameters: the body as in every framework, the user's layers as Linen draws them."""
    state, rows = model._linen, model._get_table()
    architecture = model._get_architecture()
    published = dict(draw(model.config, architecture, seed, model.has_pooler))
    wanted = {spell(row, "flax") for name, row in rows.items() if name not in published}

    @jax.jit
    def own(key: jax.Array) -> dict[str, jax.Array]:  # compiled, so that the body is not drawn in vain
        return {n: v for n, v in flatten(init_linen(model, state.module, key, input_shape)) if n in wanted}

    values = own(jax.random.key(seed))
    for name, array in published.items():
        values[spell(rows[name], "flax")] = jnp.asarray(array.T if is_transposed(rows[name], "flax") else array)
    state.params = nest((name, values[name]) for name, _ in flatten(state.shapes))


def apply_linen(
    model: Any, inputs: Mapping[str, Any], params: Any, train: bool, key: Any, options: Any, cache: Any = None
) -> Any:
    """Call the Linen module of a model as the published classes do; with a cache, return the new one too."""
    ids = jnp.asarray(inputs["input_ids"], jnp.int32)
    missing = [name for name in ("attention_mask", "position_ids") if inputs.get(name) is None]
    if cache is not None and missing:
        raise ValueError(f"past_key_values requires {' and '.join(missing)}: a Linen module does not count tokens")
    real = (ids != model.config.pad_token_id).astype(jnp.int32)
    standard = {
        "attention_mask": jnp.ones_like(ids),
        "token_type_ids": jnp.zeros_like(ids),
        "position_ids": jnp.cumsum(real, axis=1) * real + model.config.pad_token_id,
        "head_mask": _make_head_mask(model),
    }
    given = {name: jnp.asarray(value) for name, value in inputs.items() if value is not None and name != "input_ids"}
    values = {"params": model.params if params is None else params}
    arguments = {**standard, **given, "deterministic": not train, **options}
    arguments["rngs"] = {} if key is None else {"dropout": key}
    if cache is None:
        return model.module.apply(values, ids, **arguments)
    output, state = model.module.apply({**values, "cache": cache}, ids, **arguments, mutable=["cache"])
    if isinstance(output, tuple):
        return (*output[:1], state["cache"], *output[1:])
    output["past_key_values"] = state["cache"]
    return output


def make_linen_cache(model: Any, batch: int, length: int) -> dict[str, Any]:
    """Return an empty cache of the Linen module of a model, as a nested dict. `ValueError` if it has none."""
    ids = jnp.ones((batch, length), jnp.int32)
    arguments = {"attention_mask": ids, "position_ids": ids, "return_dict": False, "init_cache": True}
    shapes = jax.eval_shape(lambda: model.module.init(jax.random.key(0), ids, **arguments))
    if "cache" not in shapes:
        raise ValueError(f"the Linen module of {type(model).__name__} has no cache: set is_decoder=True")
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes["cache"])


def _make_head_mask(model: Any) -> jax.Array:
    return jnp.ones((model.config.num_hidden_layers, model.config.num_attention_heads))


def nest(leaves: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A nested dict of values by their names, which are split at the dots."""
    params: dict[str, Any] = {}
    for name, value in leaves:
        *path, leaf = name.split(".")
        node = params
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = value
    return params


def flatten(params: Mapping[str, Any], prefix: str = "") -> Any:
    """The values of a nested dict by their names, joined with dots."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def to_raw(value: Any) -> Any:
    """The array of a variable, or an array as it is."""
    return value.get_raw_value() if isinstance(value, nnx.Variable) else value
