"""RoBERTa's encoder in PyTorch: the layers of Vaswani et al. (2017) as BERT has them, LayerNorm after each residual.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, F feed-forward, N heads, H head, V vocabulary.
A mask is what is added to the scores [B, 1, S or 1, T]: 0 where a key is attended, the dtype's minimum where it is not.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roberta_core.config import RobertaConfig
from roberta_pt.activations import ACTIVATIONS
from roberta_pt.layers import Dropout, Embedding, LayerNorm, Linear
from roberta_pt.unpadding import ALL


class Embeddings(nn.Module):
    """The sum of word, token type and position embeddings, normalised: [B, S] ids to [B, S, D]."""

    def __init__(self, config: RobertaConfig):
        super().__init__()
        hidden, pad = config.hidden_size, config.pad_token_id
        self.padding_idx = pad
        self.word_embeddings = Embedding(config.vocab_size, hidden, padding_idx=pad)
        self.position_embeddings = Embedding(config.max_position_embeddings, hidden, padding_idx=pad)
        self.token_type_embeddings = Embedding(config.type_vocab_size, hidden)
        self.LayerNorm = LayerNorm(hidden, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values_length: int = 0,
    ) -> Tensor:
        """The embeddings of ids, or of `inputs_embeds` [B, S, D] in the place of the word embeddings."""
        given: Any = input_ids
        if inputs_embeds is not None:  # they hide which of them are pads, so none is
            given = torch.full(inputs_embeds.shape[:2], self.padding_idx + 1, device=inputs_embeds.device)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(given)
        if position_ids is None:
            position_ids = self.positions(given, past_key_values_length)
        words = (
            self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds.to(self.LayerNorm.weight.dtype)
        )
        embedded = words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(embedded))

    def positions(self, input_ids: Tensor, past: Tensor | int = 0) -> Tensor:
        """The position of each token [B, S]: `past` real tokens went before; pads stay at the pad's own."""
        return create_position_ids_from_input_ids(input_ids, self.padding_idx, past)


