"""The heads of RoBERTa in ONNX that are more than one linear layer.

Shapes: B batch, S sequence, D hidden, V vocabulary, K labels.
"""

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, WORD_TABLE
from roberta_onnx.activations import gelu
from roberta_onnx.graph import Tensor
from roberta_onnx.layers import LayerNorm, Linear


class LMHead:
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    def __init__(self, config: RobertaConfig, path: str):
        self.path = path
        self.dense = Linear(f"{path}.dense")
        self.layer_norm = LayerNorm(f"{path}.layer_norm", eps=config.layer_norm_eps)
        self.tied = config.tie_word_embeddings

    def __call__(self, features: Tensor) -> Tensor:
        """[B, S, D] to [B, S, V]."""
        hidden = self.layer_norm(gelu(self.dense(features)))  # gelu, whatever hidden_act is
        return hidden @ self.decoder(hidden) + hidden.graph.parameter(f"{self.path}.bias")

    def decoder(self, hidden: Tensor) -> Tensor:
        """The matrix [D, V] of the scores; a tied one is the table of the word embeddings, stored once."""
        if self.tied:
            return hidden.graph.parameter(BASE_PREFIX + WORD_TABLE).transpose(1, 0)
        return hidden.graph.parameter(f"{self.path}.decoder.weight", transposed=True)


class ClassificationHead:
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    def __init__(self, path: str):
        self.dense = Linear(f"{path}.dense")
        self.out_proj = Linear(f"{path}.out_proj")

    def __call__(self, features: Tensor) -> Tensor:
        """[B, S, D] to [B, K]."""
        return self.out_proj(self.dense(features.take(0, axis=1)).add("Tanh"))
