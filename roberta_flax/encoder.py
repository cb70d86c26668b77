"""RoBERTa's encoder in Flax (NNX): the layers of Vaswani et al. (2017) as BERT has them, LayerNorm after each residual.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, F feed-forward, N heads, H head, V vocabulary.
A mask is what is added to the scores [B, 1, S or 1, T]: 0 where a key is attended, the dtype's minimum where it is not.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from roberta_core.config import RobertaConfig
from roberta_flax.activations import ACTIVATIONS
from roberta_flax.layers import Dropout, Embedding, LayerNorm, Linear, upcast
from roberta_flax.unpadding import ALL


class Embeddings(nnx.Module):
    """The sum of word, token type and position embeddings, normalised: [B, S] ids to [B, S, D]."""

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        hidden, pad = config.hidden_size, config.pad_token_id
        self.padding_idx = pad
        self.word_embeddings = Embedding(config.vocab_size, hidden, dtype, padding_idx=pad)
        self.position_embeddings = Embedding(config.max_position_embeddings, hidden, dtype, padding_idx=pad)
        self.token_type_embeddings = Embedding(config.type_vocab_size, hidden, dtype)
        self.LayerNorm = LayerNorm(hidden, config.layer_norm_eps, dtype)
        self.dropout = Dropout(config.hidden_dropout_prob, deterministic=True)

    def __call__(
        self, input_ids: Any, token_type_ids: Array, position_ids: Array, inputs_embeds: Array | None
    ) -> Array:
        """The embeddings of ids, or of `inputs_embeds` [B, S, D] in the place of the word embeddings."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds.astype(self.LayerNorm.dtype)
        embedded = words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded))

    def positions(self, input_ids: Array, past: Array | int = 0) -> Array:
        """The position of each token [B, S]: `past` real tokens went before; pads stay at the pad's own."""
        return create_position_ids_from_input_ids(input_ids, self.padding_idx, past)


class SelfAttention(nnx.Module):
    """Scaled dot-product attention over N heads; over `states` [B, T, D] of an encoder where they are given."""

    unpadding = ALL  # a Trainer's says which tokens [R, D] of [B, S, D] are computed

    def __init__(self, config: RobertaConfig, heads: int, dtype: DTypeLike):
        self.head_size = config.head_size
        self.query = Linear(config.hidden_size, heads * config.head_size, dtype)
        self.key = Linear(config.hidden_size, heads * config.head_size, dtype)
        self.value = Linear(config.hidden_size, heads * config.head_size, dtype)
        self.dropout = Dropout(config.attention_probs_dropout_prob, deterministic=True)

    def __call__(
        self,
        hidden: Array,
        mask: Array | None,
        head_mask: Array | None = None,
        states: Array | None = None,
        past: tuple[Any, ...] | None = None,
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        """The context [B, S, D], the weights [B, N, S, T], and the keys and values [B, N, T, H]."""
        pad = self.unpadding.pad
        query = self.split(pad(self.query(hidden)))
        if past is not None and states is not None:
            key, value = past[:2]  # an encoder's keys stay as they are
        elif states is not None:
            key, value = self.split(self.key(states)), self.split(self.value(states))
        else:
            key, value = self.split(pad(self.key(hidden))), self.split(pad(self.value(hidden)))
            if past is not None:
                key, value = append_kv(past, key, value)
        context, weights = self.attend(query, key, value, mask, head_mask)
        return self.unpadding.unpad(self.merge(context)), weights, (key, value)

    def attend(
        self,
        query: Array,
        key: Array,
        value: Array,
        mask: Array | None,
        head_mask: Array | None,
    ) -> tuple[Array, Array]:
        """The weighted values [B, N, S, H] and the weights [B, N, S, T]; XLA drops those that are not used."""
        scores = query / math.sqrt(self.head_size) @ key.swapaxes(2, 3)  # [B, N, S, T]
        if mask is not None:
            scores = jnp.where(mask == 0, scores, mask)  # a sum would let gradients through where no key is attended
        weights = self.dropout(jax.nn.softmax(upcast(scores), axis=-1).astype(scores.dtype))
        if head_mask is not None:
            weights = weights * head_mask
        return weights @ value, weights

    @property
    def heads(self) -> int:
        """How many heads there are, pruned ones not counted."""
        return self.query.out_features // self.head_size

    def split(self, x: Array) -> Array:
        """[B, S, D] to [B, N, S, H]."""
        return x.reshape(*x.shape[:2], self.heads, self.head_size).swapaxes(1, 2)

    def merge(self, x: Array) -> Array:
        """[B, N, S, H] to [B, S, D]."""
        return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], self.query.out_features)


def append_kv(past: tuple[Any, ...], key: Array, value: Array) -> tuple[Array, Array]:
    """The cached keys and values and the new ones [B, N, T, H]; in their slots where the cache is of fixed length."""
    old_key, old_value, filled = past
    if filled is None:
        return jnp.concatenate([old_key, key], axis=2), jnp.concatenate([old_value, value], axis=2)
    room = filled + key.shape[2] <= old_key.shape[2]  # without it JAX would move the slots; NaN marks it
    key, value = (jnp.where(room, part, jnp.nan).astype(old_key.dtype) for part in (key, value))
    put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=filled, axis=2)
    return put(old_key, key), put(old_value, value)


