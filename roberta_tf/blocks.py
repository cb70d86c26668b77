"""The published building blocks of the encoder: their constructors, calls and parameter names.

Shapes: B batch, S sequence, T keys, D hidden, F feed-forward, N heads. Masks are added to the scores: 0 where a key is
attended, the lowest number where it is not.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from roberta_core.config import RobertaConfig
from roberta_core.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from roberta_tf.encoder import AddNorm, Intermediate, SelfAttention
from roberta_tf.layers import Watched, draw_as_published, upcast


def refuse_cache(past_key_values: Any, use_cache: bool | None = False) -> None:
    """Raise `ValueError` if a block is to read or return a cache."""
    if past_key_values is not None or use_cache:
        raise ValueError("past_key_values and use_cache are not supported by building blocks: use TFRobertaModel")


def name_sublayers(layer: keras.Layer) -> None:
    """Name the sublayers after their attributes, from which the names of variables follow."""
    for name, child in vars(layer).items():
        if isinstance(child, keras.Layer):
            child.name = name.rstrip("_")


class TFRobertaSelfAttention(SelfAttention):
    """Attention to the tokens [B, S, D], or to `encoder_hidden_states` [B, T, D]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(config, config.num_attention_heads, **kwargs)
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
    ) -> tuple[tf.Tensor, ...]:
        """Return the context [B, S, D] and, if requested, the weights [B, N, S, T]."""
        refuse_cache(past_key_value)
        mask = attention_mask if encoder_hidden_states is None else encoder_attention_mask
        context, weights, _ = super().call(hidden_states, mask, head_mask, encoder_hidden_states)
        return (context, weights) if output_attentions else (context,)

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
    ) -> tuple[tf.Tensor, ...]:
        """Return the new hidden states [B, S, D] and, if requested, the weights [B, N, S, T]."""
        refuse_cache(past_key_value)
        states = (encoder_hidden_states, encoder_attention_mask)
        context, *weights = self.self(
            input_tensor, attention_mask, head_mask, *states, output_attentions=output_attentions
        )
        return self.output_(context, input_tensor), *weights


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
        """Return the new hidden states [B, S, D] and, if requested, the weights of each attention [B, N, S, T]."""
        refuse_cache(past_key_value)
        hidden, *weights = self.attention(hidden_states, attention_mask, head_mask, output_attentions=output_attentions)
        if self.is_decoder and encoder_hidden_states is not None:
            if not hasattr(self, "crossattention"):
                raise ValueError("encoder_hidden_states requires config.add_cross_attention=True")
            states = (encoder_hidden_states, encoder_attention_mask)
            hidden, *other = self.crossattention(
                hidden, attention_mask, head_mask, *states, output_attentions=output_attentions
            )
            weights += other
        return self.output_(self.intermediate(hidden), hidden), *weights


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
        """Return `last_hidden_state` and what is requested of `hidden_states`, `attentions` and `cross_attentions`."""
        refuse_cache(past_key_values, use_cache)
        states, attentions, cross = (hidden_states,), (), ()
        for index, layer in enumerate(self.layer):
            hidden, *weights = layer(
                states[-1],
                attention_mask,
                None if head_mask is None else head_mask[index],
                encoder_hidden_states,
                encoder_attention_mask,
                output_attentions=output_attentions,
            )
            states, attentions, cross = (*states, hidden), (*attentions, *weights[:1]), (*cross, *weights[1:])
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=states[-1],
            hidden_states=states if output_hidden_states else None,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross if output_attentions and cross else None,
        )
        return output if return_dict else output.to_tuple()
