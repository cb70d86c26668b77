"""The published building blocks of the encoder: their constructors, calls and parameter names.

Shapes: B batch, S sequence, T keys, D hidden, F feed-forward, N heads. Masks are added to the scores: 0 where a key is
attended, the lowest number where it is not.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roberta_core.config import RobertaConfig
from roberta_core.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from roberta_pt.encoder import AddNorm, Intermediate, SelfAttention


def refuse_cache(past_key_values: Any, use_cache: bool | None = False) -> None:
    """Raise `ValueError` if a block is to read or return a cache."""
    if past_key_values is not None or use_cache:
        raise ValueError("past_key_values and use_cache are not supported by building blocks: use RobertaModel")


class RobertaSelfAttention(SelfAttention):
    """Attention to the tokens [B, S, D], or to `encoder_hidden_states` [B, T, D]."""

    def __init__(self, config: RobertaConfig, position_embedding_type: str | None = None, layer_idx: int | None = None):
        if position_embedding_type not in (None, "absolute"):
            raise ValueError(f"position_embedding_type {position_embedding_type!r} is not supported; use 'absolute'")
        super().__init__(config, config.num_attention_heads, "eager")

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        cache_position: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context [B, S, D] and the weights [B, N, S, T], or None."""
        refuse_cache(past_key_values)
        context, weights, _ = super().forward(hidden_states, attention_mask, head_mask, encoder_hidden_states)
        return context, weights if output_attentions else None

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None,
        need_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the weighted values [B, N, S, H] and the weights [B, N, S, T]."""
        scores = query @ key.transpose(2, 3) / math.sqrt(self.head_size)
        weights = self.dropout(torch.softmax(scores if mask is None else scores + mask, dim=-1))
        weights = weights if head_mask is None else weights * head_mask
        return weights @ value, weights


class RobertaSelfOutput(AddNorm):
    """The linear layer after attention, dropout, the residual and LayerNorm."""

    def __init__(self, config: RobertaConfig):
        super().__init__(config, config.hidden_size)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: Tensor, input_tensor: Tensor
    ) -> Tensor:
        """[B, S, D] and the residual [B, S, D] to [B, S, D]."""
        return super().forward(hidden_states, input_tensor)


class RobertaAttention(nn.Module):
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, position_embedding_type: str | None = None, layer_idx: int | None = None):
        super().__init__()
        self.self = RobertaSelfAttention(config, position_embedding_type, layer_idx)
        self.output = RobertaSelfOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        cache_position: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new hidden states [B, S, D] and the weights [B, N, S, T], or None."""
        states = (encoder_hidden_states, past_key_values, output_attentions)
        context, weights = self.self(hidden_states, attention_mask, head_mask, *states)
        return self.output(context, hidden_states), weights


class RobertaIntermediate(Intermediate):
    """The wide half of the feed-forward network."""

    def forward(self, hidden_states: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """[B, S, D] to [B, S, F]."""
        return super().forward(hidden_states)


class RobertaOutput(AddNorm):
    """The linear layer that ends a layer, dropout, the residual and LayerNorm."""

    def __init__(self, config: RobertaConfig):
        super().__init__(config, config.intermediate_size)

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: Tensor, input_tensor: Tensor
    ) -> Tensor:
        """[B, S, F] and the residual [B, S, D] to [B, S, D]."""
        return super().forward(hidden_states, input_tensor)


class RobertaLayer(nn.Module):
    """One layer: attention, cross-attention if the configuration has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, layer_idx: int | None = None):
        super().__init__()
        self.is_decoder = config.is_decoder
        self.attention = RobertaAttention(config, layer_idx=layer_idx)
        if config.add_cross_attention:
            self.crossattention = RobertaAttention(config, layer_idx=layer_idx)
        self.intermediate = RobertaIntermediate(config)
        self.output = RobertaOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        cache_position: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return the new hidden states [B, S, D] and the weights of each attention [B, N, S, T], or None."""
        refuse_cache(past_key_values)
        hidden, *weights = self.attention(hidden_states, attention_mask, head_mask, output_attentions=output_attentions)
        if self.is_decoder and encoder_hidden_states is not None:
            if not hasattr(self, "crossattention"):
                raise ValueError("encoder_hidden_states requires config.add_cross_attention=True")
            hidden, other = self.crossattention(
                hidden, encoder_attention_mask, head_mask, encoder_hidden_states, None, output_attentions
            )
            weights.append(other)
        return self.output(self.intermediate(hidden), hidden), *weights


class RobertaEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: RobertaConfig, layer_idx: int | None = None):
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList([RobertaLayer(config, index) for index in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Any = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = False,
        output_hidden_states: bool | None = False,
        return_dict: bool | None = True,
        cache_position: Tensor | None = None,
    ) -> Any:
        """Return `last_hidden_state` and what is requested of `hidden_states`, `attentions` and `cross_attentions`."""
        refuse_cache(past_key_values, use_cache)
        states, attentions, cross = (hidden_states,), (), ()
        for index, layer in enumerate(self.layer):
            given = (
                states[-1],
                attention_mask,
                None if head_mask is None else head_mask[index],
                encoder_hidden_states,
                encoder_attention_mask,
                None,
                output_attentions,
            )
            if self.gradient_checkpointing and self.training:
                hidden, *weights = checkpoint(layer, *given, use_reentrant=False)  # pyright: ignore[reportGeneralTypeIssues]
            else:
                hidden, *weights = layer(*given)
            states, attentions, cross = (*states, hidden), (*attentions, weights[0]), (*cross, *weights[1:])
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=states[-1],
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross if output_attentions and cross else None,
        )
        return output if return_dict else output.to_tuple()
