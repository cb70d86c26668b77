"""The published building blocks as Linen modules, for classes that name a Linen module as `module_class`.

Their parameters have the published names, and `FlaxRobertaModule` computes what `FlaxRobertaModel` computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from roberta_core.config import RobertaConfig
from roberta_core.parameters import Parameter, draw_one, has_weight_decay, is_transposed, parameters, spell
from roberta_flax.calls import enable_dropout, rebuild_model
from roberta_flax.models import FlaxRobertaModel
from roberta_flax.own_layers import nest


class FlaxRobertaModule(nn.Module):
    """The body as a Linen module: `FlaxRobertaModel` on the parameters `embeddings`, `encoder` and `pooler`."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    add_pooling_layer: bool = True
    gradient_checkpointing: bool = False

    @nn.compact
    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Hidden states and pooled output, as `FlaxRobertaModel` returns them."""
        settings: dict[str, Any] = {"dtype": self.dtype, "add_pooling_layer": self.add_pooling_layer}
        settings |= {"gradient_checkpointing": self.gradient_checkpointing, "_do_init": False}
        structure = jax.tree.structure(FlaxRobertaModel(self.config, **settings))
        parts = nest(
            (spell(row, "flax"), row) for row in parameters(self.config, "Model", self.add_pooling_layer).values()
        )
        params = {part: self.param(part, _draw, rows, self.config) for part, rows in parts.items()}
        model = rebuild_model(structure, params)
        if not deterministic:
            enable_dropout(model, self.make_rng("dropout"))
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask)
        return model._forward(
            *inputs,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )


def _draw(key: Array, rows: dict[str, Any], config: RobertaConfig) -> Any:
    """Draw the parameters of one part of the body from a key."""
    leaves, structure = jax.tree.flatten(rows)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [_draw_leaf(*pair, config) for pair in zip(keys, leaves, strict=True)])


def _draw_leaf(key: Array, row: Parameter, config: RobertaConfig) -> Array:
    shape = row.shape[::-1] if is_transposed(row, "flax") else row.shape
    if not has_weight_decay(row):
        return jnp.asarray(draw_one(row, config, 0))
    return jax.random.normal(key, shape) * config.initializer_range


class FlaxRobertaPooler(nn.Module):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layer."""
        self.dense = _make_dense(self.config, self.config.hidden_size, self.dtype)

    def __call__(self, hidden_states: Array) -> Array:
        """[B, S, D] to [B, D]."""
        return jnp.tanh(self.dense(hidden_states[:, 0]))


class FlaxRobertaClassificationHead(nn.Module):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = _make_dense(config, config.hidden_size, self.dtype)
        self.dropout = nn.Dropout(rate=rate)
        self.out_proj = _make_dense(config, config.num_labels, self.dtype)

    def __call__(self, hidden_states: Array, deterministic: bool = True) -> Array:
        """[B, S, D] to [B, K]."""
        first = self.dropout(hidden_states[:, 0], deterministic=deterministic)
        return self.out_proj(self.dropout(jnp.tanh(self.dense(first)), deterministic=deterministic))


class FlaxRobertaLMHead(nn.Module):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        self.dense = _make_dense(config, config.hidden_size, self.dtype)
        self.layer_norm = nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=self.dtype, use_fast_variance=False)
        self.decoder = _make_dense(config, config.vocab_size, self.dtype, use_bias=False)
        self.bias = self.param("bias", nn.initializers.zeros, (config.vocab_size,))

    def __call__(self, hidden_states: Array, shared_embedding: Array | None = None) -> Array:
        """[B, S, D] to [B, S, V], by the word table `shared_embedding` [V, D] if it is given."""
        hidden_states = self.layer_norm(jax.nn.gelu(self.dense(hidden_states), approximate=False))
        scores: Any
        if shared_embedding is None:
            scores = self.decoder(hidden_states)
        else:
            scores = self.decoder.apply({"params": {"kernel": shared_embedding.T}}, hidden_states)
        return scores + jnp.asarray(self.bias, self.dtype)


def _make_dense(config: RobertaConfig, size: int, dtype: Any, use_bias: bool = True) -> nn.Dense:
    initializer = nn.initializers.normal(config.initializer_range)
    return nn.Dense(size, use_bias=use_bias, dtype=dtype, kernel_init=initializer)
