"""Methods of the published Flax base class that RoBERTa itself does not need.

Shapes: B batch, S sequence, T room for all tokens.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from roberta_core.refusals import Refused

FILES = "from_pretrained reads every format; roberta_core.checkpoints.load returns the tensors of a folder"


class PublishedMethods:
    """Mixin of the base class: methods of the published one that RoBERTa itself does not need."""

    framework = "flax"

    load_flax_weights = Refused(FILES)
    load_flax_sharded_weights = Refused(FILES)

    @property
    def key(self) -> Array:
        """The key that the initial values are drawn from."""
        model: Any = self
        return jax.random.PRNGKey(model.seed or 0)

    @property
    def params_shape_tree(self) -> dict[str, Any]:
        """The shapes and dtypes of `params`, as the same nested dict; also of a model without values."""
        model: Any = self
        return model._get_shapes()

    @property
    def required_params(self) -> set[tuple[str, ...]]:
        """The paths of the parameters in `params`."""
        leaves = jax.tree_util.tree_flatten_with_path(self.params_shape_tree)[0]
        return {tuple(str(part.key) for part in path) for path, _ in leaves}

    def _to_tensor_like(self, array: np.ndarray, tensor: Any) -> Array:
        return jnp.asarray(array)


class GenerationMethods:
    """Mixin of the class with `generate`: methods of the published one that RoBERTa itself does not need."""

    def prepare_inputs_for_generation(
        self, input_ids: ArrayLike, max_length: int, attention_mask: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Return the further arguments of the first call of a search with a cache of fixed size.

        `generate` does not call it; scripts with a search of their own do.

        Args:
            input_ids: [B, S], the prompts.
            max_length: T, the tokens of the prompt and the new ones.
            attention_mask: [B, S]; None attends to every token.

        Returns:
            `past_key_values`, `attention_mask` [B, T] and `position_ids` [B, S].
        """
        model: Any = self
        rows, length = np.shape(input_ids)
        mask = jnp.ones((rows, max_length), jnp.int32)
        if attention_mask is not None:
            mask = mask.at[:, :length].set(jnp.asarray(attention_mask, jnp.int32))
        real = mask[:, :length]
        positions = jnp.cumsum(real, axis=1) * real + model.config.pad_token_id
        cache = model.init_cache(rows, max_length)
        return {"past_key_values": cache, "attention_mask": mask, "position_ids": positions}

    def update_inputs_for_generation(self, model_outputs: Any, model_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the further arguments of the next call of a search.

        Args:
            model_outputs: The output of the last call.
            model_kwargs: Its further arguments.
        """
        positions = model_kwargs["position_ids"][:, -1:] + 1
        return {**model_kwargs, "past_key_values": model_outputs.past_key_values, "position_ids": positions}
