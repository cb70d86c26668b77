"""Decoding in Flax: the forward pass that `roberta_core.generation` searches with.

Shapes: B prompts, R rows (B, each repeated for its beams or sequences), S tokens, T room for all tokens, V vocabulary.
Two functions are compiled, for the prompts and for each token after them; S and T are rounded up as in `buckets`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from roberta_core.generation import add_model_defaults, is_output_requested, run, wrap_callbacks
from roberta_core.outputs import FixedCache
from roberta_flax.buckets import LENGTHS, round_up
from roberta_flax.calls import describe_settings


class Sequences(np.ndarray):
    """Generated ids [R, T] as an array, which also has the field of the published output.

    Attributes:
        sequences: The same ids as an array of JAX, whose other attributes the object has too.
    """

    @property
    def sequences(self) -> Array:
        """The ids as an array of JAX."""
        return jnp.asarray(np.asarray(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        return getattr(self.sequences, name)

    def __getitem__(self, key: Any) -> Any:
        return self.sequences if isinstance(key, str) and key == "sequences" else np.asarray(self)[key]


class ModelForward:
    """A causal language model from NumPy to NumPy, with the states of an encoder where it attends to one."""

    def __init__(self, model: Any, states: Array | None, states_mask: Array | None):
        self.model, self.states, self.states_mask = model, states, states_mask
        self.leaves, structure = jax.tree.flatten(model)
        self.fixed = structure, describe_settings(model.config)
        self.front = 0  # pads before the prompts, from rounding up

    def init_cache(self, rows: int, length: int) -> int:
        """An empty cache with room for `length` tokens: just that number, for the prompts say how to round it."""
        return length

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """The last token's logits [R, V] and the cache with the new tokens."""
        rows, length = input_ids.shape
        inputs: dict[str, Any] = {
            "input_ids": input_ids,
            "position_ids": position_ids,
            "attention_mask": attention_mask,
        }
        for name, value in (("encoder_hidden_states", self.states), ("encoder_attention_mask", self.states_mask)):
            if value is not None:
                inputs[name] = _repeat_rows(value, rows)
        checked = {name: value for name, value in inputs.items() if name != "attention_mask"}
        if cache is None:
            hidden = self.model.roberta(**inputs, use_cache=False, return_dict=True).last_hidden_state
            return np.asarray(compute_last_logits(*self.fixed, self.leaves, hidden[:, -1:])), None
        if isinstance(cache, int):
            self.front = round_up(length, LENGTHS, 128) - length
            cache = self.model.init_cache(rows, round_up(cache + self.front, LENGTHS, 128))
            pads = ((0, 0), (self.front, 0))
            for name in ("input_ids", "position_ids"):
                inputs[name] = np.pad(inputs[name], pads, constant_values=self.model.config.pad_token_id)
        room = cache.layers[0][0].shape[2] - self.front - attention_mask.shape[1]
        inputs["attention_mask"] = np.pad(attention_mask != 0, ((0, 0), (self.front, room)))
        self.model._check_inputs(checked)
        logits, cache = run_step(*self.fixed, self.leaves, inputs, cache.layers, np.int32(cache.filled))
        return np.asarray(logits), cache

    def reorder(self, cache: FixedCache, rows: np.ndarray) -> FixedCache:
        """The rows [R] of a cache."""
        layers, real = take_rows((cache.layers, cache.real), rows)
        return FixedCache(layers, cache.filled, real)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=4)
def run_step(structure: Any, settings: str, leaves: list[Any], inputs: dict, layers: Any, filled: Any) -> Any:
    """The last token's logits [R, V] and the cache that has the new tokens too."""
    model = jax.tree.unflatten(structure, leaves)
    cache = FixedCache(layers, filled)
    body = model.roberta._forward(**inputs, past_key_values=cache, use_cache=True, return_dict=True)
    return _score_last(model, body.last_hidden_state[:, -1:]), body.past_key_values


@partial(jax.jit, static_argnums=(0, 1))
def compute_last_logits(structure: Any, settings: str, leaves: list[Any], hidden: Array) -> Array:
    """The logits [R, V] of hidden states [R, 1, D]."""
    return _score_last(jax.tree.unflatten(structure, leaves), hidden)


@jax.jit
def take_rows(tensors: Any, rows: Array) -> Any:
    """Return the rows [R] of the tensors of a cache."""
    return jax.tree.map(lambda part: part[rows], tensors)


def generate(
    model: Any,
    prompt: Any,
    attention_mask: Any,
    states: Any,
    states_mask: Any,
    arguments: dict[str, Any],
) -> Any:
    """`Sequences` [R, T], or a `GenerateOutput` of arrays of JAX if the arguments ask for it."""
    arguments = add_model_defaults(model, arguments)
    ids, mask = (None if value is None else np.asarray(value) for value in (prompt, attention_mask))
    given = wrap_callbacks(arguments, jnp.asarray, with_length=True)
    output = run(model.config, ModelForward(model, states, states_mask), ids, mask, given)
    output = jax.tree.map(jnp.asarray, output)
    if is_output_requested(arguments):
        return output
    found = np.asarray(output.sequences).view(Sequences)
    found.flags.writeable = False  # as an array of JAX
    return found


def _score_last(model: Any, hidden: Array) -> Array:
    return model.lm_head(hidden, model.get_input_embeddings())[:, 0].astype(jnp.float32)


def _repeat_rows(value: Any, rows: int) -> Array:
    """[B, ...] as [R, ...], each repeated as often as its prompt."""
    return jnp.repeat(jnp.asarray(value), rows // len(value), axis=0)
