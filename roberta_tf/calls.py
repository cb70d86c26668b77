"""A call of a Keras model: its inputs in any of the published forms, and an ordinary one through a kept graph.

A graph serves every batch size and length. It is traced once for each set of arguments and options.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend import in_stateless_scope  # these two Keras knows and does not publish
from keras.src.backend.common.global_state import get_global_attribute

from roberta_core.input_validation import TABLES
from roberta_core.outputs import FixedCache, KeyValueCache, ModelOutput

OPTIONS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "training")
# What a trace takes from the configuration, which may be changed between two calls.
SETTINGS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "problem_type", "pad_token_id")
SETTINGS += ("is_decoder", "num_hidden_layers", "num_attention_heads")
# What a trace takes from a layer: the rate of dropout, an adapter, and which variables it has (`weights.assign`).
STATES = ("rate", "lora_enabled", "version")
# Inputs whose last axis is no length: a graph knows its size.
LAST_AXIS = ("inputs_embeds", "encoder_hidden_states", "past_key_values")


def bind_inputs(signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, without those that are None; the first may be a tensor, a dict, or a list of tensors.

    `TypeError` for a name that the model does not have, or has twice.
    """
    first = args[0] if args else None
    if isinstance(first, Mapping):
        twice = sorted(first.keys() & kwargs.keys())
        if twice:
            raise TypeError(f"{', '.join(twice)} came in the dict and as an argument")
        args, kwargs = args[1:], {**first, **kwargs}
    elif isinstance(first, tuple | list) and all(part is None or _is_tensor(part) for part in first):
        args = (*first, *args[1:])
    arguments = signature.bind(*args, **kwargs).arguments
    return {name: value for name, value in arguments.items() if value is not None}


