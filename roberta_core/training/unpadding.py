"""Which tokens of a padded batch a training step computes: padding costs as much as text, and changes nothing.

Shapes: B batch, C choices, S sequence, K masked positions at most, R rows, the tokens that are computed.
"""

from collections.abc import Callable, Collection, Iterable

import numpy as np

from roberta_core.data.batches import IGNORED, Batch

FILES = ("models", "encoder", "layers", "heads")  # of each package, with the layers of the published classes
METHODS = ("forward", "call", "__call__", "attend")
SPAN_TARGETS = ("start_positions", "end_positions")


def find_rows(batch: Batch, round_up: Callable[[int], int] = int) -> np.ndarray | None:
    """Find the tokens that the loss of a batch depends on.

    Args:
        batch: the inputs with a mask [B, S] or [B, C, S], and the labels.
        round_up: returns R for the number of those tokens; padding fills them up, as far as there is some.

    Returns:
        Their places [R] among all B*S (or B*C*S), in order; None if that is all tokens, or may be: if the batch has no
        ids or no mask of their shape, if the first token of a sequence is hidden, which then may attend to padding, or
        if the loss depends on padding too: the probabilities of an answer's ends cover the whole row.
    """
    ids, mask = batch.get("input_ids"), batch.get("attention_mask")
    if ids is None or mask is None or ids.shape != mask.shape or any(name in batch for name in SPAN_TARGETS):
        return None
    visible = mask.reshape(-1, mask.shape[-1]) != 0
    if visible.all() or not visible[:, 0].all():
        return None
    wanted = (visible | _find_labelled(batch, visible.shape)).reshape(-1)
    count = int(wanted.sum())
    wanted[np.flatnonzero(~wanted)[: round_up(count) - count]] = True
    return None if wanted.all() else np.flatnonzero(wanted)


def has_only_own_layers(kinds: Iterable[type], package: str, containers: Collection[type] = ()) -> bool:
    """Return whether a model has no layer or method of a user: what that reads is not known, it may be padding.

    Args:
        kinds: the types of the model and all its layers.
        package: the package of the published classes, such as "roberta_pt".
        containers: further types, which compute nothing from several tokens.
    """
    own = {f"{package}.{name}" for name in FILES}
    return all(kind in containers or (kind.__module__ in own and not _is_patched(kind)) for kind in kinds)


def _is_patched(kind: type) -> bool:
    """Return whether someone replaced a method that computes."""
    methods = [vars(kind)[name] for name in METHODS if name in vars(kind)]
    return any(method.__module__ != kind.__module__ for method in methods)


def _find_labelled(batch: Batch, shape: tuple[int, ...]) -> np.ndarray:
    """Return which tokens [B, S] a head reads, whether they are visible or not."""
    found = np.zeros(shape, bool)
    labels = batch.get("labels")
    if labels is not None and labels.shape == shape:
        kept = labels != IGNORED
        found |= kept
        found[:, :-1] |= kept[:, 1:]  # a causal model predicts the next token
    if "masked_labels" in batch:
        rows, places = np.nonzero(batch["masked_labels"] != IGNORED)
        found[rows, batch["masked_positions"][rows, places]] = True
    return found
