"""Tensors in and out of a TensorFlow model by their published names."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import groupby
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from roberta_core.parameters import SPELLING, Parameter, is_transposed, parameters

SPELLED = {"output": "output_"}  # Keras refuses an attribute of that name
# What a layer calls the sizes of its variables.
SIZES = {"kernel": ("size", "units"), "embeddings": ("input_dim", "output_dim"), "bias": ("units",)}


def assign(model: Any, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
    """Give the variables of a model values from NumPy arrays; a model without variables gets them, all at once.

    `ValueError` if such a model would keep a variable without a value.
    """
    table = get_published(model)
    if model._is_own():
        tensors = list(tensors)
        if getattr(model, "_has_variables", False) or not {name for name, _ in tensors} <= table.keys():
            tensors = list(_assign_own(model, tensors, table))

    def copied(pair: tuple[str, np.ndarray]) -> tuple[str, tf.Tensor]:
        name, value = pair[0], tf.convert_to_tensor(pair[1])
        return name, tf.transpose(value) if is_transposed(table[name], "tf") else value

    given = set()
    with ThreadPoolExecutor() as pool:  # which copies the next values while the last ones get their layer
        for path, group in groupby(pool.map(copied, tensors), key=lambda pair: pair[0].rpartition(".")[0]):
            values = dict(group)
            given |= values.keys()
            leaves = {spell_leaf(table[name]): value for name, value in values.items()}
            _assign_layer(find_layer(model, path), path, leaves)
    if not model.built and not model._is_own():
        missing = sorted(table.keys() - given)
        if missing:
            raise ValueError(f"{type(model).__name__} gets no value for {', '.join(missing)}")
        model.build()


def _assign_own(
    model: Any, tensors: Iterable[tuple[str, np.ndarray]], table: Mapping[str, Parameter]
) -> Iterator[tuple[str, np.ndarray]]:
    """Give the variables of a user's class their values; yield the published tensors that change their size."""
    stored = model._list_stored()
    for name, array in tensors:
        if name in stored and stored[name].row.shape == array.shape:
            value = array.T if is_transposed(stored[name].row, "tf") else array
            stored[name].variable.assign(tf.cast(tf.convert_to_tensor(value), stored[name].variable.dtype))
        elif name in table:
            yield name, array
        else:
            raise ValueError(f"{type(model).__name__} has no variable {name} of shape {list(array.shape)}")


def _assign_layer(layer: Any, path: str, values: Mapping[str, tf.Tensor]) -> None:
    """Give variables of one layer their values; a layer without them, or with others in size, is built."""
    if layer.built and all(getattr(layer, leaf).shape == value.shape for leaf, value in values.items()):
        for leaf, value in values.items():
            getattr(layer, leaf).assign(value)
    else:
        build_layer(layer, path, values)


def convert_tensors(model: Any, tensors: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, tf.Tensor]]:
    """Copies of NumPy arrays as Keras keeps them, with their published names."""
    table = model._get_table()
    for name, array in tensors:
        yield name, tf.convert_to_tensor(array.T if is_transposed(table[name], "tf") else array)


def get_device(model: Any) -> str:
    """Return TensorFlow's name of the device of a model."""
    return next(variable.value.device for _, variable in variables(model))


def tensors(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters of a model as NumPy arrays in the published shapes, with layers that were added to it."""
    table, stored = model._get_table(whole=True), model._list_stored()
    for name, row in table.items():
        if name in stored:
            value = stored[name].variable.numpy()
            yield name, value.T if is_transposed(row, "tf") else value


def variables(model: Any) -> Iterator[tuple[str, Any]]:
    """The variables of a model by their published names."""
    if model._is_own():
        yield from ((name, stored.variable) for name, stored in model._list_stored().items())
        return
    for name, parameter in get_published(model).items():
        yield name, getattr(find_layer(model, name.rpartition(".")[0]), spell_leaf(parameter))


def to_published(model: Any, values: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """Values that belong to variables, by name, as NumPy arrays in the published shapes."""
    table = model._get_table()
    for name, value in values:
        yield name, value.numpy().T if is_transposed(table[name], "tf") else value.numpy()


def build(model: Any) -> None:
    """Make the variables that a model lacks, with Keras's own first values, and give each layer its published name."""
    table = get_published(model)
    parts = [name.split(".")[:-1] for name in table]
    paths = {".".join(path[:length]) for path in parts for length in range(1, len(path) + 1)}
    for path in sorted(paths, key=lambda path: (-path.count("."), path)):  # a layer after those inside it
        try:
            layer = find_layer(model, path)
        except (AttributeError, IndexError):
            if not model._is_own():
                raise
            continue  # a head that the user's class replaced
        if isinstance(layer, keras.Layer) and not layer.built:
            build_layer(layer, path, {})


def build_layer(layer: Any, path: str, values: Mapping[str, tf.Tensor]) -> None:
    """Build one layer under its published path, some of its variables from values; again if it is built."""
    values = {**_unbuild_layer(layer), **values} if layer.built else values
    *scopes, layer.name = path.split(".")
    initializers = {f"{leaf}_initializer": _make_initializer(value) for leaf, value in values.items()}
    own = {name: getattr(layer, name) for name in initializers}
    vars(layer).update(initializers)
    for leaf, names in SIZES.items():
        if leaf in values:
            vars(layer).update(zip(names, values[leaf].shape, strict=True))
    with ExitStack() as stack:
        for number, scope in enumerate(scopes):
            stack.enter_context(keras.name_scope(scope, override_parent=None if number else ""))
        layer.build(None)
    vars(layer).update(own)  # or the first values would stay in memory beside the trained ones


def _unbuild_layer(layer: Any) -> dict[str, tf.Tensor]:
    """The values of a layer's own variables, which it has no longer; the graphs that have them are out of date."""
    variables = [*layer._trainable_variables, *layer._non_trainable_variables]
    for variable in variables:
        layer._untrack_variable(variable)
    layer._tracker.unlock()
    layer.built = False
    layer.version = getattr(layer, "version", 0) + 1
    return {variable.name: tf.convert_to_tensor(variable.value) for variable in variables}


def _make_initializer(value: tf.Tensor) -> Any:
    def initializer(shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.cast(value, dtype)

    return initializer


def get_published(model: Any) -> dict[str, Parameter]:
    """Return the tensors of the published class that a model is."""
    return parameters(model.config, model._get_architecture(), model.has_pooler)


def find_layer(model: Any, path: str) -> Any:
    """Return the layer of a model at a published path."""
    for part in path.split("."):
        model = model[int(part)] if part.isdigit() else getattr(model, SPELLED.get(part, part))
    return model


def spell_leaf(parameter: Parameter) -> str:
    """Return what Keras calls the variable of a row."""
    return SPELLING["tf"].get((parameter.kind, parameter.leaf), parameter.leaf)


def as_concrete(tensor: Any) -> Any:
    """An array to check values in, where reading them costs nothing: eager, on the CPU; else the tensor itself."""
    if isinstance(tensor, tf.Tensor) and hasattr(tensor, "numpy") and "CPU" in tensor.device:
        return tensor.numpy()
    return tensor
