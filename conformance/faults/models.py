"""Float64 models that do one step wrong, as implementations have been seen to.

Shapes: B batch, S sequence, T keys, D hidden, N heads, H head.
"""
# ruff: noqa: D102 -- each method overrides the correct one with the fault that its class names

import fnmatch
import math
from typing import Any

import numpy as np

from ..oracle import Oracle, Stages
from ..oracle.functions import IGNORED, Array, cross_entropy, gelu_tanh, softmax

EPS_OF_BERT = 1e-12


def with_eps_of_bert(pattern: str) -> type[Oracle]:
    """Return a model that uses BERT's eps in the norms whose path matches a pattern."""

    class EpsOfBert(Oracle):
        def variance(self, path: str, x: Array) -> Array:
            right = super().variance(path, x)
            return right - self.config.layer_norm_eps + EPS_OF_BERT if fnmatch.fnmatchcase(path, pattern) else right

    return EpsOfBert


class SinglePassVariance(Oracle):
    """Computes the variance as E[x^2] - E[x]^2 in float32."""

    def variance(self, path: str, x: Array) -> Array:
        x = x.astype(np.float32)
        return np.square(x).mean(axis=-1, keepdims=True) - np.square(x.mean(axis=-1, keepdims=True))


class NormBeforeResidual(Oracle):
    """Applies LayerNorm before adding the residual."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return self.norm(f"{path}.LayerNorm", self.linear(f"{path}.dense", x)) + residual


class NoResidual(Oracle):
    """Does not add the residual."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return super().add_norm(path, x, np.zeros_like(residual))


def _apply_dropout(x: Array, rate: float = 0.1) -> Array:
    return x * (np.random.default_rng(0).random(x.shape) >= rate) / (1 - rate)


class EmbeddingDropout(Oracle):
    """Applies dropout after the embeddings."""

    def embeddings(self, words: Array, token_type_ids: Any, position_ids: Any) -> Array:
        return _apply_dropout(super().embeddings(words, token_type_ids, position_ids))


class AttentionDropout(Oracle):
    """Applies dropout to the attention weights."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return _apply_dropout(super().weights(query, key, mask))


class DenseDropout(Oracle):
    """Applies dropout before the residual."""

    def linear(self, path: str, x: Array) -> Array:
        right = super().linear(path, x)
        return _apply_dropout(right) if path.endswith("output.dense") else right


class HeadDropout(Oracle):
    """Applies dropout before a classifier."""

    def linear(self, path: str, x: Array) -> Array:
        return super().linear(path, _apply_dropout(x) if path.startswith("classifier") else x)


class TanhGeluInHead(Oracle):
    """Uses the tanh approximation of GELU in the language-model head."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.head_activation = gelu_tanh


class HiddenActInHead(Oracle):
    """Uses hidden_act in the language-model head."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.head_activation = self.activation


class NoHeadNorm(Oracle):
    """Skips LayerNorm in the language-model head."""

    def norm(self, path: str, x: Array) -> Array:
        return x if path == "lm_head.layer_norm" else super().norm(path, x)


class UnscaledScores(Oracle):
    """Does not divide scores by the square root of the head size."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return super().weights(query * math.sqrt(query.shape[-1]), key, mask)


class ScoresScaledByHidden(Oracle):
    """Divides scores by the square root of the hidden size."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return super().weights(query / math.sqrt(query.shape[1]), key, mask)  # D is N H


class SoftmaxOverQueries(Oracle):
    """Applies softmax over queries instead of keys."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        scores = scores if mask is None else np.where(mask, scores, -1e9)
        return softmax(scores.swapaxes(2, 3)).swapaxes(2, 3)


class MaskOfTenThousand(Oracle):
    """Subtracts 10,000 from masked scores, as the published TensorFlow classes do."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        return softmax(scores if mask is None else scores - 10000.0 * ~mask)


class NothingForMaskedRow(Oracle):
    """Returns zeros for a query without keys, as a fused kernel does for a boolean mask."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        right = super().weights(query, key, mask)
        return right if mask is None else right * mask.any(axis=-1, keepdims=True)


class HeadsInterleaved(Oracle):
    """Splits [B, S, D] into heads with the head as the inner axis."""

    def split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.config.head_size, -1).transpose(0, 3, 1, 2)


class HeadsNotJoined(Oracle):
    """Reshapes the context without transposing the heads back."""

    def join(self, x: Array) -> Array:
        return x.reshape(x.shape[0], x.shape[2], -1)


class PositionsFromMask(Oracle):
    """Counts positions from attention_mask instead of input_ids."""

    def positions(self, real: Array, cached: int, attention_mask: Any) -> Array:
        if attention_mask is not None and attention_mask.ndim == 2:
            real = attention_mask[:, cached:] != 0
        return super().positions(real, cached, attention_mask)


class CachedTokensUnmasked(Oracle):
    """Attends every cached token, as if the mask were that of the new tokens alone."""

    def mask(self, attention_mask: Any, cached: int, length: int) -> Array:
        seen = super().mask(attention_mask, cached, length)
        return seen | (np.arange(seen.shape[-1]) < cached)


class LastTokenFirst(Oracle):
    """Uses the last token instead of the first in the pooler and the classification head."""

    def pooler(self, hidden: Array) -> Array:
        return super().pooler(hidden[:, ::-1])

    def classification_head(self, hidden: Array) -> Array:
        return super().classification_head(hidden[:, ::-1])


class NoTanh(Oracle):
    """Skips tanh in the pooler and the classification head."""

    def pooler(self, hidden: Array) -> Array:
        return self.linear("pooler.dense", hidden[:, 0])

    def classification_head(self, hidden: Array) -> Array:
        return self.linear("classifier.out_proj", self.linear("classifier.dense", hidden[:, 0]))


class IgnoredLabelsCounted(Oracle):
    """Counts labels of -100 as class 0."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return super().loss(logits, np.where(labels == IGNORED, 0, labels))


class LabelsNotShifted(Oracle):
    """Computes a decoder's loss for the same token instead of the next."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return cross_entropy(logits, labels) if self.architecture == "ForCausalLM" else super().loss(logits, labels)


class LossOverAllLabels(Oracle):
    """Divides the sum of the losses by the number of all labels, ignored ones included."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return super().loss(logits, labels) * (labels != IGNORED).mean()


class NegativePositionsAreTheFirst(Oracle):
    """Counts a negative answer position as 0, as the published PyTorch class does."""

    def run(self, labels: Any = None, start_positions: Any = None, end_positions: Any = None, **inputs: Any) -> Stages:
        start, end = (None if value is None else np.maximum(value, 0) for value in (start_positions, end_positions))
        return super().run(labels, start, end, **inputs)
