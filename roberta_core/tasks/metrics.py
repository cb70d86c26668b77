"""Metrics of every task: from the libraries that define them, SQuAD's by the definition of its authors.

scikit-learn, scipy and seqeval come with the extra `train` and are imported when a metric needs them.

Shapes: B batch, S sequence, M masked positions that are scored, V vocabulary.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from roberta_core.data.batches import IGNORED, Batch

ARTICLES = re.compile(r"\b(a|an|the)\b")
IOBES = {"U-": "S-", "L-": "E-", "M-": "I-"}
ENTITY = re.compile(r"[BIESLUM]-.")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def library(name: str) -> Any:
    """Return a module of the extra `train`; raise `ValueError` with what to install if it is missing."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(f"the scores need {name.split('.')[0]}: pip install 'triberta[train]'") from None


def classification(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Return accuracy, F1 (with two labels that of the second, else the mean over labels) and Matthews' correlation."""
    measures = library("sklearn.metrics")
    average = {"average": "binary", "pos_label": labels[1]} if len(labels) == 2 else {"average": "macro"}
    return {
        "accuracy": float(measures.accuracy_score(gold, predicted)),
        "f1": float(measures.f1_score(gold, predicted, labels=list(labels), zero_division=0.0, **average)),
        "matthews": float(measures.matthews_corrcoef(gold, predicted)),
    }


def regression(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Return Pearson's and Spearman's correlation, 0 where a side is constant; and the mean squared error."""
    stats = library("scipy.stats")
    error = float(np.mean((np.asarray(gold) - np.asarray(predicted)) ** 2))
    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return {"pearson": 0.0, "spearman": 0.0, "squared_error": error}
    return {
        "pearson": float(stats.pearsonr(gold, predicted).statistic),
        "spearman": float(stats.spearmanr(gold, predicted).statistic),
        "squared_error": error,
    }


def marks_entities(labels: Iterable[str]) -> bool:
    """Whether all labels but `O` have the prefix of a scheme that marks entities (IOB, IOBES, BILOU)."""
    return all(label == "O" or ENTITY.match(label) for label in labels)


def tagging(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], labels: Sequence[str]
) -> dict[str, float]:
    """Return F1, precision and recall of entities as seqeval counts them (CoNLL's way), and the accuracy of words.

    If the labels do not mark entities, such as parts of speech, F1 is the mean over the labels of words.
    """
    if not marks_entities(labels):
        flat = [[label for sentence in sentences for label in sentence] for sentences in (gold, predicted)]
        measures = library("sklearn.metrics")
        return {
            "accuracy": float(measures.accuracy_score(*flat)),
            "f1": float(measures.f1_score(*flat, average="macro", zero_division=0.0)),
        }
    measures = library("seqeval.metrics")
    lists = [[[_as_iobes(label) for label in sentence] for sentence in sentences] for sentences in (gold, predicted)]
    return {
        name: float(getattr(measures, function)(*lists, **settings))
        for name, function, settings in (
            ("f1", "f1_score", {"zero_division": 0}),
            ("precision", "precision_score", {"zero_division": 0}),
            ("recall", "recall_score", {"zero_division": 0}),
            ("accuracy", "accuracy_score", {}),
        )
    }


def _as_iobes(label: str) -> str:
    """Return a label of the BILOU scheme, which seqeval does not know, with IOBES's prefix."""
    return IOBES.get(label[:2], label[:2]) + label[2:]


def choice(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Return the accuracy."""
    return {"accuracy": float(library("sklearn.metrics").accuracy_score(gold, predicted))}


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


LOWER_IS_BETTER = ("squared_error", "loss")


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
    """Score a predictor on masked batches, positions whose label is a `special` id left out."""
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
