"""The published blocks of the encoder as Linen modules: their fields, calls and names of parameters.

Shapes: B batch, S sequence, T keys (S, or the room of the cache), D hidden, F feed-forward, N heads, H head.
A decoder's cache is the variable collection "cache": `init_cache=True` makes it, `mutable=["cache"]` returns it.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from roberta_core.config import RobertaConfig
from roberta_core.outputs import BaseModelOutputWithPastAndCrossAttentions
from roberta_flax.activations import ACTIVATIONS
from roberta_flax.layers import upcast
from roberta_flax.masks import to_additive_mask


class Table(nn.Embed):
    """An embedding that is NaN for an id outside the table; the row `padding_idx` gets no gradient."""

    padding_idx: int | None = None

    def __call__(self, inputs: Array) -> Array:
        """The rows of ids [...] as [..., D]."""
        table: Any
        (table,) = self.promote_dtype(self.embedding, dtype=self.dtype, inexact=False)
        inside = jnp.where(inputs < 0, self.num_embeddings, inputs)  # a negative id would count from the end
        rows = jnp.take(table, inside, axis=0, mode="fill", fill_value=jnp.nan)
        if self.padding_idx is None:
            return rows
        return jnp.where((inputs == self.padding_idx)[..., None], jax.lax.stop_gradient(rows), rows)


class FlaxRobertaEmbeddings(nn.Module):
    """The sum of word, token type and position embeddings, normalised: [B, S] ids to [B, S, D]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        initializer = nn.initializers.normal(config.initializer_range)
        table = partial(Table, features=config.hidden_size, dtype=self.dtype, embedding_init=initializer)
        self.word_embeddings = table(config.vocab_size, padding_idx=config.pad_token_id)
        self.position_embeddings = table(config.max_position_embeddings, padding_idx=config.pad_token_id)
        self.token_type_embeddings = table(config.type_vocab_size)
        self.LayerNorm = make_layer_norm(config, self.dtype)
        self.dropout = nn.Dropout(rate=config.hidden_dropout_prob)

    def __call__(
        self,
        input_ids: Array,
        token_type_ids: Array,
        position_ids: Array,
        attention_mask: Array | None,
        deterministic: bool = True,
    ) -> Array:
        """The embeddings of ids; `attention_mask` is part of the published signature, and ignored."""
        words, types = self.word_embeddings(input_ids), self.token_type_embeddings(token_type_ids)
        embedded = words + types + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded), deterministic=deterministic)


class FlaxRobertaSelfAttention(nn.Module):
    """Attention to the tokens [B, S, D], or to `key_value_states` [B, T, D]; only to earlier ones if `causal`."""

    config: RobertaConfig
    causal: bool = False
    dtype: Any = jnp.float32
    heads: int | None = None  # where some were pruned

    def setup(self) -> None:
        """Make the layers."""
        size = (self.heads or self.config.num_attention_heads) * self.config.head_size
        self.query = make_dense(self.config, size, self.dtype)
        self.key = make_dense(self.config, size, self.dtype)
        self.value = make_dense(self.config, size, self.dtype)
        self.dropout = nn.Dropout(rate=self.config.attention_probs_dropout_prob)

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None,
        layer_head_mask: Array | None,
        key_value_states: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
    ) -> tuple[Array, ...]:
        """Return the context [B, S, D] and, if requested, the weights [B, N, S, T].

        `attention_mask` [B, T], [B, S, T] or [B, 1, S, T] holds 1 where a key is attended, else 0, and
        `layer_head_mask` [N] the factors of the heads.
        """
        source = hidden_states if key_value_states is None else key_value_states
        query, past_length = self._split(self.query(hidden_states)), 0
        key, value = self._split(self.key(source)), self._split(self.value(source))
        if self.causal and (init_cache or self.has_variable("cache", "cached_key")):
            key, value, past_length = self._append_to_cache(key, value)
        mask = None if attention_mask is None else to_additive_mask(attention_mask, query)
        if self.causal:
            mask = _add_causal_mask(mask, query, past_length, key.shape[1])
        scores = jnp.einsum("bqnh,bknh->bnqk", query, key) / math.sqrt(self.config.head_size)
        scores = scores if mask is None else jnp.where(mask == 0, scores, mask)
        weights = jax.nn.softmax(upcast(scores), axis=-1).astype(scores.dtype)
        weights = self.dropout(weights, deterministic=deterministic)
        if layer_head_mask is not None:
            weights = weights * layer_head_mask[None, :, None, None].astype(weights.dtype)
        context = jnp.einsum("bnqk,bknh->bqnh", weights, value)
        context = context.reshape(*context.shape[:2], -1)
        return (context, weights) if output_attentions else (context,)

    def _split(self, states: Array) -> Array:
        """[B, S, D] to [B, S, N, H]."""
        return states.reshape(*states.shape[:2], -1, self.config.head_size)

    @nn.compact
    def _append_to_cache(self, key: Array, value: Array) -> tuple[Array, Array, Any]:
        """Return all keys and values [B, T, N, H], and how many were there before; the first call makes the cache."""
        is_new = not self.has_variable("cache", "cached_key")
        cached_key = self.variable("cache", "cached_key", jnp.zeros_like, key)
        cached_value = self.variable("cache", "cached_value", jnp.zeros_like, value)
        index = self.variable("cache", "cache_index", jnp.zeros, (), jnp.int32)
        if is_new:
            return key, value, 0
        filled, length = index.value, key.shape[1]
        room = filled + length <= cached_key.value.shape[1]  # without it JAX would move the slots; NaN marks it
        for cached, new in ((cached_key, key), (cached_value, value)):
            new = jnp.where(room, new, jnp.nan).astype(cached.value.dtype)
            cached.value = jax.lax.dynamic_update_slice_in_dim(cached.value, new, filled, axis=1)
        index.value = filled + length
        return cached_key.value, cached_value.value, filled


