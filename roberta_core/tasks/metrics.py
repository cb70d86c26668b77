"""Metrics of every task, in NumPy: as scikit-learn, SciPy and seqeval define them, SQuAD's as its authors do.

Shapes: B batch, S sequence, K labels, M masked positions that are scored, V vocabulary.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.data.batches import IGNORED, Batch
from roberta_core.tasks.entities import group_entities, marks_entities

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
LOWER_IS_BETTER = ("squared_error", "loss")


def classification(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Return accuracy, F1 (with two labels that of the second, else the mean over labels) and Matthews' correlation."""
    counts = count_confusions(gold, predicted, labels)
    scores = [f1(counts[k, k], counts[:, k].sum(), counts[k].sum()) for k in range(len(labels))]
    return {
        "accuracy": accuracy(gold, predicted),
        "f1": scores[1] if len(labels) == 2 else float(np.mean(scores)),
        "matthews": matthews(counts),
    }


def multi_label(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Sequence[str]
) -> dict[str, float]:
    """Return F1 over all decisions, its mean over the labels, and the share of examples with exactly their labels."""
    right, given, expected = (
        np.array([sum(label in found for found in sets) for label in labels])
        for sets in ([set(a) & set(b) for a, b in zip(gold, predicted, strict=True)], predicted, gold)
    )
    each = [f1(*counts) for counts in zip(right, given, expected, strict=True)]
    return {
        "f1": f1(right.sum(), given.sum(), expected.sum()),
        "f1_mean": float(np.mean(each)),
        "accuracy": accuracy([set(one) for one in gold], [set(one) for one in predicted]),
    }


def count_confusions(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return how often each label was given where each was right: [K right, K given]."""
    numbers = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, ([numbers[label] for label in gold], [numbers[label] for label in predicted]), 1)
    return counts


def accuracy(gold: Sequence[Any], predicted: Sequence[Any]) -> float:
    """Return the share of equal pairs."""
    return float(np.mean([right == given for right, given in zip(gold, predicted, strict=True)]))


def f1(right: float, given: float, expected: float) -> float:
    """Return the harmonic mean of precision `right / given` and recall `right / expected`; 0 if both are 0."""
    return float(2 * right / (given + expected)) if right else 0.0


def matthews(counts: np.ndarray) -> float:
    """Return the correlation of K labels (Gorodkin 2004) from their confusions; 0 if a side is constant."""
    total, right, given, expected = counts.sum(), np.trace(counts), counts.sum(axis=0), counts.sum(axis=1)
    spread = float(total**2 - (given**2).sum()) * float(total**2 - (expected**2).sum())
    return float((total * right - (given * expected).sum()) / np.sqrt(spread)) if spread else 0.0


def regression(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation, 0 where a side is constant; and the mean squared error."""
    right, given = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    return {
        "pearson": correlation(right, given),
        "spearman": correlation(rank(right), rank(given)),
        "squared_error": float(np.mean((right - given) ** 2)),
    }


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation; 0 if a side is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.clip(np.corrcoef(first, second)[0, 1], -1, 1))


def rank(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values, equal ones sharing the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def tagging(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, float]:
    """Return F1, precision and recall of entities, and the accuracy of words.

    If the labels do not mark entities, such as parts of speech, F1 is the mean over the labels that occur.
    """
    words = [[label for sentence in sentences for label in sentence] for sentences in (gold, predicted)]
    if not marks_entities(labels):
        occurring = sorted({*words[0], *words[1]})
        counts = count_confusions(words[0], words[1], occurring)
        scores = [f1(counts[k, k], counts[:, k].sum(), counts[k].sum()) for k in range(len(occurring))]
        return {"accuracy": accuracy(*words), "f1": float(np.mean(scores))}
    expected, given = (
        {(number, *entity) for number, sentence in enumerate(sentences) for entity in group_entities(sentence)}
        for sentences in (gold, predicted)
    )
    right = len(expected & given)
    return {
        "f1": f1(right, len(given), len(expected)),
        "precision": right / len(given) if given else 0.0,
        "recall": right / len(expected) if expected else 0.0,
        "accuracy": accuracy(*words),
    }


def choice(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Return the accuracy."""
    return {"accuracy": accuracy(gold, predicted)}


def answering(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Return exact match and F1 (0 to 1) against the best of each question's answers; no answers: it has none."""
    exact, overlap = [], []
    for answers, answer in zip(gold, predicted, strict=True):
        expected = [words(text) for text in answers]
        expected = [text for text in expected if text] or [[]]
        given = words(answer)
        exact.append(max(given == text for text in expected))
        overlap.append(max(_overlap(text, given) for text in expected))
    return {"f1": float(np.mean(overlap)), "exact_match": float(np.mean(exact))}


def words(text: str) -> list[str]:
    """Return a text's words as SQuAD compares them: lower case, without punctuation and articles."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def _overlap(expected: list[str], given: list[str]) -> float:
    """Return the F1 of words; without words it is 1 if the other has none either."""
    if not expected or not given:
        return float(expected == given)
    shared = sum((Counter(expected) & Counter(given)).values())
    return 2 * shared / (len(expected) + len(given)) if shared else 0.0


# What is asked for the log-probabilities [M, V] at positions (rows [M], columns [M]) of masked ids [B, S].
Predictor = Callable[[Batch, np.ndarray, np.ndarray], np.ndarray]


def is_better(name: str, value: float, best: float) -> bool:
    """Whether a value of a metric is better than the best one so far; any number is better than none (NaN)."""
    if np.isnan(value) or np.isnan(best):
        return bool(np.isnan(best)) and not np.isnan(value)
    return value < best if name in LOWER_IS_BETTER else value > best


@dataclass(frozen=True)
class Score:
    """The mean negative log-probability (natural) of the true tokens, the share guessed right, how many they were."""

    loss: float
    accuracy: float
    count: int


def score(predict: Predictor, batches: Iterable[Batch], special: Collection[int]) -> Score:
    """Score a predictor on masked batches, skipping positions whose label is a `special` id."""
    loss, correct, count = 0.0, 0, 0
    for batch in batches:
        labels = batch["masked_labels"]
        rows, places = np.nonzero((labels != IGNORED) & ~np.isin(labels, list(special)))
        if not len(rows):
            continue
        expected = labels[rows, places]
        log_probabilities = predict(batch, rows, batch["masked_positions"][rows, places])
        loss -= float(log_probabilities[np.arange(len(rows)), expected].sum())
        correct += int((log_probabilities.argmax(axis=1) == expected).sum())
        count += len(rows)
    if not count:
        raise ValueError("no token of the texts is masked: there is nothing to score")
    if not np.isfinite(loss):
        raise ValueError(f"the loss of {count} tokens is {loss}")
    return Score(loss / count, correct / count, count)
