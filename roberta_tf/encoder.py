"""RoBERTa's encoder in TensorFlow: the layers of Vaswani et al. (2017) as BERT has them, LayerNorm after each residual.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, F feed-forward, N heads, H head, V vocabulary.
A mask is what is added to the scores [B, 1, S or 1, T]: 0 where a key is attended, the dtype's minimum where it is not.
Keras has a meaning of its own for arguments called `mask`, so here they are `attention_mask` and `cross_mask`.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from roberta_core.config import RobertaConfig
from roberta_tf.activations import ACTIVATIONS
from roberta_tf.layers import (
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    Watched,
    draw_as_published,
    flatten_rows,
    get_shape,
    upcast,
)
from roberta_tf.recompute import recompute
from roberta_tf.unpadding import ALL


class Embeddings(Watched, keras.layers.Layer):
    """The sum of word, token type and position embeddings, normalised: [B, S] ids to [B, S, D]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        hidden, pad = config.hidden_size, config.pad_token_id
        self.padding_idx = pad
        self.word_embeddings = Embedding(config.vocab_size, hidden, padding_idx=pad)
        self.position_embeddings = Embedding(config.max_position_embeddings, hidden, padding_idx=pad)
        self.token_type_embeddings = Embedding(config.type_vocab_size, hidden)
        draw_as_published(config, self.word_embeddings, self.position_embeddings, self.token_type_embeddings)
        self.LayerNorm = LayerNorm(hidden, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> tf.Tensor:
        """The embeddings of ids, or of `inputs_embeds` [B, S, D] in the place of the word embeddings."""
        given: Any = input_ids
        if inputs_embeds is not None:  # they hide which of them are pads, so none is
            given = tf.fill(tf.shape(inputs_embeds)[:2], self.padding_idx + 1)
        if token_type_ids is None:
            token_type_ids = tf.zeros_like(given, tf.int32)
        if position_ids is None:
            position_ids = self.positions(given, past_key_values_length)
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        embedded = words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded))

    def positions(self, input_ids: tf.Tensor, past: tf.Tensor | int = 0) -> tf.Tensor:
        """The position of each token [B, S]: `past` real tokens went before; pads stay at the pad's own."""
        return create_position_ids_from_input_ids(input_ids, self.padding_idx, past)


