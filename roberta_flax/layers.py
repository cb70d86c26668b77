"""Flax's layers, made without values: those come once, from a seed or from a checkpoint (`weights.assign`).

Flax would draw each parameter first, only for it to be replaced: 2.4 s at the size of roberta-base. `dtype` is the type
that a layer computes in; its parameters are float32, or 16-bit ones if they were loaded so.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike


class NoKeys:
    """What Flax's constructors ask for random keys, where nothing is drawn: keys made in vain take 0.2 s."""

    def params(self) -> None:
        """No key."""


def skip_init(key: None, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """An initialiser that draws nothing."""
    return jax.ShapeDtypeStruct(shape, dtype)


def upcast(x: jax.Array) -> jax.Array:
    """Numbers below float32 as float32: for a softmax, and for losses."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


HALF = 1 << 16
UNDRAWN: dict[str, Any] = {"bias_init": skip_init, "rngs": NoKeys()}


class Linear(nnx.Linear):
    """A linear layer that waits for its values."""

    def __init__(self, size: int, out: int, dtype: DTypeLike, use_bias: bool = True):
        super().__init__(size, out, use_bias=use_bias, dtype=dtype, kernel_init=skip_init, **UNDRAWN)


class Embedding(nnx.Embed):
    """A table that waits for its values; the row `padding_idx` gets no gradient from being looked up."""

    def __init__(self, rows: int, size: int, dtype: DTypeLike, padding_idx: int | None = None):
        super().__init__(rows, size, dtype=dtype, embedding_init=skip_init, rngs=UNDRAWN["rngs"])
        self.padding_idx = padding_idx

    def __call__(self, ids: jax.Array, out_sharding: Any = None) -> jax.Array:
        """The rows of ids [...] as [..., D]; NaN for an id outside the table."""
        (table,) = self.promote_dtype((self.embedding[...],), dtype=self.dtype, inexact=False)
        inside = jnp.where(ids < 0, self.num_embeddings, ids)  # a negative id would count from the end
        rows = jnp.take(table, inside, axis=0, mode="fill", fill_value=jnp.nan)
        if self.padding_idx is None:
            return rows
        return jnp.where((ids == self.padding_idx)[..., None], jax.lax.stop_gradient(rows), rows)


class Dropout(nnx.Dropout):
    """Dropout that draws half a word of the key's numbers for each element: JAX's own takes a word, and twice as long.

    Its rate is the nearest multiple of 2^-16, and what is left is divided by exactly what that leaves.
    """

    def __call__(self, inputs: jax.Array, *, deterministic: bool | None = None, rngs: Any = None) -> jax.Array:
        """[...] to [...]."""
        dropped = round(self.rate * HALF)
        own: Any = self.rngs if rngs is None else None
        if own is None or self.deterministic or deterministic or not 0 < dropped < HALF:
            return super().__call__(inputs, deterministic=deterministic, rngs=rngs)
        *rows, last = inputs.shape
        words = jax.random.bits(own(), (*rows, -(-last // 2)), jnp.uint32)
        halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*rows, -1)[..., :last]
        return jnp.where(halves >= dropped, inputs / (1 - dropped / HALF), jnp.zeros_like(inputs))


class LayerNorm(nnx.LayerNorm):
    """A LayerNorm that waits for its values; the variance in two passes: Flax's fast one is off by 1.7e-4."""

    def __init__(self, size: int, eps: float, dtype: DTypeLike):
        super().__init__(size, epsilon=eps, dtype=dtype, use_fast_variance=False, scale_init=skip_init, **UNDRAWN)
