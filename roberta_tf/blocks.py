"""The published building blocks of the encoder: their constructors, calls and parameter names.

Shapes: B batch, S sequence, T keys, D hidden, F feed-forward, N heads. Masks are added to the scores: 0 where a key is
attended, the lowest number where it is not. A decoder's block returns its keys and values last, each [B, N, T, H].
"""

import math
from typing import Any

import keras
import tensorflow as tf

from roberta_core.config import RobertaConfig
from roberta_core.outputs import BaseModelOutputWithPastAndCrossAttentions, FixedCache
from roberta_core.refusals import Refused
from roberta_tf.encoder import AddNorm, Intermediate, SelfAttention
from roberta_tf.layers import Watched, draw_as_published, upcast


def name_sublayers(layer: keras.Layer) -> None:
    """Name the sublayers after their attributes, from which the names of variables follow."""
    for name, child in vars(layer).items():
        if isinstance(child, keras.Layer):
            child.name = name.rstrip("_")


class TFRobertaSelfAttention(SelfAttention):
    """Attention to the tokens [B, S, D], or to `encoder_hidden_states` [B, T, D]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(config, config.num_attention_heads, **kwargs)
        self.is_decoder = config.is_decoder
        draw_as_published(config, self.query, self.key, self.value)
        name_sublayers(self)

    def call(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        hidden_states: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_value: Any = None,
        output_attentions: bool = False,
        training: bool = False,
    ) -> tuple[Any, ...]:
        """Return the context [B, S, D], the weights [B, N, S, T] if requested, and a decoder's (key, value)."""
        mask = attention_mask if encoder_hidden_states is None else encoder_attention_mask
        past = None if past_key_value is None else (*past_key_value, None)
        context, weights, present = super().call(hidden_states, mask, head_mask, encoder_hidden_states, past)
        outputs = (context, weights) if output_attentions else (context,)
        return (*outputs, present) if self.is_decoder else outputs

    def attend(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        attention_mask: tf.Tensor | None,
        head_mask: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the weighted values [B, N, S, H] and the weights [B, N, S, T]."""
        scores = tf.matmul(query / math.sqrt(self.head_size), key, transpose_b=True)
        scores = scores if attention_mask is None else scores + tf.cast(attention_mask, scores.dtype)
        weights = self.dropout(tf.cast(tf.nn.softmax(upcast(scores)), scores.dtype))
        weights = weights if head_mask is None else weights * head_mask
        return tf.matmul(weights, value), weights


class TFRobertaSelfOutput(AddNorm):
    """The linear layer after attention, dropout, the residual and LayerNorm."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(config, config.hidden_size, **kwargs)
        draw_as_published(config, self.dense)
        name_sublayers(self)

    def call(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: tf.Tensor, input_tensor: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """[B, S, D] and the residual [B, S, D] to [B, S, D]."""
        return super().call(hidden_states, input_tensor)


class TFRobertaAttention(Watched, keras.layers.Layer):
    """Attention with its output layer and residual."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.self = TFRobertaSelfAttention(config)
        self.output_ = TFRobertaSelfOutput(config)
        name_sublayers(self)

    prune_heads = Refused("call prune_heads of the model, which also changes its configuration")

    def call(
        self,
        input_tensor: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_value: Any = None,
        output_attentions: bool = False,
        training: bool = False,
    ) -> tuple[Any, ...]:
        """Return the new hidden states [B, S, D], and what the attention returns after its context."""
        states = (encoder_hidden_states, encoder_attention_mask)
        options = {"past_key_value": past_key_value, "output_attentions": output_attentions}
        context, *others = self.self(input_tensor, attention_mask, head_mask, *states, **options)
        return self.output_(context, input_tensor), *others


class TFRobertaIntermediate(Intermediate):
    """The wide half of the feed-forward network."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(config, **kwargs)
        draw_as_published(config, self.dense)
        name_sublayers(self)

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """[B, S, D] to [B, S, F]."""
        return super().call(hidden_states)


class TFRobertaOutput(AddNorm):
    """The linear layer that ends a layer, dropout, the residual and LayerNorm."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(config, config.intermediate_size, **kwargs)
        draw_as_published(config, self.dense)
        name_sublayers(self)

    def call(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, hidden_states: tf.Tensor, input_tensor: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        """[B, S, F] and the residual [B, S, D] to [B, S, D]."""
        return super().call(hidden_states, input_tensor)


class TFRobertaLayer(Watched, keras.layers.Layer):
    """One layer: attention, cross-attention if the configuration has it, and the feed-forward network."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.is_decoder = config.is_decoder
        self.attention = TFRobertaAttention(config)
        if config.add_cross_attention:
            self.crossattention = TFRobertaAttention(config)
        self.intermediate = TFRobertaIntermediate(config)
        self.output_ = TFRobertaOutput(config)
        name_sublayers(self)

    def call(
        self,
        hidden_states: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_value: Any = None,
        output_attentions: bool = False,
        training: bool = False,
    ) -> tuple[Any, ...]:
        """Return the new hidden states [B, S, D], the weights of each attention if requested, and a decoder's cache."""
        own, other = (None, None) if past_key_value is None else (past_key_value[:2], past_key_value[2:] or None)
        options: dict[str, Any] = {"output_attentions": output_attentions}
        hidden, *others = self.attention(hidden_states, attention_mask, head_mask, past_key_value=own, **options)
        present: tuple[Any, ...] = (others.pop(),) if self.is_decoder else ()
        if self.is_decoder and encoder_hidden_states is not None:
            if not hasattr(self, "crossattention"):
                raise ValueError("encoder_hidden_states requires config.add_cross_attention=True")
            states = (encoder_hidden_states, encoder_attention_mask)
            hidden, *more = self.crossattention(
                hidden, attention_mask, head_mask, *states, past_key_value=other, **options
            )
            present = (present[0] + more.pop(),)
            others += more
        return self.output_(self.intermediate(hidden), hidden), *others, *present


class TFRobertaEncoder(Watched, keras.layers.Layer):
    """The stack of layers."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.config = config
        self.layer = [TFRobertaLayer(config, name=f"layer_._{index}") for index in range(config.num_hidden_layers)]

    def call(
        self,
        hidden_states: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        head_mask: Any = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        training: bool = False,
    ) -> Any:
        """Return `last_hidden_state` and what is requested of the other fields of the output.

        Without `return_dict` the cache is not returned, as by the published class.
        """
        self._check_cache(past_key_values, use_cache)
        states, attentions, cross, caches = (hidden_states,), (), (), ()
        for index, layer in enumerate(self.layer):
            hidden, *weights = layer(
                states[-1],
                attention_mask,
                None if head_mask is None else head_mask[index],
                encoder_hidden_states,
                encoder_attention_mask,
                past_key_value=None if past_key_values is None else past_key_values[index],
                output_attentions=output_attentions,
            )
            caches += (weights.pop(),) if self.config.is_decoder else ()
            states, attentions, cross = (*states, hidden), (*attentions, *weights[:1]), (*cross, *weights[1:])
        output = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=states[-1],
            past_key_values=caches if use_cache and return_dict else None,
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross if output_attentions and cross else None,
        )
        return output if return_dict else output.to_tuple()

    def _check_cache(self, past_key_values: Any, use_cache: bool | None) -> None:
        """Raise `ValueError` if a cache cannot be read or returned."""
        if isinstance(past_key_values, FixedCache):
            raise ValueError("past_key_values is a FixedCache, which only models accept; use a tuple for each layer")
        if use_cache and not self.config.is_decoder:
            raise ValueError("use_cache=True needs a decoder: is_decoder=True in the configuration")
