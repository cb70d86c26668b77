"""How well masked tokens are predicted: the one measure for models and for anything else that sees the same inputs.

Shapes: B batch, S sequence, M masked positions that are scored, V vocabulary. Only text is scored: `<s>` and `</s>` are
masked now and then too, but anyone can guess them.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from roberta_core.data.batches import IGNORED, Batch

# What is asked for the log-probabilities [M, V] at positions (rows [M], columns [M]) of masked ids [B, S].
Predictor = Callable[[Batch, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Score:
    """The mean negative log-probability (natural) of the true tokens, the share guessed right, how many they were."""

    loss: float
    accuracy: float
    count: int


def score(predict: Predictor, batches: Iterable[Batch], special: Collection[int]) -> Score:
    """Score a predictor on masked batches, positions whose label is a `special` id left out."""
    loss, correct, count = 0.0, 0, 0
    for batch in batches:
        labels = batch["masked_labels"]
        rows, places = np.nonzero((labels != IGNORED) & ~np.isin(labels, list(special)))
        if not len(rows):
            continue
        wanted = labels[rows, places]
        log_probabilities = predict(batch, rows, batch["masked_positions"][rows, places])
        loss -= float(log_probabilities[np.arange(len(rows)), wanted].sum())
        correct += int((log_probabilities.argmax(axis=1) == wanted).sum())
        count += len(rows)
    if not count:
        raise ValueError("no token of the texts is masked: there is nothing to score")
    if not np.isfinite(loss):
        raise ValueError(f"the loss of {count} tokens is {loss}")
    return Score(loss / count, correct / count, count)
