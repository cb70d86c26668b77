"""The signature with which a TensorFlow model is saved for TensorFlow Serving and TFLite."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

SERVED = ("input_ids", "attention_mask", "token_type_ids")


def make_serving_specs(model: Any) -> dict[str, tf.TensorSpec]:
    """Return the inputs that are served, int32 of any batch size and length, as far as the class has them."""
    rank = 3 if model.architecture == "ForMultipleChoice" else 2
    accepted = model._call_signature.parameters
    return {name: tf.TensorSpec([None] * rank, tf.int32, name=name) for name in SERVED if name in accepted}


def make_serving_function(model: Any) -> Any:
    """Return the function that `tf.saved_model.save` stores as `serving_default`; None if a class has other inputs."""
    specs = make_serving_specs(model)
    if not specs:
        return None

    @tf.function(input_signature=[specs], autograph=False)
    def serving_default(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return name_outputs(model(**inputs))

    return serving_default


class SavedLayer(tf.__internal__.tracking.AutoTrackable):  # pyright: ignore[reportAttributeAccessIssue]
    """A layer as it is saved: with TensorFlow's variables in place of Keras's wrappers.

    Of each wrapper a SavedModel stores a copy. Only Python's loader links it with the variable that the graph reads;
    TensorFlow Serving and TFLite would run the model without values.
    """

    def __init__(self, layer: keras.Layer, made: dict[int, Any]):
        self.__dict__ |= {"layer": layer, "made": made}  # not tracked

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children = self.layer._trackable_children(save_type, **kwargs)
        return {name: unwrap_variables(child, self.made) for name, child in children.items()}


def unwrap_variables(child: Any, made: dict[int, Any]) -> Any:
    """Return what a SavedModel stores of a child of a layer; `made` has the layers converted so far, by id."""
    if isinstance(child, keras.Variable):
        return child.value
    if isinstance(child, keras.Layer):
        return made.setdefault(id(child), SavedLayer(child, made))
    if isinstance(child, Mapping):
        return {name: unwrap_variables(part, made) for name, part in child.items()}
    return [unwrap_variables(part, made) for part in child] if isinstance(child, tuple | list) else child


def name_outputs(output: Any) -> dict[str, tf.Tensor]:
    """Return the tensors of an output by name; the tensors of all layers as one, without the cache."""
    if not isinstance(output, Mapping):
        parts = output if isinstance(output, tuple | list) else (output,)
        output = {f"output_{number}": part for number, part in enumerate(parts)}
    return {
        name: tf.stack(value) if isinstance(value, tuple | list) else value
        for name, value in output.items()
        if name != "past_key_values"
    }
