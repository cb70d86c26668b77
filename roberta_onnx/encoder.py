"""RoBERTa's encoder in ONNX: the layers of Vaswani et al. (2017) as BERT has them, LayerNorm after each residual.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, F feed-forward, N heads, H head, V vocabulary.
A mask is what is added to the scores [B, 1, S or 1, T]: 0 where a key is attended, the dtype's minimum where it is not.
A graph is for inference only, so there is no dropout.
"""

import math
from collections.abc import Sequence

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_onnx.activations import ACTIVATIONS
from roberta_onnx.graph import Tensor, concatenate
from roberta_onnx.layers import Embedding, LayerNorm, Linear


class Embeddings:
    """The sum of word, token type and position embeddings, normalised: [B, S] ids to [B, S, D]."""

    def __init__(self, config: RobertaConfig, path: str):
        self.padding_idx = config.pad_token_id
        self.word_embeddings = Embedding(f"{path}.word_embeddings")
        self.position_embeddings = Embedding(f"{path}.position_embeddings")
        self.token_type_embeddings = Embedding(f"{path}.token_type_embeddings")
        self.LayerNorm = LayerNorm(f"{path}.LayerNorm", eps=config.layer_norm_eps)

    def __call__(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """The embeddings of ids, or of `inputs_embeds` [B, S, D] in the place of the word embeddings."""
        if token_type_ids is None:
            token_type_ids = position_ids.graph.constant([[0]], np.int64)  # one row for all tokens
        graph = position_ids.graph
        words = inputs_embeds.cast(graph.dtype) if input_ids is None else self.word_embeddings(input_ids)  # pyright: ignore[reportOptionalMemberAccess]
        embedded = words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        return self.LayerNorm(embedded)

    def positions(self, real: Tensor, past: Tensor | None = None) -> Tensor:
        """The position of each token [B, S]: `past` real tokens went before; pads stay at the pad's own."""
        return create_position_ids(real, self.padding_idx, past)


class SelfAttention:
    """Scaled dot-product attention over N heads; over `states` [B, T, D] of an encoder where they are given."""

    def __init__(self, config: RobertaConfig, path: str, heads: int):
        self.heads, self.head_size = heads, config.head_size
        self.query = Linear(f"{path}.query")
        self.key = Linear(f"{path}.key")
        self.value = Linear(f"{path}.value")

    def __call__(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        past: tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The context [B, S, D], the weights [B, N, S, T], and the keys and values [B, N, T, H]."""
        query = self.split(self.query(hidden))
        if past is not None and states is not None:
            key, value = past  # an encoder's keys stay as they are
        else:
            source = hidden if states is None else states
            key, value = self.split(self.key(source)), self.split(self.value(source))
            if past is not None:
                key, value = append_kv(past, key, value)
        context, weights = self.attend(query, key, value, mask, head_mask)
        return context.transpose(0, 2, 1, 3).reshape([0, 0, self.heads * self.head_size]), weights, (key, value)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The weighted values [B, N, S, H], and the weights."""
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(self.head_size)  # [B, N, S, T]
        if mask is not None:
            overflows = scores.dtype == np.float16  # minimum + score would be -inf
            scores = mask.equals(0).where(scores, mask) if overflows else scores + mask
        weights = scores.add("Softmax", axis=-1)
        if head_mask is not None:
            weights = weights * head_mask
        return weights @ value, weights

    def split(self, x: Tensor) -> Tensor:
        """[B, S, D] to [B, N, S, H]."""
        return x.reshape([0, 0, self.heads, self.head_size]).transpose(0, 2, 1, 3)


def append_kv(past: tuple[Tensor, ...], key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The cached keys and values and the new ones [B, N, T, H]."""
    old_key, old_value = past
    return concatenate([old_key, key], axis=2), concatenate([old_value, value], axis=2)


class AddNorm:
    """A linear layer, dropout, the residual, LayerNorm: what follows attention and what ends a layer."""

    def __init__(self, config: RobertaConfig, path: str):
        self.dense = Linear(f"{path}.dense")
        self.LayerNorm = LayerNorm(f"{path}.LayerNorm", eps=config.layer_norm_eps)

    def __call__(self, x: Tensor, residual: Tensor) -> Tensor:
        """[B, S, size] and the residual [B, S, D] to [B, S, D]."""
        return self.LayerNorm(self.dense(x) + residual)


class Attention:
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, path: str, heads: int):
        self.self = SelfAttention(config, f"{path}.self", heads)
        self.output = AddNorm(config, f"{path}.output")

    def __call__(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        past: tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """As SelfAttention, the context having become the new hidden states [B, S, D]."""
        context, weights, present = self.self(hidden, mask, head_mask, states, past)
        return self.output(context, hidden), weights, present


class Intermediate:
    """The wide half of the feed-forward network: [B, S, D] to [B, S, F]."""

    def __init__(self, config: RobertaConfig, path: str):
        self.dense = Linear(f"{path}.dense")
        self.activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, hidden: Tensor) -> Tensor:
        """[B, S, D] to [B, S, F]."""
        return self.activation(self.dense(hidden))


class Layer:
    """One layer: attention, cross attention where the model has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, path: str, index: int):
        heads = config.num_attention_heads - len(config.pruned_heads.get(index, ()))
        self.attention = Attention(config, f"{path}.attention", heads)
        if config.add_cross_attention:
            self.crossattention = Attention(config, f"{path}.crossattention", config.num_attention_heads)
        self.intermediate = Intermediate(config, f"{path}.intermediate")
        self.output = AddNorm(config, f"{path}.output")

    def __call__(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
        past: tuple[Tensor, ...] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, tuple[Tensor, ...]]:
        """The new hidden states [B, S, D], both weights, and what to cache: (key, value) of each attention."""
        own, other = (None, None) if past is None else (past[:2], past[2:] or None)
        hidden, weights, present = self.attention(hidden, mask, head_mask, None, own)
        cross_weights = None
        if states is not None:
            hidden, cross_weights, cross = self.crossattention(hidden, states_mask, head_mask, states, other)
            present = present + cross
        return self.output(self.intermediate(hidden), hidden), weights, cross_weights, present


class Encoder:
    """The stack of layers."""

    def __init__(self, config: RobertaConfig, path: str):
        self.layer = [Layer(config, f"{path}.layer.{index}", index) for index in range(config.num_hidden_layers)]

    def __call__(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Sequence[Tensor] | None = None,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
        past: tuple[tuple[Tensor, ...], ...] | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple, tuple, tuple]:
        """Hidden states L+1 of [B, S, D], weights and cross weights L of [B, N, S, T], and L caches."""
        hidden_states, attentions, cross_attentions, present = (hidden,), (), (), ()
        for index, layer in enumerate(self.layer):
            one_head_mask = None if head_mask is None else head_mask[index]
            one_past = None if past is None else past[index]
            hidden, weights, cross_weights, cache = layer(hidden, mask, one_head_mask, states, states_mask, one_past)
            hidden_states += (hidden,)
            attentions += (weights,)
            cross_attentions += (cross_weights,)
            present += (cache,)
        return hidden_states, attentions, cross_attentions, present


class Pooler:
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    def __init__(self, path: str):
        self.dense = Linear(f"{path}.dense")

    def __call__(self, hidden_states: Tensor) -> Tensor:
        """[B, S, D] to [B, D]."""
        return self.dense(hidden_states.take(0, axis=1)).add("Tanh")


def create_position_ids(real: Tensor, padding_idx: int, past: Tensor | None = None) -> Tensor:
    """The position of each token [B, S], after `past` real tokens; pads stay at the pad's own."""
    count = real.add("CumSum", real.graph.constant(1, np.int64))
    count = count if past is None else count + past
    return count * real + padding_idx  # fairseq counts from pad + 1
