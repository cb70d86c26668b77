"""Computing the encoder without padding: its rows are the tokens that a step needs, and attention alone sees sequences.

Shapes: B batch, S sequence, R rows, D hidden.
"""

from typing import Any

import tensorflow as tf


class Unpadding:
    """The tokens that an encoder and its attention compute; all, unless `rows` names some.

    Attributes:
        rows: The places [R] of the tokens among all B*S, in order, or None.
        shape: B and S.
    """

    def __init__(self) -> None:
        self.rows: tf.Tensor | None = None
        self.shape: tuple[Any, Any] = (0, 0)

    def unpad(self, x: tf.Tensor) -> tf.Tensor:
        """[B, S, D] to [R, D], or `x` itself if all tokens are computed."""
        return x if self.rows is None else _gather(tf.reshape(x, (-1, x.shape[-1])), self.rows)

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """[R, D] to [B, S, D] with zeros at the other tokens, or `x` itself if all tokens are computed."""
        if self.rows is None:
            return x
        return tf.reshape(_scatter(x, self.rows, self.shape[0] * self.shape[1]), (*self.shape, x.shape[-1]))


ALL = Unpadding()  # of every model, until a Trainer gives it another one


@tf.custom_gradient
def _gather(x: tf.Tensor, rows: tf.Tensor) -> Any:
    """Some rows of a matrix, each at most once."""
    return tf.gather(x, rows), lambda gradient: (_write(gradient, rows, tf.shape(x)[0]), None)


@tf.custom_gradient
def _scatter(x: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> Any:
    """A matrix of `count` rows, of which some are given and the others 0."""
    return _write(x, rows, count), lambda gradient: (tf.gather(gradient, rows), None, None)


def _write(x: tf.Tensor, rows: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return tf.scatter_nd(rows[:, None], x, (count, x.shape[1]))
