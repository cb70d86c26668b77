"""Float64 models whose outputs are right and whose gradients are not, as implementations have been seen to.

Shapes: B batch, S sequence, T keys, D hidden, N heads, H head.
"""
# ruff: noqa: D102 -- a method is the right one's, with the fault that its class names

import math
from typing import Any

import numpy as np

from conformance.autodiff import Traced
from conformance.functions import Array, gelu_tanh, softmax
from conformance.oracle import MASKED, Oracle


def stopped(x: Any) -> Any:
    """The values alone: no gradient goes further back."""
    return x.value if isinstance(x, Traced) else x


def clamped(x: Any, limit: float) -> Any:
    """The same values, each gradient clamped."""
    if not isinstance(x, Traced):
        return x
    return Traced(x.value, [(x, lambda gradient: np.clip(gradient, -limit, limit))])


class StopsAtAttentionWeights(Oracle):
    """Attention weights taken for constants: queries and keys learn nothing."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return stopped(super().weights(query, key, mask))


class StopsAtResidual(Oracle):
    """Gradients that take no way around a layer."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return super().add_norm(path, x, stopped(residual))


class StopsAtFirstLayer(Oracle):
    """Gradients that do not reach the layer below, as with a checkpoint of constant inputs."""

    def attention(self, path: str, hidden: Array, states: Any, mask: Any, scale: Any, past: Any) -> Array:
        first = path == "encoder.layer.1.attention"
        return super().attention(path, stopped(hidden) if first else hidden, states, mask, scale, past)


class StopsAtTiedHead(Oracle):
    """A tied table that learns from being looked up alone."""

    def lm_head(self, hidden: Array) -> Array:
        class Head(type(self)):
            def tensor(self, name: str, rows: Any = ()) -> Array:
                found = super().tensor(name, rows)
                return stopped(found) if name == "embeddings.word_embeddings.weight" else found

        head = Head.__new__(Head)
        vars(head).update(vars(self))
        return super(StopsAtTiedHead, head).lm_head(hidden)


class StopsAtLookup(Oracle):
    """Word embeddings that learn from a tied head alone."""

    def table(self, name: str, ids: Any) -> Array:
        rows = super().table(name, ids)
        return stopped(rows) if name == "word_embeddings" else rows


class PadsLearn(Oracle):
    """The pad's rows learning from being looked up."""

    unlearned = ()


class PositionOfPadsLearns(Oracle):
    """The pad's position learning from being looked up."""

    unlearned = ("word_embeddings",)


class MasksAdded(Oracle):
    """Masks added to the scores, so that gradients flow where no key is attended."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        return softmax(scores if mask is None else scores + np.where(mask, 0.0, MASKED))


class VarianceStops(Oracle):
    """A LayerNorm that takes its variance for a constant."""

    def variance(self, path: str, x: Array) -> Array:
        return stopped(super().variance(path, x))


class DerivativeOfTanhGelu(Oracle):
    """The exact GELU with the derivative of the approximate one."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        right = self.activation

        def activation(x: Any) -> Any:
            approximate = gelu_tanh(x)
            return approximate + stopped(right(x) - approximate)

        self.activation = activation


class Clamped(Oracle):
    """Gradients clamped on their way between the layers."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return clamped(super().add_norm(path, x, residual), 0.01)


class TanhStops(Oracle):
    """A pooler and a classification head that teach nothing below them."""

    def pooler(self, hidden: Array) -> Array:
        return super().pooler(stopped(hidden))

    def classification_head(self, hidden: Array) -> Array:
        return super().classification_head(stopped(hidden))


class EncoderKeysStop(Oracle):
    """Keys and values of cross attention taken for constants."""

    def linear(self, path: str, x: Array) -> Array:
        found = super().linear(path, x)
        return stopped(found) if path.endswith(("crossattention.self.key", "crossattention.self.value")) else found


class LossOfTheSum(Oracle):
    """Gradients of the sum over the batch's rows, beside the mean as the loss."""

    def loss(self, logits: Array, labels: Any) -> Array:
        right = super().loss(logits, labels)
        return right * len(labels) - stopped(right) * (len(labels) - 1)
