"""The heads of RoBERTa in Flax (NNX) that are more than one linear layer.

Shapes: B batch, S sequence, D hidden, V vocabulary, K labels.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from roberta_core.config import RobertaConfig
from roberta_flax.layers import Dropout, Embedding, LayerNorm, Linear, skip_init


class LMHead(nnx.Module):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        self.dense = Linear(config.hidden_size, config.hidden_size, dtype)
        self.layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, dtype)
        self.bias = nnx.Param(skip_init(None, (config.vocab_size,), jnp.float32))
        # A tied head scores with the words' table, which Flax keeps turned the other way than a kernel.
        self.decoder = None
        if not config.tie_word_embeddings:
            self.decoder = nnx.data(Linear(config.hidden_size, config.vocab_size, dtype, use_bias=False))

    def __call__(self, hidden: Array, words: Embedding) -> Array:
        """[B, S, D] to [B, S, V], by the table of `words` where the head is tied to it."""
        hidden = self.layer_norm(jax.nn.gelu(self.dense(hidden), approximate=False))  # gelu, whatever hidden_act is
        scores = words.attend(hidden) if self.decoder is None else self.decoder(hidden)
        return scores + self.bias[...].astype(scores.dtype)[None, None]


class ClassificationHead(nnx.Module):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    def __init__(self, config: RobertaConfig, dtype: DTypeLike):
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = Linear(config.hidden_size, config.hidden_size, dtype)
        self.dropout = Dropout(rate, deterministic=True)
        self.out_proj = Linear(config.hidden_size, config.num_labels, dtype)

    def __call__(self, hidden: Array) -> Array:
        """[B, S, D] to [B, K]."""
        first = self.dropout(hidden[:, 0])
        return self.out_proj(self.dropout(jnp.tanh(self.dense(first))))
