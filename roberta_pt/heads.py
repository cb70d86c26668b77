"""The heads of RoBERTa in PyTorch that are more than one linear layer.

Shapes: B batch, S sequence, D hidden, V vocabulary, K labels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roberta_core.config import RobertaConfig
from roberta_pt.layers import Dropout, LayerNorm, Linear


class LMHead(nn.Module):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    def __init__(self, config: RobertaConfig):
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias  # published under both names

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """[B, S, D] to [B, S, V]."""
        hidden = self.layer_norm(F.gelu(self.dense(features)))  # gelu, whatever hidden_act is
        return self.decoder(hidden)


class ClassificationHead(nn.Module):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    def __init__(self, config: RobertaConfig):
        super().__init__()
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(rate)
        self.out_proj = Linear(config.hidden_size, config.num_labels)

    def forward(self, features: Tensor, **kwargs: Any) -> Tensor:
        """[B, S, D] to [B, K]."""
        first = self.dropout(features[:, 0])
        return self.out_proj(self.dropout(torch.tanh(self.dense(first))))
