"""Float64 models with correct outputs and wrong gradients, as implementations have been seen to have.

Shapes: B batch, S sequence, T keys, D hidden, N heads, H head.
"""
# ruff: noqa: D102 -- each method overrides the correct one with the fault that its class names

import math
from typing import Any

import numpy as np

from ..oracle import Oracle
from ..oracle.autodiff import Traced
from ..oracle.functions import Array, gelu_tanh, softmax
from .models import IgnoredLabelsCounted, LabelsNotShifted, LossOverAllLabels


def stop_gradient(x: Any) -> Any:
    """Return the values without their gradient."""
    return x.value if isinstance(x, Traced) else x


def clamp_gradient(x: Any, limit: float) -> Any:
    """Return the same values with a clamped gradient."""
    if not isinstance(x, Traced):
        return x
    return Traced(x.value, [(x, lambda gradient: np.clip(gradient, -limit, limit))])


class StopsAtAttentionWeights(Oracle):
    """Treats attention weights as constants: queries and keys get no gradient."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        return stop_gradient(super().weights(query, key, mask))


class StopsAtResidual(Oracle):
    """Stops gradients at the residual connection."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return super().add_norm(path, x, stop_gradient(residual))


class StopsAtFirstLayer(Oracle):
    """Stops gradients between two layers, as gradient checkpointing of constant inputs does."""

    def attention(self, path: str, hidden: Array, states: Any, mask: Any, scale: Any, past: Any) -> Array:
        first = path == "encoder.layer.1.attention"
        return super().attention(path, stop_gradient(hidden) if first else hidden, states, mask, scale, past)


class StopsAtTiedHead(Oracle):
    """Stops the gradient of a tied table at the head."""

    def lm_head(self, hidden: Array) -> Array:
        class Head(type(self)):
            def tensor(self, name: str, rows: Any = ()) -> Array:
                found = super().tensor(name, rows)
                return stop_gradient(found) if name == "embeddings.word_embeddings.weight" else found

        head = Head.__new__(Head)
        vars(head).update(vars(self))
        return super(StopsAtTiedHead, head).lm_head(hidden)


class StopsAtLookup(Oracle):
    """Stops the gradient of the word embeddings at the lookup."""

    def table(self, name: str, ids: Any) -> Array:
        rows = super().table(name, ids)
        return stop_gradient(rows) if name == "word_embeddings" else rows


class PadsLearn(Oracle):
    """Gives the padding rows a gradient from their lookup."""

    unlearned = ()


class PositionOfPadsLearns(Oracle):
    """Gives the padding position a gradient from its lookup."""

    unlearned = ("word_embeddings",)


class MasksAdded(Oracle):
    """Adds masks to the scores, so that gradients flow through a row without keys."""

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        return softmax(scores if mask is None else scores + np.where(mask, 0.0, self.masked))


class VarianceStops(Oracle):
    """Treats the variance of LayerNorm as a constant."""

    def variance(self, path: str, x: Array) -> Array:
        return stop_gradient(super().variance(path, x))


class DerivativeOfTanhGelu(Oracle):
    """Computes the exact GELU with the derivative of its tanh approximation."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        right = self.activation

        def activation(x: Any) -> Any:
            approximate = gelu_tanh(x)
            return approximate + stop_gradient(right(x) - approximate)

        self.activation = activation


class Clamped(Oracle):
    """Clamps gradients between the layers."""

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        return clamp_gradient(super().add_norm(path, x, residual), 0.01)


class TanhStops(Oracle):
    """Stops gradients at the pooler and the classification head."""

    def pooler(self, hidden: Array) -> Array:
        return super().pooler(stop_gradient(hidden))

    def classification_head(self, hidden: Array) -> Array:
        return super().classification_head(stop_gradient(hidden))


class EncoderKeysStop(Oracle):
    """Treats the keys and values of cross-attention as constants."""

    def linear(self, path: str, x: Array) -> Array:
        found = super().linear(path, x)
        return (
            stop_gradient(found) if path.endswith(("crossattention.self.key", "crossattention.self.value")) else found
        )


class LossOfTheSum(Oracle):
    """Returns the mean loss with the gradients of the sum over the batch."""

    def loss(self, logits: Array, labels: Any) -> Array:
        right = super().loss(logits, labels)
        return right * len(labels) - stop_gradient(right) * (len(labels) - 1)


GRADIENT_FAULTS: dict[str, type[Oracle]] = {
    "gradient stops at the attention weights": StopsAtAttentionWeights,
    "gradient stops at the residual": StopsAtResidual,
    "gradient stops between two layers": StopsAtFirstLayer,
    "gradient stops at the tied head": StopsAtTiedHead,
    "gradient stops at the embeddings": StopsAtLookup,
    "gradient stops at the variance of LayerNorm": VarianceStops,
    "gradient stops at the pooler": TanhStops,
    "gradient stops at the encoder's keys": EncoderKeysStop,
    "gradients clamped": Clamped,
    "derivative of tanh GELU": DerivativeOfTanhGelu,
    "gradients through a row without keys": MasksAdded,
    "gradients for the lookup of padding": PadsLearn,
    "gradients for the padding position": PositionOfPadsLearns,
    "gradients of a sum over the batch": LossOfTheSum,
    "gradients of a mean over all labels": LossOverAllLabels,
    "gradients of labels not shifted": LabelsNotShifted,
    "gradients of ignored labels": IgnoredLabelsCounted,
}
