"""Functions of the float64 model, in NumPy: activations, softmax and losses.

Shapes: B batch, S sequence, K labels.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray  # of float64, or of the type in which the model is evaluated
IGNORED = -100
ERF: Any = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """Return the error function, as accurate as the C library's."""
    return ERF(x.astype(np.float64)).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """Return the logistic function, in a form that does not overflow."""
    return (1 + np.tanh(x / 2)) / 2


def gelu(x: Array) -> Array:
    """Return the exact GELU (Hendrycks & Gimpel 2016)."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Array:
    """Return the tanh approximation of GELU (Hendrycks & Gimpel 2016)."""
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def silu(x: Array) -> Array:
    """Return SiLU, also called swish (Hendrycks & Gimpel 2016, section 2)."""
    return x * sigmoid(x)


def quick_gelu(x: Array) -> Array:
    """Return the sigmoid approximation of GELU (Hendrycks & Gimpel 2016)."""
    return x * sigmoid(1.702 * x)


def relu(x: Array) -> Array:
    """Return the positive part."""
    return np.maximum(x, 0)


# By the value of `hidden_act`.
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
    """Return the softmax over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """Return the logarithm of the softmax over the last axis."""
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def cross_entropy(logits: Array, labels: np.ndarray) -> Array:
    """Return the mean cross-entropy of logits [..., K] over the labels [...] that are not -100; 0 if all are."""
    kept = labels != IGNORED
    chosen = np.take_along_axis(log_softmax(logits), np.where(kept, labels, 0)[..., None], axis=-1)[..., 0]
    return -(chosen * kept).sum() / max(kept.sum(), 1)


def causal_loss(logits: Array, labels: np.ndarray) -> Array:
    """Return the cross-entropy of the logits [B, S, K] against the labels [B, S] of the next position."""
    return cross_entropy(logits[:, :-1], labels[:, 1:])


def sequence_loss(logits: Array, labels: np.ndarray, problem_type: str | None) -> Array:
    """Return the loss of a problem type: cross-entropy, or mean binary cross-entropy or squared error over [B, K].

    Without a type, K = 1 means regression, integer labels [B] mean a single label, anything else means multi-label.
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
    """Return the mean cross-entropy of start and end logits [B, S]; positions [B] outside [0, S) are ignored."""
    losses = [
        cross_entropy(logits, np.where((at >= 0) & (at < logits.shape[1]), at, IGNORED).ravel())
        for logits, at in ((start_logits, starts), (end_logits, ends))
    ]
    return (losses[0] + losses[1]) / 2