class FlaxRobertaSelfOutput(nn.Module):
    """The linear layer after attention, dropout, the residual and LayerNorm."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        self.dense = make_dense(self.config, self.config.hidden_size, self.dtype)
        self.LayerNorm = make_layer_norm(self.config, self.dtype)
        self.dropout = nn.Dropout(rate=self.config.hidden_dropout_prob)

    def __call__(self, hidden_states: Array, input_tensor: Array, deterministic: bool = True) -> Array:
        """[B, S, D] and the residual [B, S, D] to [B, S, D]."""
        hidden_states = self.dropout(self.dense(hidden_states), deterministic=deterministic)
        return self.LayerNorm(hidden_states + input_tensor)


class FlaxRobertaAttention(nn.Module):
    """Attention with its output layer and residual."""

    config: RobertaConfig
    causal: bool = False
    dtype: Any = jnp.float32
    heads: int | None = None

    def setup(self) -> None:
        """Make the layers."""
        self.self = FlaxRobertaSelfAttention(self.config, causal=self.causal, dtype=self.dtype, heads=self.heads)
        self.output = FlaxRobertaSelfOutput(self.config, dtype=self.dtype)

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None,
        layer_head_mask: Array | None,
        key_value_states: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
    ) -> tuple[Array, ...]:
        """Return the new hidden states [B, S, D] and, if requested, the weights [B, N, S, T]."""
        states = (key_value_states, init_cache, deterministic, output_attentions)
        context, *weights = self.self(hidden_states, attention_mask, layer_head_mask, *states)
        return self.output(context, hidden_states, deterministic=deterministic), *weights


class FlaxRobertaIntermediate(nn.Module):
    """The wide half of the feed-forward network."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layer."""
        self.dense = make_dense(self.config, self.config.intermediate_size, self.dtype)

    def __call__(self, hidden_states: Array) -> Array:
        """[B, S, D] to [B, S, F]."""
        return ACTIVATIONS[self.config.hidden_act](self.dense(hidden_states))


class FlaxRobertaOutput(FlaxRobertaSelfOutput):
    """The linear layer that ends a layer, dropout, the residual and LayerNorm."""

    def __call__(self, hidden_states: Array, attention_output: Array, deterministic: bool = True) -> Array:
        """[B, S, F] and the residual [B, S, D] to [B, S, D]."""
        return super().__call__(hidden_states, attention_output, deterministic)


