"""Decoding in TensorFlow: the forward pass that `roberta_core.generation` searches with.

Shapes: B prompts, R rows (B, each repeated for its beams or sequences), S tokens, T room for all tokens, V vocabulary.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from roberta_core.generation import add_model_defaults, is_output_requested, run, wrap_callbacks
from roberta_core.outputs import FixedCache


class ModelForward:
    """A causal language model from NumPy to NumPy, with the states of an encoder where it attends to one."""

    def __init__(self, model: Any, states: tf.Tensor | None, states_mask: tf.Tensor | None):
        self.model, self.states, self.states_mask = model, states, states_mask

    def init_cache(self, rows: int, length: int) -> FixedCache:
        """An empty cache with room for `length` tokens."""
        return self.model.init_cache(rows, length)

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """The last token's logits [R, V] and the cache with the new tokens."""
        rows = len(input_ids)
        states, states_mask = (_repeat_rows(value, rows) for value in (self.states, self.states_mask))
        body = self.model.roberta(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            encoder_hidden_states=states,
            encoder_attention_mask=states_mask,
            past_key_values=cache,
            use_cache=cache is not None,
            return_dict=True,
        )
        logits = self.model.lm_head(body.last_hidden_state[:, -1:], words=self.model.get_input_embeddings())
        return tf.cast(logits[:, 0], tf.float32).numpy(), body.past_key_values

    def reorder(self, cache: FixedCache, rows: np.ndarray) -> FixedCache:
        """The rows [R] of a cache."""
        layers, real = tf.nest.map_structure(lambda part: tf.gather(part, rows), (cache.layers, cache.real))
        return FixedCache(layers, cache.filled, real)


def generate(
    model: Any,
    prompt: tf.Tensor | None,
    attention_mask: tf.Tensor | None,
    states: tf.Tensor | None,
    states_mask: tf.Tensor | None,
    arguments: dict[str, Any],
) -> Any:
    """Sequences [R, T], or a `GenerateOutput` if the arguments ask for it; as tensors."""
    arguments = add_model_defaults(model, arguments)
    ids, mask = (None if value is None else np.asarray(value) for value in (prompt, attention_mask))
    given = wrap_callbacks(arguments, tf.convert_to_tensor, with_length=True)
    output = run(model.config, ModelForward(model, states, states_mask), ids, mask, given)
    output = tf.nest.map_structure(tf.convert_to_tensor, output)
    return output if is_output_requested(arguments) else output.sequences


def _repeat_rows(value: tf.Tensor | None, rows: int) -> tf.Tensor | None:
    """[B, ...] as [R, ...], each repeated as often as its prompt."""
    return None if value is None else tf.repeat(value, rows // len(value), axis=0)
