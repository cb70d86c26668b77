"""Gradient checkpointing: a layer whose insides are not kept for the backward pass but computed again."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from roberta_tf.layers import Dropout


def recompute(layer: keras.layers.Layer) -> Callable[..., Any]:
    """`layer` as a function of the same arguments that keeps those alone; dropout falls on the same elements again."""
    drops = [part for part in layer._flatten_layers() if isinstance(part, Dropout) and part.rate > 0]

    def call(*arguments: Any) -> Any:
        given, outputs = [part for part in tf.nest.flatten(arguments) if tf.is_tensor(part)], []
        seeds = [drop.seed_generator.next() for drop in drops]

        @tf.recompute_grad
        def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
            left = iter(tensors)
            parts = [next(left) if tf.is_tensor(part) else part for part in tf.nest.flatten(arguments)]
            for drop, seed in zip(drops, seeds, strict=True):
                drop.given.append(seed)
            outputs[:] = [layer(*tf.nest.pack_sequence_as(arguments, parts))]
            return [part for part in tf.nest.flatten(outputs[0]) if part is not None]

        found = iter(run(*given))
        return tf.nest.map_structure(lambda part: None if part is None else next(found), outputs[0])

    return call
