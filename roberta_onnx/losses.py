"""The losses of RoBERTa's heads in ONNX; docs/numerics.md defines them for every framework.

A graph computes them for evaluation only: it has no gradients.

Shapes: B batch, S sequence, V vocabulary, K labels, C choices.
A loss is a scalar, 0 where every label is ignored. Logits in 16 bits are first upcast to float32.
"""

import numpy as np

from roberta_onnx.graph import Tensor

IGNORED = -100


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits [..., K] and labels [...], -100 ignored."""
    kept = ~labels.equals(IGNORED)
    chosen = kept.where(labels, 0).insert_axes(-1)
    likelihoods = _upcast(logits).add("LogSoftmax", axis=-1).add("GatherElements", chosen, axis=-1)
    losses = kept.where(likelihoods.reshape(labels.shape()) * -1.0, 0)
    return _reduce(losses, kept)


def causal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of each position's logits [B, S, V] and the label [B, S] that comes after it."""
    end = np.iinfo(np.int64).max
    return token_loss(logits.slice(1, 0, -1), labels.slice(1, 1, end))


def sequence_loss(logits: Tensor, labels: Tensor, problem_type: str) -> Tensor:
    """The loss of logits [B, K] by problem type."""
    if problem_type == "single_label_classification":
        return token_loss(logits, labels.reshape([-1]))
    logits = _upcast(logits)
    targets = labels.cast(logits.dtype).reshape(logits.shape())
    if problem_type == "regression":
        losses = (logits - targets) * (logits - targets)
    else:  # log(1 + exp(x)) - target * x
        losses = logits.add("Softplus") - targets * logits
    return losses.reshape([-1]).mean(axis=0)


def span_loss(start_logits: Tensor, end_logits: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """The mean of both cross entropies of logits [B, S] and positions [B]; a position outside [0, S) is ignored."""
    losses = []
    for logits, positions in ((start_logits, starts), (end_logits, ends)):
        positions = positions.reshape([-1])
        inside = positions.is_at_most(logits.count(1) - 1) & ~positions.is_at_most(-1)
        losses.append(token_loss(logits, inside.where(positions, IGNORED)))
    return (losses[0] + losses[1]) / 2


def infer_problem_type(shape: tuple[int, ...], is_integer: bool, classes: int) -> str:
    """The problem type that labels [B] or [B, K] show."""
    if classes == 1:
        return "regression"
    single = shape[1:] in ((), (1,)) and is_integer
    return "single_label_classification" if single else "multi_label_classification"


def _upcast(logits: Tensor) -> Tensor:
    return logits.cast(np.float32)


def _reduce(losses: Tensor, kept: Tensor) -> Tensor:
    count = kept.cast(losses.dtype).sum()
    return losses.sum() / count.add("Max", 1)