class AddNorm(nnx.Module):
    """A linear layer, dropout, the residual, LayerNorm: what follows attention and what ends a layer."""

    def __init__(self, config: RobertaConfig, size: int, dtype: DTypeLike):
        self.dense = Linear(size, config.hidden_size, dtype)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps, dtype)
        self.dropout = Dropout(config.hidden_dropout_prob, deterministic=True)

    def __call__(self, x: Array, residual: Array) -> Array:
        """[B, S, size] and the residual [B, S, D] to [B, S, D]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nnx.Module):
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, heads: int, dtype: DTypeLike):
        self.self = SelfAttention(config, heads, dtype)
        self.output = AddNorm(config, heads * config.head_size, dtype)

    def __call__(
        self,
        hidden: Array,
        mask: Array | None,
        head_mask: Array | None = None,
        states: Array | None = None,
        past: tuple[Any, ...] | None = None,
    ) -> tuple[Array, Array, tuple[Array, Array]]:
        """As SelfAttention, the context having become the new hidden states [B, S, D]."""
        context, weights, present = self.self(hidden, mask, head_mask, states, past)
        return self.output(context, hidden), weights, present


class Intermediate(nnx.Module):
    """The wide half of the feed-forward network: [B, S, D] to [B, S, F]."""

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        self.dense = Linear(config.hidden_size, config.intermediate_size, dtype)
        self.activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, hidden: Array) -> Array:
        """[B, S, D] to [B, S, F]."""
        return self.activation(self.dense(hidden))


class Layer(nnx.Module):
    """One layer: attention, cross attention where the model has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, index: int, dtype: DTypeLike):
        heads = config.num_attention_heads - len(config.pruned_heads.get(index, ()))
        self.attention = Attention(config, heads, dtype)
        if config.add_cross_attention:
            self.crossattention = Attention(config, config.num_attention_heads, dtype)
        self.intermediate = Intermediate(config, dtype)
        self.output = AddNorm(config, config.intermediate_size, dtype)

    def __call__(
        self,
        hidden: Array,
        mask: Array | None,
        head_mask: Array | None = None,
        states: Array | None = None,
        states_mask: Array | None = None,
        past: tuple[Array, ...] | None = None,
        filled: Any = None,
    ) -> tuple[Array, Array, Array | None, tuple[Array, ...]]:
        """The new hidden states [B, S, D], both weights, and what to cache: (key, value) of each attention."""
        own, other = (None, None) if past is None else ((*past[:2], filled), past[2:] or None)
        hidden, weights, present = self.attention(hidden, mask, head_mask, None, own)
        cross_weights = None
        if states is not None:
            hidden, cross_weights, cross = self.crossattention(hidden, states_mask, head_mask, states, other)
            present = present + cross
        return self.output(self.intermediate(hidden), hidden), weights, cross_weights, present


class Encoder(nnx.Module):
    """The stack of layers."""

    unpadding = ALL  # as that of its attention

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        self.layer = nnx.List([Layer(config, index, dtype) for index in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def __call__(
        self,
        hidden: Array,
        mask: Array | None,
        head_mask: Array | None = None,
        states: Array | None = None,
        states_mask: Array | None = None,
        past: tuple[tuple[Array, ...], ...] | None = None,
        filled: Any = None,
    ) -> tuple[tuple[Array, ...], tuple, tuple, tuple]:
        """Hidden states L+1 of [B, S, D], weights and cross weights L of [B, N, S, T], and L caches."""
        hidden_states, attentions, cross_attentions, present = (hidden,), (), (), ()
        hidden = self.unpadding.unpad(hidden)
        for index, layer in enumerate(self.layer):
            one_head_mask = None if head_mask is None else head_mask[index]
            one_past = None if past is None else past[index]
            arguments = (hidden, mask, one_head_mask, states, states_mask, one_past, filled)
            if self.gradient_checkpointing:
                hidden, weights, cross_weights, cache = nnx.remat(Layer.__call__)(layer, *arguments)
            else:
                hidden, weights, cross_weights, cache = layer(*arguments)
            hidden_states += (self.unpadding.pad(hidden),)
            attentions += (weights,)
            cross_attentions += (cross_weights,)
            present += (cache,)
        return hidden_states, attentions, cross_attentions, present


class Pooler(nnx.Module):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        self.dense = Linear(config.hidden_size, config.hidden_size, dtype)

    def __call__(self, hidden: Array) -> Array:
        """[B, S, D] to [B, D]."""
        return jnp.tanh(self.dense(hidden[:, 0]))


def create_position_ids_from_input_ids(
    input_ids: Array, padding_idx: int, past_key_values_length: Array | int = 0
) -> Array:
    """The position of each token [B, S], after `past_key_values_length` real tokens; pads stay at the pad's own."""
    real = (input_ids != padding_idx).astype(jnp.int32)
    return (jnp.cumsum(real, axis=1) + past_key_values_length) * real + padding_idx  # fairseq counts from pad + 1