class FlaxRobertaLayer(nn.Module):
    """One layer: attention, cross-attention if the configuration has it, and the feed-forward network."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    heads: int | None = None

    def setup(self) -> None:
        """Make the layers."""
        config, dtype = self.config, self.dtype
        self.attention = FlaxRobertaAttention(config, causal=config.is_decoder, dtype=dtype, heads=self.heads)
        self.intermediate = FlaxRobertaIntermediate(config, dtype=dtype)
        self.output = FlaxRobertaOutput(config, dtype=dtype)
        if config.add_cross_attention:
            self.crossattention = FlaxRobertaAttention(config, causal=False, dtype=dtype)

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None,
        layer_head_mask: Array | None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
    ) -> tuple[Array, ...]:
        """Return the new hidden states [B, S, D] and, if requested, the weights of each attention [B, N, S, T]."""
        options = (deterministic, output_attentions)
        hidden, *weights = self.attention(hidden_states, attention_mask, layer_head_mask, None, init_cache, *options)
        if encoder_hidden_states is not None:
            if not self.config.add_cross_attention:
                raise ValueError("encoder_hidden_states requires config.add_cross_attention=True")
            states = (encoder_attention_mask, layer_head_mask, encoder_hidden_states)
            hidden, *others = self.crossattention(hidden, *states, False, *options)
            weights += others
        return self.output(self.intermediate(hidden), hidden, deterministic=deterministic), *weights


class FlaxRobertaLayerCollection(nn.Module):
    """The layers by their numbers."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Make the layers."""
        config, kind = self.config, FlaxRobertaLayer
        if self.gradient_checkpointing:
            kind = nn.remat(FlaxRobertaLayer, static_argnums=(5, 6, 7))  # the flags
        heads = [
            config.num_attention_heads - len(config.pruned_heads.get(index, ()))
            for index in range(config.num_hidden_layers)
        ]
        self.layers = [
            kind(config, name=str(index), dtype=self.dtype, heads=count) for index, count in enumerate(heads)
        ]

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None,
        head_mask: Array | None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Return `last_hidden_state` and what is requested of `hidden_states`, `attentions` and `cross_attentions`."""
        if head_mask is not None and head_mask.shape[0] != len(self.layers):
            raise ValueError(f"head_mask has {head_mask.shape[0]} rows; the encoder has {len(self.layers)} layers")
        states, attentions, cross = (hidden_states,), (), ()
        for index, layer in enumerate(self.layers):
            factors = None if head_mask is None else head_mask[index]
            given = (encoder_hidden_states, encoder_attention_mask, init_cache, deterministic, output_attentions)
            hidden, *weights = layer(states[-1], attention_mask, factors, *given)
            states, attentions, cross = (*states, hidden), (*attentions, *weights[:1]), (*cross, *weights[1:])
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states[-1],
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross if output_attentions and cross else None,
        )
        return output if return_dict else output.to_tuple()


class FlaxRobertaEncoder(nn.Module):
    """The stack of layers, as its attribute `layer`."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Make the layers."""
        self.layer = FlaxRobertaLayerCollection(
            self.config, dtype=self.dtype, gradient_checkpointing=self.gradient_checkpointing
        )

    def __call__(
        self,
        hidden_states: Array,
        attention_mask: Array | None,
        head_mask: Array | None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Return what `FlaxRobertaLayerCollection` returns."""
        states = (encoder_hidden_states, encoder_attention_mask, init_cache, deterministic)
        outputs = (output_attentions, output_hidden_states, return_dict)
        return self.layer(hidden_states, attention_mask, head_mask, *states, *outputs)


class FlaxRobertaPooler(nn.Module):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layer."""
        self.dense = make_dense(self.config, self.config.hidden_size, self.dtype)

    def __call__(self, hidden_states: Array) -> Array:
        """[B, S, D] to [B, D]."""
        return jnp.tanh(self.dense(hidden_states[:, 0]))


def _add_causal_mask(mask: Array | None, query: Array, past_length: Any, key_length: int) -> Array:
    """Return an additive mask [B, 1, S or 1, T], or None, with the causal one."""
    queries, keys = jnp.arange(query.shape[1]), jnp.arange(key_length)
    causal = to_additive_mask((keys[None] <= queries[:, None] + past_length)[None], query)
    return causal if mask is None else jnp.minimum(mask, causal)


def make_dense(config: RobertaConfig, size: int, dtype: Any, use_bias: bool = True) -> nn.Dense:
    """Return a linear layer with the published initialiser."""
    initializer = nn.initializers.normal(config.initializer_range)
    return nn.Dense(size, use_bias=use_bias, dtype=dtype, kernel_init=initializer)


def make_layer_norm(config: RobertaConfig, dtype: Any) -> nn.LayerNorm:
    """Return a LayerNorm whose variance takes two passes: Flax's fast one is off by 1.7e-4."""
    return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=dtype, use_fast_variance=False)