class SelfAttention(Watched, keras.layers.Layer):
    """Scaled dot-product attention over N heads; over `states` [B, T, D] of an encoder where they are given."""

    unpadding = ALL  # a Trainer's says which tokens [R, D] of [B, S, D] are computed

    def __init__(self, config: RobertaConfig, heads: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.head_size = config.head_size
        self.query = Linear(config.hidden_size, heads * config.head_size)
        self.key = Linear(config.hidden_size, heads * config.head_size)
        self.value = Linear(config.hidden_size, heads * config.head_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def call(
        self,
        hidden: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        states: tf.Tensor | None = None,
        past: tuple[Any, ...] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """The context [B, S, D], the weights [B, N, S, T], and the keys and values [B, N, T, H]."""
        pad, like = self.unpadding.pad, self.unpadding.pad(hidden)
        query = self.split(pad(self.query(hidden)), like)
        if past is not None and states is not None:
            key, value = past[:2]  # an encoder's keys stay as they are
        elif states is not None:
            key, value = self.split(self.key(states), states), self.split(self.value(states), states)
        else:
            key, value = self.split(pad(self.key(hidden)), like), self.split(pad(self.value(hidden)), like)
            if past is not None:
                key, value = append_kv(past, key, value)
        context, weights = self.attend(query, key, value, attention_mask, head_mask)
        return self.unpadding.unpad(self.merge(context)), weights, (key, value)

    def attend(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The weighted values [B, N, S, H] and the weights [B, N, S, T]."""
        scores = tf.matmul(query / math.sqrt(self.head_size), key, transpose_b=True)  # [B, N, S, T]
        if attention_mask is not None:
            scores = tf.where(tf.equal(attention_mask, 0), scores, attention_mask)
        weights = self.dropout(tf.cast(tf.nn.softmax(upcast(scores)), scores.dtype))
        if head_mask is not None:
            weights = weights * head_mask
        return tf.matmul(weights, value), weights

    @property
    def heads(self) -> int:
        """How many heads there are, pruned ones not counted."""
        return self.query.units // self.head_size

    def split(self, x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """[B, S, D] to [B, N, S, H], B and S being those of `like`: a graph then finds them once."""
        return tf.transpose(tf.reshape(x, (*get_shape(like)[:2], self.heads, self.head_size)), (0, 2, 1, 3))

    def merge(self, x: tf.Tensor) -> tf.Tensor:
        """[B, N, S, H] to [B, S, D]."""
        x = tf.transpose(x, (0, 2, 1, 3))
        return tf.reshape(x, (*get_shape(x)[:2], self.query.units))


def append_kv(past: tuple[Any, ...], key: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The cached keys and values and the new ones [B, N, T, H]; in their slots where the cache is of fixed length."""
    old_key, old_value, filled = past
    if filled is None:
        return tf.concat([old_key, key], axis=2), tf.concat([old_value, value], axis=2)
    length, room = get_shape(key)[2], get_shape(old_key)[2]
    slots = tf.range(room) - filled  # [T]: 0 where the first new one goes
    new = ((slots >= 0) & (slots < length))[:, None]
    slots = tf.clip_by_value(slots, 0, length - 1)
    missing = tf.where(filled + length <= room, 0.0, math.nan)  # NaN if there is no room
    key, value = (tf.gather(part, slots, axis=2) + tf.cast(missing, part.dtype) for part in (key, value))
    return tf.where(new, key, old_key), tf.where(new, value, old_value)


class AddNorm(Watched, keras.layers.Layer):
    """A linear layer, dropout, the residual, LayerNorm: what follows attention and what ends a layer."""

    def __init__(self, config: RobertaConfig, size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.dense = Linear(size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def call(self, x: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
        """[B, S, size] and the residual [B, S, D] to [B, S, D]."""
        rows = self.LayerNorm(self.dropout(self.dense(flatten_rows(x))) + flatten_rows(residual))
        return tf.reshape(rows, tf.shape(residual))


class Attention(Watched, keras.layers.Layer):
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, heads: int):
        super().__init__()
        self.self = SelfAttention(config, heads)
        self.output_ = AddNorm(config, heads * config.head_size)

    def call(
        self,
        hidden: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        states: tf.Tensor | None = None,
        past: tuple[Any, ...] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """As SelfAttention, the context having become the new hidden states [B, S, D]."""
        context, weights, present = self.self(hidden, attention_mask, head_mask, states, past)
        return self.output_(context, hidden), weights, present


class Intermediate(Watched, keras.layers.Layer):
    """The wide half of the feed-forward network: [B, S, D] to [B, S, F]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        activation = ACTIVATIONS[config.hidden_act]
        self.dense = Linear(config.hidden_size, config.intermediate_size, activation=activation)

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        """[B, S, D] to [B, S, F]."""
        return self.dense(hidden)


class Layer(Watched, keras.layers.Layer):
    """One layer: attention, cross attention where the model has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, index: int):
        super().__init__()
        heads = config.num_attention_heads - len(config.pruned_heads.get(index, ()))
        self.attention = Attention(config, heads)
        if config.add_cross_attention:
            self.crossattention = Attention(config, config.num_attention_heads)
        self.intermediate = Intermediate(config)
        self.output_ = AddNorm(config, config.intermediate_size)

    def call(
        self,
        hidden: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        states: tf.Tensor | None = None,
        cross_mask: tf.Tensor | None = None,
        past: tuple[tf.Tensor, ...] | None = None,
        filled: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, ...]]:
        """The new hidden states [B, S, D], both weights, and what to cache: (key, value) of each attention."""
        own, other = (None, None) if past is None else ((*past[:2], filled), past[2:] or None)
        hidden, weights, present = self.attention(hidden, attention_mask, head_mask, None, own)
        cross_weights = None
        if states is not None:
            hidden, cross_weights, cross = self.crossattention(hidden, cross_mask, head_mask, states, other)
            present = present + cross
        return self.output_(self.intermediate(hidden), hidden), weights, cross_weights, present


class Encoder(Watched, keras.layers.Layer):
    """The stack of layers."""

    unpadding = ALL  # as that of its attention

    def __init__(self, config: RobertaConfig):
        super().__init__()
        self.layer = [Layer(config, index) for index in range(config.num_hidden_layers)]
        self.gradient_checkpointing = bool(getattr(config, "gradient_checkpointing", False))

    def call(
        self,
        hidden: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        states: tf.Tensor | None = None,
        cross_mask: tf.Tensor | None = None,
        past: tuple[tuple[tf.Tensor, ...], ...] | None = None,
        filled: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[tuple[tf.Tensor, ...], tuple, tuple, tuple]:
        """Hidden states L+1 of [B, S, D], weights and cross weights L of [B, N, S, T], and L caches."""
        hidden_states, attentions, cross_attentions, present = (hidden,), (), (), ()
        hidden = self.unpadding.unpad(hidden)
        for index, layer in enumerate(self.layer):
            one_head_mask = None if head_mask is None else head_mask[index]
            one_past = None if past is None else past[index]
            run = recompute(layer) if self.gradient_checkpointing and training else layer
            arguments = (hidden, attention_mask, one_head_mask, states, cross_mask, one_past, filled)
            hidden, weights, cross_weights, cache = run(*arguments)
            hidden_states += (self.unpadding.pad(hidden),)
            attentions += (weights,)
            cross_attentions += (cross_weights,)
            present += (cache,)
        return hidden_states, attentions, cross_attentions, present


class Pooler(Watched, keras.layers.Layer):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.dense = Linear(config.hidden_size, config.hidden_size)
        draw_as_published(config, self.dense)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        """[B, S, D] to [B, D]."""
        return tf.tanh(self.dense(hidden_states[:, 0]))


def create_position_ids_from_input_ids(
    input_ids: tf.Tensor, padding_idx: int, past_key_values_length: tf.Tensor | int = 0
) -> tf.Tensor:
    """The position of each token [B, S], after `past_key_values_length` real tokens; pads stay at the pad's own."""
    real = tf.cast(tf.not_equal(input_ids, padding_idx), tf.int32)
    return (tf.cumsum(real, axis=1) + past_key_values_length) * real + padding_idx  # fairseq counts from pad + 1
