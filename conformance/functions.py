"""The functions of the float64 model: activations, softmax and the losses, in NumPy.

Shapes: B batch, S sequence, K labels.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray  # of float64
IGNORED = -100
ERF: Any = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function, as exact as the C library has it."""
    return ERF(x).astype(np.float64)


def sigmoid(x: Array) -> Array:
    """The logistic function, in the form that does not overflow."""
    return (1 + np.tanh(x / 2)) / 2


def gelu(x: Array) -> Array:
    """Hendrycks & Gimpel (2016), exact."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Array:
    """Hendrycks & Gimpel (2016), approximated by tanh."""
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def silu(x: Array) -> Array:
    """Hendrycks & Gimpel (2016), section 2, also known as swish."""
    return x * sigmoid(x)


def quick_gelu(x: Array) -> Array:
    """Hendrycks & Gimpel (2016), approximated by the logistic function."""
    return x * sigmoid(1.702 * x)


def relu(x: Array) -> Array:
    """The positive part."""
    return np.maximum(x, 0)


# As `hidden_act` names them.
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "silu": silu,
    "swish": silu,
    "tanh": np.tanh,
}


def softmax(x: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """Over the last axis."""
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def cross_entropy(logits: Array, labels: np.ndarray) -> Array:
    """The mean over the labels [...] that are not -100, of logits [..., K]; 0 if there is none."""
    kept = labels != IGNORED
    chosen = np.take_along_axis(log_softmax(logits), np.where(kept, labels, 0)[..., None], axis=-1)[..., 0]
    return -(chosen * kept).sum() / max(kept.sum(), 1)


def causal_loss(logits: Array, labels: np.ndarray) -> Array:
    """The cross entropy of each position's logits [B, S, K] and the next position's label [B, S]."""
    return cross_entropy(logits[:, :-1], labels[:, 1:])


def sequence_loss(logits: Array, labels: np.ndarray, problem_type: str | None) -> Array:
    """By problem type: cross entropy, or the mean over [B, K] of binary cross entropies or of squared errors.

    Without a type it is regression where K is 1, else one class where labels are whole numbers [B], else many labels.
    """
    if problem_type is None:
        single = labels.ndim == 1 and labels.dtype.kind in "iu"
        problem_type = "single_label_classification" if single else "multi_label_classification"
        problem_type = "regression" if logits.shape[1] == 1 else problem_type
    if problem_type == "single_label_classification":
        return cross_entropy(logits, labels.ravel().astype(int))
    targets = labels.reshape(logits.shape).astype(np.float64)
    if problem_type == "regression":
        return np.square(logits - targets).mean()
    return (np.logaddexp(0, logits) - targets * logits).mean()


def span_loss(start_logits: Array, end_logits: Array, starts: np.ndarray, ends: np.ndarray) -> Array:
    """The mean of the two cross entropies of logits [B, S] and positions [B]; one outside [0, S) is ignored."""
    losses = [
        cross_entropy(logits, np.where((at >= 0) & (at < logits.shape[1]), at, IGNORED).ravel())
        for logits, at in ((start_logits, starts), (end_logits, ends))
    ]
    return (losses[0] + losses[1]) / 2
