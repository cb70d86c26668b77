"""Decoding in PyTorch: the forward pass that `roberta_core.generation` searches with.

Shapes: B prompts, R rows (B, each repeated for its beams or sequences), S tokens, T room for all tokens, V vocabulary.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from roberta_core.generation import add_model_defaults, is_output_requested, run, wrap_callbacks
from roberta_core.outputs import FixedCache
from roberta_pt.weights import to_numpy


class ModelForward:
    """A causal language model from NumPy to NumPy, with the states of an encoder where it attends to one."""

    def __init__(self, model: Any, states: Tensor | None, states_mask: Tensor | None):
        self.model, self.states, self.states_mask = model, states, states_mask

    def init_cache(self, rows: int, length: int) -> FixedCache:
        """An empty cache with room for `length` tokens."""
        return self.model.init_cache(rows, length)

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """The last token's logits [R, V] and the cache with the new tokens."""
        rows, device = len(input_ids), self.model.device
        states, states_mask = (_repeat_rows(value, rows) for value in (self.states, self.states_mask))
        body = self.model.roberta(
            torch.from_numpy(input_ids).to(device),
            attention_mask=torch.from_numpy(attention_mask).to(device),
            position_ids=torch.from_numpy(position_ids).to(device),
            encoder_hidden_states=states,
            encoder_attention_mask=states_mask,
            past_key_values=cache,
            use_cache=cache is not None,
            return_dict=True,
        )
        logits = self.model.lm_head(body.last_hidden_state[:, -1])
        return to_numpy(logits.float()), body.past_key_values

    def reorder(self, cache: FixedCache, rows: np.ndarray) -> FixedCache:
        """The rows [R] of a cache."""
        index = torch.from_numpy(rows).to(self.model.device)
        layers = tuple(tuple(part.index_select(0, index) for part in layer) for layer in cache.layers)
        return FixedCache(layers, cache.filled, cache.real.index_select(0, index))


@torch.no_grad()
def generate(
    model: Any,
    prompt: Tensor | None,
    attention_mask: Tensor | None,
    states: Tensor | None,
    states_mask: Tensor | None,
    arguments: dict[str, Any],
) -> Any:
    """Sequences [R, T], or a `GenerateOutput` if the arguments ask for it; as tensors on the model's device."""
    arguments = add_model_defaults(model, arguments)
    ids, mask = (None if value is None else to_numpy(value) for value in (prompt, attention_mask))
    was_training = model.training
    given = wrap_callbacks(arguments, lambda array: torch.tensor(array, device=model.device), to_numpy)
    output = run(model.eval().config, ModelForward(model, states, states_mask), ids, mask, given)
    model.train(was_training)
    output = tree_map(lambda array: torch.from_numpy(array).to(model.device), output)
    return output if is_output_requested(arguments) else output.sequences


def _repeat_rows(value: Tensor | None, rows: int) -> Tensor | None:
    """[B, ...] as [R, ...], each repeated as often as its prompt."""
    return None if value is None else value.repeat_interleave(rows // len(value), dim=0)
