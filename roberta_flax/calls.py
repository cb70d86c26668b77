"""A call of a Flax model: its arguments made arrays and checked, then run by a pure function that is compiled and kept.

JAX keeps one compiled `run` for each shape, set of options and structure of a model. The structure is the model's tree
without its values, so copies of a model share it, and a module or setting that was changed is seen.
"""

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jax.typing import DTypeLike

from roberta_core.config import RobertaConfig
from roberta_core.input_validation import TABLES
from roberta_core.outputs import ModelOutput
from roberta_flax.buckets import crop_output, measure, pad_inputs
from roberta_flax.weights import as_concrete, match_params

Options = tuple[tuple[str, Any], ...]

# What takes the place of `run`, during a call of a frozen model.
replacement: ContextVar[Callable[..., Any] | None] = ContextVar("replacement", default=None)

MASKS = ("attention_mask", "encoder_attention_mask")
ORIGIN = ("_name_or_path", "transformers_version")  # what a configuration says of where it was read, and no model asks


def call(
    model: Any,
    inputs: Mapping[str, Any],
    options: Mapping[str, Any],
    params: Mapping[str, Any] | None,
    train: bool,
    key: Any,
) -> ModelOutput:
    """The output of a model for arrays by name, with its own parameters or `params`; `key` is for dropout.

    Sizes are rounded up and the output is cut back, unless the call is traced, there is more than one device, the cache
    has a fixed length, or scores are to be compared along the whole sequence.
    """
    leaves, structure = jax.tree.flatten(model)
    leaves = _select_leaves(structure, leaves, params)
    inputs = {name: convert_input(name, value) for name, value in inputs.items()}
    model._check_inputs(inputs)
    fixed = (structure, describe_settings(model.config), tuple(options.items()), train)
    key, compute = key if train else None, replacement.get() or run
    cache = inputs.get("past_key_values")
    exact = "start_positions" in inputs or (cache is not None and cache.filled is not None)
    if exact or not all(map(_is_on_one_device, jax.tree.leaves((leaves, inputs, key)))):
        return compute(*fixed, leaves, narrow_ints(inputs), key)
    sizes, rounded = measure(model, inputs)
    output = compute(*fixed, leaves, narrow_ints(pad_inputs(model, inputs, sizes, rounded)), key)
    return crop_output(model, output, sizes, rounded)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def run(structure: Any, settings: str, options: Options, train: bool, leaves: list[Any], inputs: dict, key: Any) -> Any:
    """The forward pass of a model taken apart, as a pure function; `settings` only tell configurations apart."""
    model = jax.tree.unflatten(structure, leaves)
    if train:
        enable_dropout(model, key)
    return model._forward(**inputs, **dict(options))


def describe_settings(config: RobertaConfig) -> str:
    """What tells configurations apart: two checkpoints of one kind share what is compiled, wherever they lie."""
    return repr({name: value for name, value in vars(config).items() if name not in ORIGIN})


class HashableConfig:
    """A configuration in the structure of a model, which nnx compares and hashes by value."""

    def __init__(self, config: RobertaConfig, folder: Path | None = None, generation: Any = None):
        self.config = config
        # The folder that the model was loaded from and its generation configuration are no part of its structure.
        self.folder, self.generation = folder, generation

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableConfig) and describe_settings(self.config) == describe_settings(other.config)

    def __hash__(self) -> int:
        return hash(self.config.vocab_size)

    def __repr__(self) -> str:
        return repr(self.config)


def enable_dropout(model: Any, key: Any) -> None:
    """Let a model's dropout draw from a key; `ValueError` if there is none to draw from."""
    drops = [module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout) and module.rate > 0]
    if drops and key is None:
        raise ValueError("train=True needs dropout_rng, such as jax.random.key(0): this model has dropout")
    stream = None if key is None else nnx.Rngs(dropout=key).dropout
    for module in drops:
        module.deterministic, module.rngs = False, stream


def set_compute_dtype(model: Any, dtype: DTypeLike) -> None:
    """Let every layer of a model compute in another type."""
    for _, module in nnx.iter_modules(model):
        if "dtype" in vars(module):
            vars(module)["dtype"] = dtype


def rebuild_model(structure: Any, params: Mapping[str, Any]) -> Any:
    """A model from its tree without values and its params."""
    return jax.tree.unflatten(structure, _select_leaves(structure, [None] * structure.num_leaves, params))


def filter_arguments(model: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are there. `TypeError` for one that asks a class for what it does not have."""
    given, known = {name: value for name, value in arguments.items() if value is not None}, _get_parameter_names(model)
    lacking = [name for name in given if name not in known and given[name] is not False]
    if lacking:
        raise TypeError(f"{model.__name__} takes no {' and no '.join(lacking)}")
    return {name: value for name, value in given.items() if name in known}


@cache
def _get_parameter_names(model: type) -> frozenset[str]:
    """What the forward pass of a class takes."""
    return frozenset(inspect.signature(model._forward).parameters)


def check_room(inputs: Mapping[str, Any], filled: Any, length: int) -> None:
    """Raise `ValueError` if a cache of fixed length has no slots left for the new tokens."""
    new = inputs["input_ids" if "input_ids" in inputs else "inputs_embeds"].shape[1]
    if isinstance(filled, np.ndarray) and filled + new > length:
        raise ValueError(f"the cache has room for {length} tokens; {filled} are in it and {new} more came")


def convert_input(name: str, value: Any) -> Any:
    """An argument as an array, or a cache as tuples of arrays; a mask as int8, 1 where it is not 0."""
    if name == "past_key_values":
        return jax.tree.map(_to_array, value)
    value = _to_array(value)
    if name in TABLES and not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(f"{name} has dtype {value.dtype}; ids must be integers")
    return (value != 0).astype(np.int8) if name in MASKS else value


def _to_array(value: Any) -> Any:
    return as_concrete(value) if isinstance(value, jax.Array) else np.asarray(value)


def _select_leaves(structure: Any, leaves: list[Any], params: Mapping[str, Any] | None) -> list[Any]:
    """The parameters in the order of the model's tree: those of `params` if given, else its own."""
    if params is not None:
        leaves, places = list(leaves), _find_places(structure)
        for name, value in match_params(places, params).items():
            leaves[places[name]] = value
    elif any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        raise ValueError("this model was made without values (_do_init=False); call it with params=")
    return leaves


@lru_cache(maxsize=64)
def _find_places(structure: Any) -> dict[str, int]:
    """Where the parameters of a model are among the leaves of its tree, by their names in params."""
    numbered = jax.tree.unflatten(structure, range(structure.num_leaves))
    found = jax.tree_util.tree_flatten_with_path(numbered)[0]
    return {jax.tree_util.keystr(path[:-1], simple=True, separator="."): place for path, place in found}


def _is_on_one_device(leaf: Any) -> bool:
    """Whether an array has its values, on the host or on one device."""
    if isinstance(leaf, Tracer):
        return False
    return not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1


def narrow_ints(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Convert integers to int32: one compiled function serves them all."""

    def narrowed(value: Any) -> Any:
        return value.astype(np.int32) if jnp.issubdtype(value.dtype, jnp.integer) and value.dtype != np.int8 else value

    return jax.tree.map(narrowed, dict(inputs))
