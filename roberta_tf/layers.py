"""Keras's layers, made without values: those come once, from a seed or from a checkpoint (`weights.assign`).

Keras would draw each variable first, only for it to be replaced: 3.5 s at the size of roberta-base. The layers know
their sizes, so they need no input to be built.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from roberta_core.config import RobertaConfig


class Watched:
    """A layer that records the attributes set after it was built: graphs traced before do not know them."""

    changes: tuple[tuple[str, Any], ...] = ()
    _unread = ("built", "trainable", "changes")  # attributes that no call reads

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name.startswith("_") or name in self._unread or not getattr(self, "built", False):
            return
        known = value if isinstance(value, int | float | str | bool | None) else Identity(value)
        object.__setattr__(self, "changes", tuple({**dict(self.changes), name: known}.items()))


class Identity:
    """A value that equals only itself; it is kept, or another one could get its id."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Identity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class Linear(Watched, keras.layers.Dense):
    """A linear layer that waits for its values."""

    def __init__(self, size: int, out: int, use_bias: bool = True, activation: Any = None):
        super().__init__(out, activation=activation, use_bias=use_bias)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """Make the variables."""
        super().build((None, self.size))

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[..., size] to [..., out] as one matrix product. Keras's own call takes twice the operations for it.

        The activation is of the rows: after a reshape TensorFlow would not fuse it into the product.
        """
        rows = tf.matmul(tf.reshape(inputs, (-1, self.size)), tf.cast(self.kernel, inputs.dtype))
        rows = rows if self.bias is None else tf.nn.bias_add(rows, tf.cast(self.bias, rows.dtype))
        rows: Any = self.activation(rows)
        return tf.reshape(rows, (*get_shape(inputs)[:-1], self.units))


class Embedding(Watched, keras.layers.Embedding):
    """A table that waits for its values; the row `padding_idx` gets no gradient from being looked up."""

    def __init__(self, rows: int, size: int, padding_idx: int | None = None):
        super().__init__(rows, size)
        self.padding_idx = padding_idx

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The rows of ids [...] as [..., D]; an id outside the table is an error on a CPU, NaN elsewhere."""
        learning = inputs
        if self.padding_idx is not None:
            learning = tf.where(tf.equal(inputs, self.padding_idx), -tf.ones_like(inputs), inputs)
        rows = look_up(tf.convert_to_tensor(self.embeddings), inputs, learning)
        # Outside the table a GPU reads zeros, XLA the nearest row, and Keras's own call would count from the end.
        inside = (inputs >= 0) & (inputs < self.input_dim)
        missing = tf.where(inside, tf.zeros((), rows.dtype), tf.constant(math.nan, rows.dtype))
        return tf.cast(rows + tf.expand_dims(missing, -1), self.compute_dtype)

    def attend(self, hidden: tf.Tensor) -> tf.Tensor:
        """The products of [B, S, D] with each row of the table, as [B, S, V]."""
        rows = tf.reshape(hidden, (-1, self.output_dim))
        scores = tf.matmul(rows, tf.cast(self.embeddings, hidden.dtype), transpose_b=True)
        return tf.reshape(scores, (*get_shape(hidden)[:2], self.input_dim))


@tf.custom_gradient
def look_up(table: tf.Tensor, ids: tf.Tensor, learning: tf.Tensor) -> Any:
    """The rows of ids [...] as [..., D], with a gradient that is one tensor, of the rows `learning` [...] but for -1.

    TensorFlow's own is a list of rows, one for each id, and Keras's Adam squares those of a repeated id one by one.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None, None]:
        rows = tf.math.unsorted_segment_sum(flatten_rows(upstream), tf.reshape(learning, [-1]), table.shape[0])
        return rows, None, None

    return tf.gather(table, ids), gradient


class Dropout(Watched, keras.layers.Dropout):
    """Dropout that may be given the seed of its next call, to fall on the same elements again."""

    def __init__(self, rate: float):
        super().__init__(rate)
        object.__setattr__(self, "given", [])  # no part of the layer's state, which Keras would track

    def call(self, inputs: tf.Tensor, training: bool = False) -> Any:
        """[...] to [...]."""
        if not self.given:
            return super().call(inputs, training=training)
        return tf.nn.experimental.stateless_dropout(inputs, rate=self.rate, seed=tf.cast(self.given.pop(), tf.int32))


class LayerNorm(Watched, keras.layers.LayerNormalization):
    """A LayerNorm that waits for its values. Keras's own call loses digits: it scales before it centres."""

    def __init__(self, size: int, eps: float):
        super().__init__(epsilon=eps)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """Make the variables."""
        super().build((None, self.size))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., size], the variance in two passes; numbers in 16 bits are first upcast to float32."""
        x = upcast(inputs)
        scaled = normalise(x, self.epsilon) * tf.cast(self.gamma, x.dtype)
        return tf.cast(scaled + tf.cast(self.beta, x.dtype), inputs.dtype)


def draw_as_published(config: RobertaConfig, *layers: Any) -> None:
    """Let layers that are used outside of a model start from a truncated normal, as the published ones do."""
    for layer in layers:
        name = "embeddings_initializer" if isinstance(layer, Embedding) else "kernel_initializer"
        setattr(layer, name, keras.initializers.TruncatedNormal(stddev=config.initializer_range))


def normalise(x: tf.Tensor, eps: float) -> tf.Tensor:
    """[..., D] with mean 0 and variance 1 along the last axis; its gradient needs nothing but the result."""

    @tf.custom_gradient
    def run(x: tf.Tensor) -> Any:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + eps)
        out = centred * scale

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            along = tf.reduce_mean(upstream * out, axis=-1, keepdims=True)
            return scale * (upstream - tf.reduce_mean(upstream, axis=-1, keepdims=True) - out * along)

        return out, gradient

    return run(x)


def upcast(x: tf.Tensor) -> tf.Tensor:
    """Numbers below float32 as float32: for a softmax, a LayerNorm, and losses."""
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def flatten_rows(x: tf.Tensor) -> tf.Tensor:
    """[..., D] as rows, [R, D]. TensorFlow drops a reshape before it, and what the shape of that one took."""
    return tf.reshape(x, (-1, x.shape[-1]))


def get_shape(x: tf.Tensor) -> tuple[Any, ...]:
    """The shape of a tensor: numbers where they are known, else tensors."""
    shape: Any = keras.ops.shape(x)
    return shape
