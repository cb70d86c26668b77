"""The losses of RoBERTa's heads in TensorFlow; docs/numerics.md defines them for the three frameworks.

Shapes: B batch, S sequence, V vocabulary, K labels, C choices.
With reduction "mean" a loss is a scalar, 0 where every label is ignored; with "none" it is one number for each label.
Logits in 16 bits are first upcast to float32.
"""

import tensorflow as tf

from roberta_core.input_validation import check_label_shape, check_labels, check_targets
from roberta_tf.layers import get_shape, upcast
from roberta_tf.weights import as_concrete

IGNORED = -100
LEAST = 1e-12  # by which a sum of weights is divided: that of ignored labels is 0


def token_loss(
    logits: tf.Tensor, labels: tf.Tensor, reduction: str = "mean", count: tf.Tensor | int | None = None
) -> tf.Tensor:
    """Cross entropy of logits [..., K] and labels [...], -100 ignored; `count` replaces the number of kept labels."""
    check_label_shape("labels", get_shape(labels), get_shape(logits))
    if labels.dtype.is_floating:
        raise ValueError(f"labels has dtype {labels.dtype.name}; class labels must be integers")
    check_labels("labels", as_concrete(labels), get_shape(logits)[-1])
    kept = tf.not_equal(labels, IGNORED)
    classes = tf.where(kept, tf.cast(labels, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, upcast(logits))
    return _reduce(tf.where(kept, losses, 0), kept, reduction, count)


def causal_loss(
    logits: tf.Tensor, labels: tf.Tensor, reduction: str = "mean", count: tf.Tensor | int | None = None
) -> tf.Tensor:
    """Cross entropy of each position's logits [B, S, V] and the label [B, S] that comes after it."""
    check_label_shape("labels", get_shape(labels), get_shape(logits))
    return token_loss(logits[:, :-1], labels[:, 1:], reduction, count)


def sequence_loss(logits: tf.Tensor, labels: tf.Tensor, problem_type: str | None, reduction: str = "mean") -> tf.Tensor:
    """The loss of logits [B, K] by problem type.

    Without one it is regression where K is 1, else one class where labels are integers [B] or [B, 1], else many
    labels.
    """
    problem_type = problem_type or infer_problem_type(labels, get_shape(logits)[1])
    if problem_type == "single_label_classification":
        return token_loss(logits, tf.reshape(labels, [-1]), reduction)
    check_targets(get_shape(labels), get_shape(logits))
    logits = upcast(logits)
    targets = tf.reshape(tf.cast(labels, logits.dtype), tf.shape(logits))
    pointwise = _squared_error if problem_type == "regression" else tf.nn.sigmoid_cross_entropy_with_logits
    losses = tf.reduce_mean(pointwise(targets, logits), axis=1)  # [B]
    return _reduce(losses, tf.ones_like(losses), reduction)


def weighted_loss(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The weighted mean of losses: cross entropy by labels and weights [...], or binary cross entropy by [..., K]."""
    if weights.shape.rank == logits.shape.rank:
        logits = upcast(logits)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, logits.dtype), logits)
    else:
        losses = token_loss(logits, labels, "none")
    return tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), LEAST)


def infer_problem_type(labels: tf.Tensor, classes: int) -> str:
    """The problem type that labels [B] or [B, K] show."""
    if classes == 1:
        return "regression"
    single = tuple(labels.shape[1:]) in ((), (1,)) and not labels.dtype.is_floating
    return "single_label_classification" if single else "multi_label_classification"


def span_loss(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    starts: tf.Tensor | None,
    ends: tf.Tensor | None,
    reduction: str = "mean",
) -> tf.Tensor:
    """The mean of both cross entropies of logits [B, S] and positions [B]; a position outside [0, S) is ignored."""
    if starts is None or ends is None:
        raise ValueError("an answer has two ends: give start_positions and end_positions, or neither")
    losses = []
    for name, logits, positions in (("start", start_logits, starts), ("end", end_logits, ends)):
        if positions.dtype.is_floating:
            raise ValueError(f"{name}_positions has dtype {positions.dtype.name}; positions must be integers")
        positions = tf.reshape(tf.cast(positions, tf.int64), [-1])
        inside = (positions >= 0) & (positions < tf.shape(logits, tf.int64)[1])
        losses.append(token_loss(logits, tf.where(inside, positions, IGNORED), reduction))
    return (losses[0] + losses[1]) / 2


def _squared_error(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.math.squared_difference(logits, targets)


def _reduce(losses: tf.Tensor, kept: tf.Tensor, reduction: str, count: tf.Tensor | int | None = None) -> tf.Tensor:
    if reduction == "none":
        if count is not None:
            raise ValueError("num_items_in_batch divides a sum, but with loss_reduction='none' there is none")
        return losses
    kept = tf.maximum(tf.reduce_sum(tf.cast(kept, losses.dtype)), 1) if count is None else tf.cast(count, losses.dtype)
    return tf.reduce_sum(losses) / kept