class SelfAttention(nn.Module):
    """Scaled dot-product attention over N heads; over `states` [B, T, D] of an encoder where they are given."""

    unpadding = ALL  # a Trainer's says which tokens [R, D] of [B, S, D] are computed

    def __init__(self, config: RobertaConfig, heads: int, attn_implementation: str = "sdpa"):
        super().__init__()
        self.head_size = config.head_size
        self.attn_implementation = attn_implementation
        self.query = Linear(config.hidden_size, heads * config.head_size)
        self.key = Linear(config.hidden_size, heads * config.head_size)
        self.value = Linear(config.hidden_size, heads * config.head_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        past: tuple[Any, ...] | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """The context [B, S, D], the weights [B, N, S, T] if they are needed, and the keys and values [B, N, T, H]."""
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
        context, weights = self.attend(query, key, value, mask, head_mask, need_weights)
        return self.unpadding.unpad(context.transpose(1, 2).flatten(2)), weights, (key, value)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None,
        need_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted values [B, N, S, H], by the fused kernel unless the weights are requested."""
        overflows = mask is not None and query.dtype == torch.float16  # minimum + score would be -inf
        if self.attn_implementation == "sdpa" and not (need_weights or head_mask is not None or overflows):
            rate = self.dropout.p if self.training else 0.0
            if mask is not None and query.requires_grad:
                # The kernel's gradients are wrong where every score is the minimum; zeros are uniform attention too.
                nothing = (mask != 0).all(dim=-1, keepdim=True)
                query, mask = query.masked_fill(nothing, 0.0), mask.masked_fill(nothing, 0.0)
            return F.scaled_dot_product_attention(query, key, value, mask, rate), None
        scores = query @ key.transpose(2, 3) / math.sqrt(self.head_size)  # [B, N, S, T]
        if mask is not None:
            scores = torch.where(mask == 0, scores, mask)
        weights = self.dropout(torch.softmax(scores, dim=-1))
        if head_mask is not None:
            weights = weights * head_mask
        return weights @ value, weights

    @property
    def heads(self) -> int:
        """How many heads there are, pruned ones not counted."""
        return self.query.out_features // self.head_size

    def split(self, x: Tensor) -> Tensor:
        """[B, S, D] to [B, N, S, H]."""
        return x.unflatten(2, (self.heads, self.head_size)).transpose(1, 2)


def append_kv(past: tuple[Any, ...], key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The cached keys and values and the new ones [B, N, T, H]; in place where the cache is of fixed length."""
    old_key, old_value, filled = past
    if filled is None:
        return torch.cat([old_key, key], dim=2), torch.cat([old_value, value], dim=2)
    slots = filled + torch.arange(key.shape[2], device=key.device)
    return old_key.index_copy_(2, slots, key), old_value.index_copy_(2, slots, value)


class AddNorm(nn.Module):
    """A linear layer, dropout, the residual, LayerNorm: what follows attention and what ends a layer."""

    def __init__(self, config: RobertaConfig, size: int):
        super().__init__()
        self.dense = Linear(size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """[B, S, size] and the residual [B, S, D] to [B, S, D]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Attention(nn.Module):
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, heads: int, attn_implementation: str = "sdpa"):
        super().__init__()
        self.self = SelfAttention(config, heads, attn_implementation)
        self.output = AddNorm(config, heads * config.head_size)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        past: tuple[Any, ...] | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """As SelfAttention, the context having become the new hidden states [B, S, D]."""
        context, weights, present = self.self(hidden, mask, head_mask, states, past, need_weights)
        return self.output(context, hidden), weights, present


class Intermediate(nn.Module):
    """The wide half of the feed-forward network: [B, S, D] to [B, S, F]."""

    def __init__(self, config: RobertaConfig):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] to [B, S, F]."""
        return self.activation(self.dense(hidden))


class Layer(nn.Module):
    """One layer: attention, cross attention where the model has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, index: int, attn_implementation: str = "sdpa"):
        super().__init__()
        heads = config.num_attention_heads - len(config.pruned_heads.get(index, ()))
        self.attention = Attention(config, heads, attn_implementation)
        if config.add_cross_attention:
            self.crossattention = Attention(config, config.num_attention_heads, attn_implementation)
        self.intermediate = Intermediate(config)
        self.output = AddNorm(config, config.intermediate_size)

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
        past: tuple[Tensor, ...] | None = None,
        filled: Any = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, tuple[Tensor, ...]]:
        """The new hidden states [B, S, D], both weights, and what to cache: (key, value) of each attention."""
        own, other = (None, None) if past is None else ((*past[:2], filled), past[2:] or None)
        hidden, weights, present = self.attention(hidden, mask, head_mask, None, own, need_weights)
        cross_weights = None
        if states is not None:
            hidden, cross_weights, cross = self.crossattention(
                hidden, states_mask, head_mask, states, other, need_weights
            )
            present = present + cross
        return self.output(self.intermediate(hidden), hidden), weights, cross_weights, present


class Encoder(nn.Module):
    """The stack of layers."""

    unpadding = ALL  # as that of its attention

    def __init__(self, config: RobertaConfig, attn_implementation: str = "sdpa"):
        super().__init__()
        self.layer = nn.ModuleList(
            [Layer(config, index, attn_implementation) for index in range(config.num_hidden_layers)]
        )
        self.gradient_checkpointing = bool(getattr(config, "gradient_checkpointing", False))
        self.checkpointing: dict[str, Any] = {"use_reentrant": False}

    def forward(
        self,
        hidden: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None = None,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
        past: tuple[tuple[Tensor, ...], ...] | None = None,
        filled: Any = None,
        need_weights: bool = False,
    ) -> tuple[tuple[Tensor, ...], tuple, tuple, tuple]:
        """Hidden states L+1 of [B, S, D], weights and cross weights L of [B, N, S, T], and L caches."""
        if self.gradient_checkpointing and self.training and self.checkpointing["use_reentrant"]:
            # Re-entrant checkpointing gives layers no gradient unless their input requires one: with the embeddings
            # frozen, adapters would not train.
            hidden = hidden if hidden.requires_grad or not torch.is_grad_enabled() else hidden.detach().requires_grad_()
        hidden_states, attentions, cross_attentions, present = (hidden,), (), (), ()
        hidden = self.unpadding.unpad(hidden)
        for index, layer in enumerate(self.layer):
            one_head_mask = None if head_mask is None else head_mask[index]
            one_past = None if past is None else past[index]
            arguments = (hidden, mask, one_head_mask, states, states_mask, one_past, filled, need_weights)
            if self.gradient_checkpointing and self.training:
                hidden, weights, cross_weights, cache = checkpoint(layer, *arguments, **self.checkpointing)
            else:
                hidden, weights, cross_weights, cache = layer(*arguments)
            hidden_states += (self.unpadding.pad(hidden),)
            attentions += (weights,)
            cross_attentions += (cross_weights,)
            present += (cache,)
        return hidden_states, attentions, cross_attentions, present


class Pooler(nn.Module):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    def __init__(self, config: RobertaConfig):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, S, D] to [B, D]."""
        return torch.tanh(self.dense(hidden_states[:, 0]))


def create_position_ids_from_input_ids(
    input_ids: Tensor, padding_idx: int, past_key_values_length: Tensor | int = 0
) -> Tensor:
    """The position of each token [B, S], after `past_key_values_length` real tokens; pads stay at the pad's own."""
    real = (input_ids != padding_idx).long()
    return (torch.cumsum(real, dim=1) + past_key_values_length) * real + padding_idx  # fairseq counts from pad + 1
