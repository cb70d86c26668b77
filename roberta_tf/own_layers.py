"""The layers that a user's class adds to the published ones, in TensorFlow: their names, and building them.

A tensor is named by the attributes that lead to it, and by kind as in PyTorch: `head.weight` is the transposed kernel
of the Dense layer `self.head`. So a checkpoint of the same class in another framework loads.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from roberta_core.parameters import SPELLING, Kind, Parameter, parameters
from roberta_tf.weights import SPELLED, build_layer, find_layer, spell_leaf

KINDS = {
    keras.layers.Dense: Kind.LINEAR,
    keras.layers.LayerNormalization: Kind.NORM,
    keras.layers.Embedding: Kind.EMBEDDING,
}
NAMES = {spelled: name for name, spelled in SPELLED.items()}


class Stored(NamedTuple):
    """A variable of a model and its row of the table."""

    row: Parameter
    variable: Any


def list_stored(model: Any) -> dict[str, Stored]:
    """Return the variables of a model, a shared one once, by the attributes that lead to them."""
    return {stored.row.name: stored for stored in _iterate_stored(model, "", set())}


def _iterate_stored(layer: Any, prefix: str, seen: set[int]) -> Iterator[Stored]:
    seen.add(id(layer))
    children: list[tuple[str, Any]] = []
    variables = {id(value): value.name for value in (*layer._trainable_variables, *layer._non_trainable_variables)}
    for name, value in _iterate_attributes(layer):
        if isinstance(value, keras.Layer):
            children.append((name, value))
        elif isinstance(value, keras.Variable | tf.Variable):
            variables[id(value)] = name
    owned = {id(value): value for _, value in _iterate_attributes(layer) if isinstance(value, tf.Variable)}
    owned |= {id(value): value for value in (*layer._trainable_variables, *layer._non_trainable_variables)}
    for number, name in variables.items():
        if number in owned and number not in seen:
            seen.add(number)
            yield Stored(_describe(layer, prefix, name.lstrip("_"), owned[number]), owned[number])
    for name, child in children:
        if id(child) not in seen:
            yield from _iterate_stored(child, f"{prefix}{NAMES.get(name, name)}.", seen)


def _iterate_attributes(layer: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of a layer that may be layers or variables, lists and dicts taken apart."""
    if isinstance(layer, keras.Sequential):
        yield from ((str(number), child) for number, child in enumerate(layer.layers))
        return
    for name, value in sorted(vars(layer).items(), key=lambda item: (item[0] == "_layers", item[0].startswith("_"))):
        if name.startswith("_self_"):  # TensorFlow's bookkeeping
            continue
        if isinstance(value, list | tuple) and not name.endswith("_variables"):
            yield from ((f"{name}.{number}", one) for number, one in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, value


def _describe(layer: Any, prefix: str, leaf: str, variable: Any) -> Parameter:
    kind = next((kind for kind_of, kind in KINDS.items() if isinstance(layer, kind_of)), Kind.OTHER)
    if kind is Kind.LINEAR and layer.bias is None:
        kind = Kind.PROJECTION
    published = {spelled: name for (of, name), spelled in SPELLING["tf"].items() if of is kind}
    name = published.get(leaf, leaf)
    if name not in ("weight", "bias"):
        kind = Kind.OTHER
    shape = tuple(variable.shape)
    transposed = kind in (Kind.LINEAR, Kind.PROJECTION) and name == "weight"
    return Parameter(prefix + name, kind, shape[::-1] if transposed else shape)


def build_own(model: Any) -> None:
    """Give every layer of a user's class its variables, by the class's `build` or by a call with `dummy_inputs`.

    Raises:
        ValueError: The class cannot be called with `dummy_inputs`.
    """
    if getattr(model, "_has_variables", False):
        return
    fill_body(model)
    model.build()
    if not all(layer.built for layer in model._flatten_layers(include_self=False)):
        try:
            model(model.dummy_inputs)
        except Exception as error:
            raise ValueError(
                f"{type(model).__name__} has layers without variables, and calling it with its dummy_inputs failed: "
                f"{error} Override dummy_inputs, or build(), which makes the variables."
            ) from error
    model.built = True
    object.__setattr__(model, "_has_variables", True)


def fill_body(model: Any) -> None:
    """Give the published layers that have no variables zeros, to be replaced by the values of a checkpoint."""
    groups: dict[str, dict[str, Parameter]] = {}
    for name, row in parameters(model.config, model._get_architecture(), model.has_pooler).items():
        groups.setdefault(name.rpartition(".")[0], {})[name] = row
    for path, rows in groups.items():
        try:
            layer = find_layer(model, path)
        except (AttributeError, IndexError):
            continue  # a head that the user's class replaced
        if isinstance(layer, keras.Layer) and not layer.built and type(layer).__module__.startswith("roberta_tf."):
            values = {}
            for row in rows.values():
                shape = row.shape[::-1] if spell_leaf(row) == "kernel" else row.shape
                values[spell_leaf(row)] = tf.convert_to_tensor(np.zeros(shape, np.float32))
            build_layer(layer, path, values)
