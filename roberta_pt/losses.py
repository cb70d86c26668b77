"""The losses of RoBERTa's heads in PyTorch; docs/numerics.md defines them for the three frameworks.

Shapes: B batch, S sequence, V vocabulary, K labels, C choices.
With reduction "mean" a loss is a scalar, 0 where every label is ignored; with "none" it is one number for each label.
Logits in 16 bits are first upcast to float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from roberta_core.input_validation import check_label_shape, check_labels, check_targets
from roberta_pt.weights import as_concrete

IGNORED = -100
LEAST = 1e-12  # by which a sum of weights is divided: that of ignored labels is 0


def token_loss(logits: Tensor, labels: Tensor, reduction: str = "mean", count: Tensor | int | None = None) -> Tensor:
    """Cross entropy of logits [..., K] and labels [...], -100 ignored; `count` replaces the number of kept labels."""
    check_label_shape("labels", labels.shape, logits.shape)
    if labels.is_floating_point():
        raise ValueError(f"labels has dtype {str(labels.dtype).removeprefix('torch.')}; class labels must be integers")
    check_labels("labels", as_concrete(labels), logits.shape[-1])
    losses = F.cross_entropy(_upcast(logits).flatten(0, -2), labels.long().flatten(), reduction="none")
    return _reduce(losses.view(labels.shape), labels != IGNORED, reduction, count)


def causal_loss(logits: Tensor, labels: Tensor, reduction: str = "mean", count: Tensor | int | None = None) -> Tensor:
    """Cross entropy of each position's logits [B, S, V] and the label [B, S] that comes after it."""
    check_label_shape("labels", labels.shape, logits.shape)
    return token_loss(logits[:, :-1], labels[:, 1:], reduction, count)


def sequence_loss(logits: Tensor, labels: Tensor, problem_type: str | None, reduction: str = "mean") -> Tensor:
    """The loss of logits [B, K] by problem type.

    Without one it is regression where K is 1, else one class where labels are integers [B] or [B, 1], else many
    labels.
    """
    problem_type = problem_type or infer_problem_type(labels, logits.shape[1])
    if problem_type == "single_label_classification":
        return token_loss(logits, labels.flatten(), reduction)
    check_targets(labels.shape, logits.shape)
    logits = _upcast(logits)
    targets = labels.to(logits.dtype).view(logits.shape)
    pointwise = F.mse_loss if problem_type == "regression" else F.binary_cross_entropy_with_logits
    losses = pointwise(logits, targets, reduction="none").mean(dim=1)  # [B]
    return _reduce(losses, torch.ones_like(losses), reduction)


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of losses: cross entropy by labels and weights [...], or binary cross entropy by [..., K]."""
    if weights.dim() == logits.dim():
        logits = _upcast(logits)
        losses = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
    else:
        losses = token_loss(logits, labels, "none")
    return (losses * weights).sum() / weights.sum().clamp(min=LEAST)


def infer_problem_type(labels: Tensor, classes: int) -> str:
    """The problem type that labels [B] or [B, K] show."""
    if classes == 1:
        return "regression"
    single = labels.shape[1:] in ((), (1,)) and not labels.is_floating_point()
    return "single_label_classification" if single else "multi_label_classification"


def span_loss(
    start_logits: Tensor, end_logits: Tensor, starts: Tensor | None, ends: Tensor | None, reduction: str = "mean"
) -> Tensor:
    """The mean of both cross entropies of logits [B, S] and positions [B]; a position outside [0, S) is ignored."""
    if starts is None or ends is None:
        raise ValueError("an answer has two ends: give start_positions and end_positions, or neither")
    losses = []
    for name, logits, positions in (("start", start_logits, starts), ("end", end_logits, ends)):
        if positions.is_floating_point():
            raise ValueError(
                f"{name}_positions has dtype {str(positions.dtype).removeprefix('torch.')}; positions must be integers"
            )
        positions = positions.flatten().long()
        inside = (positions >= 0) & (positions < logits.shape[1])
        losses.append(token_loss(logits, torch.where(inside, positions, IGNORED), reduction))
    return (losses[0] + losses[1]) / 2


def _upcast(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _reduce(losses: Tensor, kept: Tensor, reduction: str, count: Tensor | int | None = None) -> Tensor:
    if reduction == "none":
        if count is not None:
            raise ValueError("num_items_in_batch divides a sum, but with loss_reduction='none' there is none")
        return losses
    return losses.sum() / (kept.sum().clamp(min=1) if count is None else count)
