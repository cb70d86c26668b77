"""Which tokens of a padded batch a training step computes: padding costs as much as text, and changes nothing.

Shapes: B batch, C choices, S sequence, K masked positions at most, R rows, the tokens that are computed.
"""

from collections.abc import Callable

import numpy as np

from roberta_core.data.batches import IGNORED, Batch

SPAN_TARGETS = ("start_positions", "end_positions")


def find_rows(batch: Batch, round_up: Callable[[int], int] = int) -> np.ndarray | None:
    """Find the tokens that the loss of a batch depends on.

    Args:
        batch: the inputs with a mask [B, S] or [B, C, S], and the labels.
        round_up: returns R for the number of those tokens; padding fills them up, as far as there is some.

    Returns:
        Their places [R] among all B*S (or B*C*S), in order; None if that is all tokens, if a sequence has no visible
        token, or if the loss depends on padding too: the probabilities of an answer's ends cover the whole row.
    """
    if any(name in batch for name in SPAN_TARGETS):
        return None
    length = batch["attention_mask"].shape[-1]
    visible = batch["attention_mask"].reshape(-1, length) != 0
    if visible.all() or not visible.any(axis=1).all():
        return None
    wanted = (visible | _find_labelled(batch, visible.shape)).reshape(-1)
    count = int(wanted.sum())
    wanted[np.flatnonzero(~wanted)[: round_up(count) - count]] = True
    return None if wanted.all() else np.flatnonzero(wanted)


def _find_labelled(batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    """Return which tokens [B, S] a head reads, whether they are visible or not."""
    found = np.zeros(shape, bool)
    found[:, 0] = True  # the token that stands for the sequence
    labels = batch.get("labels")
    if labels is not None and labels.shape == shape:
        kept = labels != IGNORED
        found |= kept
        found[:, :-1] |= kept[:, 1:]  # a causal model predicts the next token
    if "masked_labels" in batch:
        rows, places = np.nonzero(batch["masked_labels"] != IGNORED)
        found[rows, batch["masked_positions"][rows, places]] = True
    return found
