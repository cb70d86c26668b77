"""The activations of the feed-forward network in Flax, by their published names."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.checkpoint
def gelu(x: Array) -> Array:
    """GELU by erf. Its gradient keeps `x` alone; JAX would keep three arrays of that size."""
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}