def convert_inputs(arguments: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Inputs as tensors, bools as int32 and real numbers as `dtype`; options stay as they are."""
    return {name: value if name in OPTIONS else _convert(name, value, dtype) for name, value in arguments.items()}


def is_eager_call(model: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether nothing else records what the model does: it has its variables, and the inputs their values."""
    return (
        model.built
        and not has_own_call(type(model))  # a graph would freeze what a user's call reads
        and tf.executing_eagerly()
        and not in_stateless_scope()
        and not any(isinstance(value, keras.KerasTensor) for value in arguments.values())
    )


def has_own_call(kind: type) -> bool:
    """Whether a user's class overrides `call`."""
    return not kind.call.__module__.startswith("roberta_tf.")  # pyright: ignore[reportAttributeAccessIssue]


def unpack_first(
    signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a user's `call`: a dict as the first one is taken apart if the call names `input_ids`."""
    first = next(iter(signature.parameters.values()), None)
    named = first is not None and (first.name == "input_ids" or first.kind is Parameter.VAR_POSITIONAL)
    if named and args and isinstance(args[0], Mapping):
        return args[1:], {**args[0], **kwargs}
    return args, dict(kwargs)


class Graphs:
    """The graphs of a model's calls. Of no type that Keras keeps an eye on, or they would be saved with the model."""

    def __init__(self, model: Any):
        self.model = model
        self.traced: dict[tuple[Any, ...], Any] = {}
        self.layers: list[keras.Layer] = []

    def run(self, call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """`call(**arguments)`; `ValueError` for values that the model does not accept."""
        options = {name: arguments[name] for name in OPTIONS if name in arguments}
        options["training"] = bool(options.get("training", _find_training_flag()))
        inputs = {name: value for name, value in arguments.items() if name not in OPTIONS}
        self.model._check_inputs(inputs)
        inputs = tf.nest.map_structure(_narrow_ints, inputs)
        key = self.key(inputs, options)
        if key not in self.traced:
            self.layers = self.model._flatten_layers()  # one of them may be new
            key = self.key(inputs, options)
            self.traced[key] = _trace(call, inputs, options)
        return _map_caches(_restore_cache, self.traced[key](inputs))

    def key(self, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """All that a trace depends on: kinds of inputs, options, settings, and how each layer computes."""
        kinds = tuple((name, *map(_describe_input, tf.nest.flatten(value))) for name, value in inputs.items())
        settings = tuple(getattr(self.model.config, name) for name in SETTINGS)
        encoder = self.model.base_model.encoder
        settings += (encoder.gradient_checkpointing, *map(id, encoder.layer))
        return kinds, tuple(sorted(options.items())), settings, tuple(map(_describe_layer, self.layers))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | tf.Tensor | tf.Variable | keras.KerasTensor)


def _convert(name: str, value: Any, dtype: str) -> Any:
    if isinstance(value, FixedCache):
        filled = None if value.filled is None else tf.convert_to_tensor(value.filled, tf.int32)
        real = None if value.real is None else tf.cast(_to_tensor(value.real), tf.int32)
        return FixedCache(_convert(name, value.layers, dtype), filled, real)
    if name == "past_key_values":  # the reference's cache objects too; an absent cross pair may be None
        layers = value.to_legacy_cache() if hasattr(value, "to_legacy_cache") else value
        layers = tuple(tuple(_convert("", part, dtype) for part in layer if part is not None) for layer in layers)
        real = value.real if isinstance(value, KeyValueCache) else None
        return layers if real is None else FixedCache(layers, None, tf.cast(_to_tensor(real), tf.int32))
    tensor = _to_tensor(value)
    kind = tf.as_dtype(tensor.dtype)
    if name in TABLES and not kind.is_integer:
        raise ValueError(f"{name} has dtype {kind.name}; ids must be integers")
    if isinstance(tensor, keras.KerasTensor) or kind in (tf.int32, tf.int64):
        return tensor
    if kind in (tf.uint32, tf.uint64):  # a uint64 above the range of int64 becomes its largest number
        return tf.cast(tf.minimum(tensor, tf.constant(min(kind.max, 2**63 - 1), kind)), tf.int64)
    return tf.cast(tensor, dtype if kind.is_floating else tf.int32)


def _to_tensor(value: Any) -> Any:
    if isinstance(value, keras.KerasTensor):
        return value
    if isinstance(value, tf.Tensor) or not tf.executing_eagerly():
        return tf.convert_to_tensor(value)
    with tf.device("CPU"):  # where its values can be read and checked
        return tf.convert_to_tensor(value)


def _narrow_ints(tensor: Any) -> Any:
    return tf.cast(tensor, tf.int32) if tensor is not None and tensor.dtype == tf.int64 else tensor


def _find_training_flag() -> bool | None:
    """What a layer around the model says, as Keras hands it down: the call may be inside another layer's."""
    return getattr(get_global_attribute("current_call_ctx"), "training", None)


def _describe_input(tensor: Any) -> tuple[Any, int]:
    return (None, 0) if tensor is None else (tensor.dtype, tensor.shape.rank)


def _describe_layer(layer: Any) -> tuple[Any, ...]:
    return (*(getattr(layer, name, 0) for name in STATES), getattr(layer, "changes", ()), id(layer.dtype_policy))


def _trace(call: Callable[..., Any], inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    def run(inputs: dict[str, Any]) -> Any:
        return _map_caches(_name_parts, call(**inputs, **options))

    def describe(name: str, value: Any) -> Any:
        def one(tensor: Any) -> Any:
            return None if tensor is None else tf.TensorSpec(_relax_shape(name, tensor), tensor.dtype)

        return tf.nest.map_structure(one, value)

    specs = {name: describe(name, value) for name, value in inputs.items()}
    return tf.function(run, autograph=False).get_concrete_function(specs)


def _map_caches(change: Callable[[Any], Any], output: Any) -> Any:
    """Return an output with its cache changed."""
    if isinstance(output, ModelOutput):
        return type(output)({name: change(value) for name, value in output.items()})
    return tuple(map(change, output))


def _name_parts(value: Any) -> Any:
    """Return a growing cache as a named tuple: a graph would drop the attribute of a tuple."""
    return FixedCache(tuple(value), None, value.real) if isinstance(value, KeyValueCache) else value


def _restore_cache(value: Any) -> Any:
    """Undo `_name_parts`."""
    grows = isinstance(value, FixedCache) and value.filled is None
    return KeyValueCache(value.layers, value.real) if grows else value


def _relax_shape(name: str, tensor: tf.Tensor) -> list[int | None]:
    """The shape that a graph is traced for."""
    shape: list[int | None] = [None] * tensor.shape.rank
    if name in LAST_AXIS and shape:
        shape[-1] = tensor.shape[-1]
    return shape
