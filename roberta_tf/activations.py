"""The activations of the feed-forward network in TensorFlow, by their published names."""

import math
from typing import Any

import tensorflow as tf


@tf.custom_gradient
def gelu(x: tf.Tensor) -> Any:
    """GELU by erf. TensorFlow's own has its constants in float32, which leaves float64 an error of 3e-7.

    In this order of operations TensorFlow fuses it into the product before it, in float32 on a CPU. Its gradient needs
    `x` alone; TensorFlow would keep five tensors of that size.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        density = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return upstream * (0.5 * (1 + tf.math.erf(x * math.sqrt(0.5))) + x * density)

    return (x * 0.5) * (1 + tf.math.erf(x * math.sqrt(0.5))), gradient


def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """GELU by tanh."""
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "tanh": tf.tanh,
}
