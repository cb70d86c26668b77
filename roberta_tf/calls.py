"""A call of a Keras model: its inputs in any of the published forms, and an ordinary one through a kept graph.

A graph serves every batch size and length, and is traced once for each set of arguments and options.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Signature
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend import in_stateless_scope  # the one thing that Keras knows and does not publish

from roberta_core.checks import TABLES

OPTIONS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "training")
# What a trace takes from the configuration, which may be changed between two calls.
SETTINGS = ("use_cache", "output_attentions", "output_hidden_states", "return_dict", "problem_type")
# The sizes that a graph knows of inputs whose last axis is not a length; the other axes are free.
LAST_AXIS = ("inputs_embeds", "encoder_hidden_states", "past_key_values")


def bound(signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, those that are None left out; the first may be a tensor, a dict, or a list of tensors.

    `TypeError` for a name that the model does not have, or has twice.
    """
    first = args[0] if args else None
    if isinstance(first, Mapping):
        twice = sorted(first.keys() & kwargs.keys())
        if twice:
            raise TypeError(f"{', '.join(twice)} came in the dict and as an argument")
        args, kwargs = args[1:], {**first, **kwargs}
    elif isinstance(first, tuple | list) and all(part is None or is_tensor(part) for part in first):
        args = (*first, *args[1:])
    arguments = signature.bind(*args, **kwargs).arguments
    return {name: value for name, value in arguments.items() if value is not None}


def is_tensor(value: Any) -> bool:
    """Whether a value is an array or tensor of any kind, rather than numbers in a list."""
    return isinstance(value, np.ndarray | np.generic | tf.Tensor | tf.Variable | keras.KerasTensor)


def converted(arguments: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """The inputs as tensors, bools as int32 and real numbers as `dtype`; options stay as they are."""
    return {name: value if name in OPTIONS else _tensors(name, value, dtype) for name, value in arguments.items()}


def _tensors(name: str, value: Any, dtype: str) -> Any:
    if name == "past_key_values":
        layers = value.to_legacy_cache() if hasattr(value, "to_legacy_cache") else value
        return tuple(tuple(_tensor(part, dtype) for part in layer if part is not None) for layer in layers)
    tensor = _tensor(value, dtype)
    if name in TABLES and "int" not in keras.backend.standardize_dtype(tensor.dtype):
        raise ValueError(f"{name} holds {keras.backend.standardize_dtype(tensor.dtype)}; ids are whole numbers")
    return tensor


def _tensor(value: Any, dtype: str) -> Any:
    if isinstance(value, keras.KerasTensor):
        return value
    tensor = tf.convert_to_tensor(value)
    if tensor.dtype.is_floating:
        return tf.cast(tensor, dtype)
    return tf.cast(tensor, tf.int32) if tensor.dtype not in (tf.int32, tf.int64) else tensor


def kept(call: Callable[..., Any]) -> Callable[..., Any]:
    """A model's `call` that checks the values it can read and runs through a kept graph, where nothing else traces."""

    @wraps(call)
    def compiled(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.built or not tf.executing_eagerly() or in_stateless_scope():
            return call(self, *args, **kwargs)
        arguments = converted(bound(self.signature, args, kwargs), self.variable_dtype)
        options = {name: arguments.pop(name) for name in OPTIONS if name in arguments}
        self.check(arguments)
        inputs = {name: tf.nest.map_structure(_narrow, value) for name, value in arguments.items()}
        key = _key(self, inputs, options)
        if key not in self.graphs:
            self.graphs[key] = _graph(call, self, inputs, options)
        return self.graphs[key](inputs)

    return compiled


def _narrow(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.int32) if tensor.dtype == tf.int64 else tensor


def _key(model: Any, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, ...]:
    """All that a trace depends on: kinds of inputs, options, settings, and which variables there are."""
    kinds = tuple((name, *((part.dtype, part.shape.rank) for part in tf.nest.flatten(inputs[name]))) for name in inputs)
    settings = tuple(getattr(model.config, name) for name in SETTINGS)
    return kinds, tuple(options.items()), settings, tuple(map(id, model.weights))


def _graph(call: Callable[..., Any], model: Any, inputs: dict[str, Any], options: dict[str, Any]) -> Any:
    def run(inputs: dict[str, Any]) -> Any:
        return call(model, **inputs, **options)

    specs = {
        name: tf.nest.map_structure(lambda tensor: tf.TensorSpec(_free(name, tensor), tensor.dtype), value)  # noqa: B023
        for name, value in inputs.items()
    }
    return tf.function(run, autograph=False).get_concrete_function(specs)


def _free(name: str, tensor: tf.Tensor) -> list[int | None]:
    """The shape that a graph is traced for."""
    shape: list[int | None] = [None] * tensor.shape.rank
    if name in LAST_AXIS:
        shape[-1] = tensor.shape[-1]
    return shape
