"""Computing the encoder without padding: its rows are the tokens that a step needs, and attention alone sees sequences.

Shapes: B batch, S sequence, R rows, D hidden.
"""

import jax.numpy as jnp
from jax import Array


class Unpadding:
    """The tokens that an encoder and its attention compute; all, unless `rows` names some.

    Attributes:
        rows: The places [R] of the tokens among all B*S, in order, or None.
        shape: B and S.
    """

    def __init__(self, rows: Array | None = None, shape: tuple[int, int] = (0, 0)):
        self.rows, self.shape = rows, shape

    def unpad(self, x: Array) -> Array:
        """[B, S, D] to [R, D], or `x` itself if all tokens are computed."""
        if self.rows is None:
            return x
        flat = x.reshape(-1, x.shape[-1])
        return flat.at[self.rows].get(mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)

    def pad(self, x: Array) -> Array:
        """[R, D] to [B, S, D] with zeros at the other tokens, or `x` itself if all tokens are computed."""
        if self.rows is None:
            return x
        empty = jnp.zeros((self.shape[0] * self.shape[1], x.shape[-1]), x.dtype)
        whole = empty.at[self.rows].set(x, mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)
        return whole.reshape(*self.shape, -1)


ALL = Unpadding()  # of every model, until a Trainer gives it another one
