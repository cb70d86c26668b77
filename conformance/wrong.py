"""Float64 models that do one step wrong, as implementations have been seen to.

Shapes: B batch, S sequence, T keys, D hidden, N heads, H head.
"""
# ruff: noqa: D102 -- a method is the right one's, with the fault that its class names

import fnmatch
import math
from typing import Any

import numpy as np

from conformance.functions import IGNORED, Array, cross_entropy, gelu_tanh, softmax
from conformance.oracle import Oracle, Stages

EPS_OF_BERT = 1e-12


def with_eps_of_bert(pattern: str) -> type[Oracle]:
    """A model with BERT's eps in the norms whose path matches."""

    class EpsOfBert(Oracle):
        def variance(self, path: str, x: Array) -> Array:
            right = super().variance(path, x)
            return right - self.config.layer_norm_eps + EPS_OF_BERT if fnmatch.fnmatchcase(path, pattern) else right

    return EpsOfBert


class SinglePassVariance(Oracle):
    """The variance as a difference of two squares, in float32."""

    def variance(self, path: str, x: Array) -> Array:
        x = x.astype(np.float32)
        return np.square(x).mean(axis=-1, keepdims=True) - np.square(x.mean(axis=-1, keepdims=True))


class NormBeforeResidual(Oracle):
    """LayerNorm before the residual is added."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return self.norm(f"{path}.LayerNorm", self.linear(f"{path}.dense", x)) + residual


class NoResidual(Oracle):
    """No residual."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return super().add_norm(path, x, np.zeros_like(residual))


def _dropped(x: Array, rate: float = 0.1) -> Array:
    return x * (np.random.default_rng(0).random(x.shape) >= rate) / (1 - rate)


class EmbeddingDropout(Oracle):
    """Dropout left on after the embeddings."""

    def embeddings(self, words: Array, token_type_ids: Any, position_ids: Any) -> Array:
        return _dropped(super().embeddings(words, token_type_ids, position_ids))


class AttentionDropout(Oracle):
    """Dropout left on in the attention weights."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return _dropped(super().weights(query, key, mask))


class DenseDropout(Oracle):
    """Dropout left on before the residual."""

    def linear(self, path: str, x: Array) -> Array:
        right = super().linear(path, x)
        return _dropped(right) if path.endswith("output.dense") else right


class HeadDropout(Oracle):
    """Dropout left on before a classifier."""

    def linear(self, path: str, x: Array) -> Array:
        return super().linear(path, _dropped(x) if path.startswith("classifier") else x)


class TanhGeluInHead(Oracle):
    """The approximate GELU in the head of language modelling."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.head_activation = gelu_tanh


class HiddenActInHead(Oracle):
    """hidden_act in the head of language modelling."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.head_activation = self.activation


class NoHeadNorm(Oracle):
    """No LayerNorm in the head of language modelling."""

    def norm(self, path: str, x: Array) -> Array:
        return x if path == "lm_head.layer_norm" else super().norm(path, x)


class UnscaledScores(Oracle):
    """Scores not divided by the square root of the head size."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return super().weights(query * math.sqrt(query.shape[-1]), key, mask)


class ScoresScaledByHidden(Oracle):
    """Scores divided by the square root of the hidden size."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return super().weights(query / math.sqrt(query.shape[1]), key, mask)  # D is N H


class SoftmaxOverQueries(Oracle):
    """Softmax over the wrong axis."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        scores = scores if mask is None else np.where(mask, scores, -1e9)
        return softmax(scores.swapaxes(2, 3)).swapaxes(2, 3)


class MaskOfTenThousand(Oracle):
    """Masked scores 10,000 less, as the published TensorFlow classes have them."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        return softmax(scores if mask is None else scores - 10000.0 * ~mask)


class NothingForMaskedRow(Oracle):
    """Zeros where a query has no key, as a fused kernel gives for a boolean mask."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        right = super().weights(query, key, mask)
        return right if mask is None else right * mask.any(axis=-1, keepdims=True)


class HeadsInterleaved(Oracle):
    """[B, S, D] split into heads with the head as the inner axis."""

    def split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.config.head_size, -1).transpose(0, 3, 1, 2)


class HeadsNotJoined(Oracle):
    """The context joined without bringing the heads together."""

    def join(self, x: Array) -> Array:
        return x.reshape(x.shape[0], x.shape[2], -1)


class PositionsFromMask(Oracle):
    """Positions counted over the mask and not over the ids."""

    def positions(self, real: Array, cached: int, attention_mask: Any) -> Array:
        if attention_mask is not None and attention_mask.ndim == 2:
            real = attention_mask[:, cached:] != 0
        return super().positions(real, cached, attention_mask)


class LastTokenFirst(Oracle):
    """The last token where the first is meant, in the pooler and the classification head."""

    def pooler(self, hidden: Array) -> Array:
        return super().pooler(hidden[:, ::-1])

    def classification_head(self, hidden: Array) -> Array:
        return super().classification_head(hidden[:, ::-1])


class NoTanh(Oracle):
    """The pooler and the classification head without tanh."""

    def pooler(self, hidden: Array) -> Array:
        return self.linear("pooler.dense", hidden[:, 0])

    def classification_head(self, hidden: Array) -> Array:
        return self.linear("classifier.out_proj", self.linear("classifier.dense", hidden[:, 0]))


class IgnoredLabelsCounted(Oracle):
    """Labels of -100 taken for the class 0."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return super().loss(logits, np.where(labels == IGNORED, 0, labels))


class LabelsNotShifted(Oracle):
    """The loss of a decoder for the token itself and not the next."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return cross_entropy(logits, labels) if self.architecture == "ForCausalLM" else super().loss(logits, labels)


class LossOverAllLabels(Oracle):
    """The sum of the losses divided by the number of all labels, ignored ones too."""

    def loss(self, logits: Array, labels: Any) -> Array:
        return super().loss(logits, labels) * (labels != IGNORED).mean()


class NegativePositionsAreTheFirst(Oracle):
    """A negative position of an answer taken for 0, as the published PyTorch class does."""

    def run(self, labels: Any = None, start_positions: Any = None, end_positions: Any = None, **inputs: Any) -> Stages:
        start, end = (None if value is None else np.maximum(value, 0) for value in (start_positions, end_positions))
        return super().run(labels, start, end, **inputs)
