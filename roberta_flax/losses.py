"""The losses of RoBERTa's heads in Flax; docs/numerics.md defines them for the three frameworks.

Shapes: B batch, S sequence, V vocabulary, K labels, C choices.
With reduction "mean" a loss is a scalar, 0 where every label is ignored; with "none" it is one number for each label.
Logits in 16 bits are first upcast to float32.
"""

import jax
import jax.numpy as jnp
from jax import Array

from roberta_core.input_validation import check_label_shape, check_labels, check_targets
from roberta_flax.layers import upcast
from roberta_flax.weights import as_concrete

IGNORED = -100
LEAST = 1e-12  # by which a sum of weights is divided: that of ignored labels is 0


def token_loss(logits: Array, labels: Array, reduction: str = "mean", count: Array | int | None = None) -> Array:
    """Cross entropy of logits [..., K] and labels [...], -100 ignored; `count` replaces the number of kept labels."""
    check_label_shape("labels", labels.shape, logits.shape)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        raise ValueError(f"labels has dtype {labels.dtype}; class labels must be integers")
    check_labels("labels", as_concrete(labels), logits.shape[-1])
    labels = jnp.reshape(labels, logits.shape[:-1])
    inside = (labels >= 0) & (labels < logits.shape[-1])
    scores = jax.nn.log_softmax(upcast(logits), axis=-1)
    losses = -jnp.take_along_axis(scores, jnp.where(inside, labels, 0)[..., None], axis=-1)[..., 0]
    losses = jnp.where(inside, losses, jnp.where(labels == IGNORED, 0, jnp.nan).astype(losses.dtype))
    return _reduce(losses, labels != IGNORED, reduction, count)


def causal_loss(logits: Array, labels: Array, reduction: str = "mean", count: Array | int | None = None) -> Array:
    """Cross entropy of each position's logits [B, S, V] and the label [B, S] that comes after it."""
    check_label_shape("labels", labels.shape, logits.shape)
    return token_loss(logits[:, :-1], labels[:, 1:], reduction, count)


def sequence_loss(logits: Array, labels: Array, problem_type: str | None, reduction: str = "mean") -> Array:
    """The loss of logits [B, K] by problem type.

    Without one it is regression where K is 1, else one class where labels are integers [B] or [B, 1], else many
    labels.
    """
    problem_type = problem_type or infer_problem_type(labels, logits.shape[1])
    if problem_type == "single_label_classification":
        return token_loss(logits, labels.flatten(), reduction)
    check_targets(labels.shape, logits.shape)
    logits = upcast(logits)
    targets = jnp.reshape(labels.astype(logits.dtype), logits.shape)
    pointwise = _square_error if problem_type == "regression" else _binary_cross_entropy
    losses = pointwise(logits, targets).mean(axis=1)  # [B]
    return _reduce(losses, jnp.ones_like(losses), reduction)


def weighted_loss(logits: Array, labels: Array, weights: Array) -> Array:
    """The weighted mean of losses: cross entropy by labels and weights [...], or binary cross entropy by [..., K]."""
    if weights.ndim == logits.ndim:
        logits = upcast(logits)
        losses = _binary_cross_entropy(logits, labels.astype(logits.dtype))
    else:
        losses = token_loss(logits, labels, "none")
    return (losses * weights).sum() / jnp.maximum(weights.sum(), LEAST)


def infer_problem_type(labels: Array, classes: int) -> str:
    """The problem type that labels [B] or [B, K] show."""
    if classes == 1:
        return "regression"
    single = labels.shape[1:] in ((), (1,)) and not jnp.issubdtype(labels.dtype, jnp.floating)
    return "single_label_classification" if single else "multi_label_classification"


def span_loss(
    start_logits: Array, end_logits: Array, starts: Array | None, ends: Array | None, reduction: str = "mean"
) -> Array:
    """The mean of both cross entropies of logits [B, S] and positions [B]; a position outside [0, S) is ignored."""
    if starts is None or ends is None:
        raise ValueError("an answer has two ends: give start_positions and end_positions, or neither")
    losses = []
    for name, logits, positions in (("start", start_logits, starts), ("end", end_logits, ends)):
        if jnp.issubdtype(positions.dtype, jnp.floating):
            raise ValueError(f"{name}_positions has dtype {positions.dtype}; positions must be integers")
        positions = positions.flatten()
        inside = (positions >= 0) & (positions < logits.shape[1])
        losses.append(token_loss(logits, jnp.where(inside, positions, IGNORED), reduction))
    return (losses[0] + losses[1]) / 2


def _square_error(logits: Array, targets: Array) -> Array:
    return jnp.square(logits - targets)


def _binary_cross_entropy(logits: Array, targets: Array) -> Array:
    return jnp.maximum(logits, 0) - logits * targets + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def _reduce(losses: Array, kept: Array, reduction: str, count: Array | int | None = None) -> Array:
    if reduction == "none":
        if count is not None:
            raise ValueError("num_items_in_batch divides a sum, but with loss_reduction='none' there is none")
        return losses
    count = jnp.maximum(kept.sum(), 1) if count is None else jnp.asarray(count)
    return losses.sum() / count.astype(losses.dtype)
