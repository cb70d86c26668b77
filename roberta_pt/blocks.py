"""The published building blocks of the encoder: their constructors, calls and parameter names.

Shapes: B batch, S sequence, T keys, D hidden, F feed-forward, N heads. Masks are added to the scores: 0 where a key is
attended, the lowest number where it is not. A cache is extended in place.
"""

import logging
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roberta_core.config import RobertaConfig
from roberta_core.outputs import BaseModelOutputWithPastAndCrossAttentions, FixedCache
from roberta_core.surgery import list_kept_rows
from roberta_pt.block_caches import DynamicCache, EncoderDecoderCache, update_cache
from roberta_pt.encoder import AddNorm, Intermediate, SelfAttention
from roberta_pt.layers import Linear

logger = logging.getLogger(__name__)


class RobertaSelfAttention(SelfAttention):
    """Attention to the tokens [B, S, D], or to `encoder_hidden_states` [B, T, D]."""

    def __init__(self, config: RobertaConfig, position_embedding_type: str | None = None, layer_idx: int | None = None):
        if position_embedding_type not in (None, "absolute"):
            raise ValueError(f"position_embedding_type {position_embedding_type!r} is not supported; use 'absolute'")
        super().__init__(config, config.num_attention_heads, "eager")
        self.layer_idx = layer_idx

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        cache_position: Tensor | None = None,
        past_key_value: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context [B, S, D] and the weights [B, N, S, T], or None; `past_key_value` is the older name."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def compute() -> tuple[Tensor, Tensor]:
            return self.split(self.key(source)), self.split(self.value(source))

        cache = past_key_value if past_key_values is None else past_key_values
        if cache is None:
            key, value = compute()
        else:
            key, value = update_cache(cache, self.layer_idx, encoder_hidden_states is not None, compute, cache_position)
        query = self.split(self.query(hidden_states))
        context, weights = self.attend(query, key, value, attention_mask, head_mask, bool(output_attentions))
        return context.transpose(1, 2).flatten(2), weights if output_attentions else None

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
        self.pruned_heads: set[int] = set()

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, numbered as in the unpruned block.

        Raises:
            ValueError: A head does not exist, or none would remain.
        """
        removed = {*heads} - self.pruned_heads
        count = self.self.heads + len(self.pruned_heads)
        rows = torch.from_numpy(list_kept_rows(count, self.self.head_size, self.pruned_heads, removed))
        for part in (self.self.query, self.self.key, self.self.value):
            _keep_outputs(part, rows)
        _keep_inputs(self.output.dense, rows)
        self.pruned_heads |= removed

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = False,
        cache_position: Tensor | None = None,
        past_key_value: Any = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new hidden states [B, S, D] and the weights [B, N, S, T], or None."""
        cache = (past_key_values, output_attentions, cache_position, past_key_value)
        context, weights = self.self(hidden_states, attention_mask, head_mask, encoder_hidden_states, *cache)
        return self.output(context, hidden_states), weights


def _keep_outputs(layer: Linear, rows: Tensor) -> None:
    """Keep only some outputs of a linear layer."""
    rows, layer.out_features = rows.to(layer.weight.device), len(rows)
    layer.weight = nn.Parameter(layer.weight.detach()[rows], layer.weight.requires_grad)
    layer.bias = nn.Parameter(layer.bias.detach()[rows], layer.bias.requires_grad)


def _keep_inputs(layer: Linear, rows: Tensor) -> None:
    """Keep only some inputs of a linear layer."""
    rows, layer.in_features = rows.to(layer.weight.device), len(rows)
    layer.weight = nn.Parameter(layer.weight.detach()[:, rows].contiguous(), layer.weight.requires_grad)


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
        past_key_value: Any = None,
    ) -> tuple[Any, ...]:
        """Return the new hidden states [B, S, D] and the weights of each attention [B, N, S, T], or None."""
        cache = (past_key_values, output_attentions, cache_position, past_key_value)
        hidden, *weights = self.attention(hidden_states, attention_mask, head_mask, None, *cache)
        if self.is_decoder and encoder_hidden_states is not None:
            if not hasattr(self, "crossattention"):
                raise ValueError("encoder_hidden_states requires config.add_cross_attention=True")
            hidden, other = self.crossattention(
                hidden, encoder_attention_mask, head_mask, encoder_hidden_states, *cache
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
        """Return `last_hidden_state`, the cache, and what is requested of the other fields of the output."""
        cache = self._get_cache(past_key_values, use_cache)
        states, attentions, cross = (hidden_states,), (), ()
        for index, layer in enumerate(self.layer):
            given = (
                states[-1],
                attention_mask,
                None if head_mask is None else head_mask[index],
                encoder_hidden_states,
                encoder_attention_mask,
                cache,
                output_attentions,
                cache_position,
            )
            if self.gradient_checkpointing and self.training:
                hidden, *weights = checkpoint(layer, *given, use_reentrant=False)  # pyright: ignore[reportGeneralTypeIssues]
            else:
                hidden, *weights = layer(*given)
            states, attentions, cross = (*states, hidden), (*attentions, weights[0]), (*cross, *weights[1:])
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states[-1],
            past_key_values=cache,
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross if output_attentions and cross else None,
        )
        return output if return_dict else output.to_tuple()

    def _get_cache(self, past_key_values: Any, use_cache: bool | None) -> Any:
        """Return the cache that the layers extend, or None. `ValueError` if it cannot be used."""
        if isinstance(past_key_values, FixedCache):
            raise ValueError("past_key_values is a FixedCache, which only models accept; use an EncoderDecoderCache")
        if use_cache and not self.config.is_decoder:
            raise ValueError("use_cache=True needs a decoder: is_decoder=True in the configuration")
        if self.gradient_checkpointing and self.training:
            if past_key_values is not None:
                raise ValueError("past_key_values cannot be extended with gradient checkpointing: call eval() first")
            if use_cache:
                logger.warning("use_cache=True has no effect while training with gradient checkpointing.")
            return None
        if isinstance(past_key_values, tuple):
            return EncoderDecoderCache.from_legacy_cache(past_key_values)
        if past_key_values is None and use_cache:
            return EncoderDecoderCache(DynamicCache(), DynamicCache())
        return past_key_values
