"""The heads of RoBERTa in TensorFlow that are more than one linear layer.

Shapes: B batch, S sequence, D hidden, V vocabulary, K labels.
"""

from typing import Any

import keras
import tensorflow as tf
from keras.layers import Dropout

from roberta_core.config import RobertaConfig
from roberta_tf.activations import gelu
from roberta_tf.layers import Embedding, LayerNorm, Linear, Watched, draw_as_published


class LMHead(Watched, keras.layers.Layer):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.units, self.bias_initializer = config.vocab_size, "zeros"
        # A tied head scores with the words' table, which Keras keeps turned the other way than a kernel.
        self.decoder = None
        if not config.tie_word_embeddings:
            self.decoder = Linear(config.hidden_size, config.vocab_size, use_bias=False)
        draw_as_published(config, self.dense, *([] if self.decoder is None else [self.decoder]))

    def build(self, input_shape: Any = None) -> None:
        """Make the bias, which is the head's own whether or not the decoder is tied."""
        self.bias = self.add_weight(shape=(self.units,), initializer=self.bias_initializer, name="bias")

    def call(self, hidden: tf.Tensor, words: Embedding) -> tf.Tensor:
        """[B, S, D] to [B, S, V], by the table of `words` where the head is tied to it."""
        hidden = self.layer_norm(gelu(self.dense(hidden)))  # gelu, whatever hidden_act is
        scores = words.attend(hidden) if self.decoder is None else self.decoder(hidden)
        return scores + tf.cast(self.bias, scores.dtype)


class ClassificationHead(Watched, keras.layers.Layer):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    def __init__(self, config: RobertaConfig, **kwargs: Any):
        super().__init__(**kwargs)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(rate)
        self.out_proj = Linear(config.hidden_size, config.num_labels)
        draw_as_published(config, self.dense, self.out_proj)

    def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[B, S, D] to [B, K]."""
        first = self.dropout(features[:, 0], training=training)
        return self.out_proj(self.dropout(tf.tanh(self.dense(first)), training=training))


class PublishedLMHead(LMHead):
    """The language-model head with the published constructor: it scores with the words' table that it is given."""

    def __init__(self, config: RobertaConfig, input_embeddings: Any, **kwargs: Any):
        super().__init__(config, **kwargs)
        object.__setattr__(self, "input_embeddings", input_embeddings)  # no layer of the head, but of the body

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """[B, S, D] to [B, S, V]."""
        return super().call(hidden_states, self.input_embeddings.word_embeddings)
