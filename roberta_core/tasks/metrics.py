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
PUNCTUATION = str.maketrans("", "", string.punctuation)


def library(name: str) -> Any:
    """A module of a library of the extra `train`; `ValueError` says how to come by it."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(f"the scores need {name.split('.')[0]}: pip install 'triberta[train]'") from None


def classification(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, F1 (of two labels that of the second, else the mean over labels) and Matthews' correlation."""
    measures = library("sklearn.metrics")
    average = {"average": "binary", "pos_label": labels[1]} if len(labels) == 2 else {"average": "macro"}
    return {
        "accuracy": float(measures.accuracy_score(gold, predicted)),
        "f1": float(measures.f1_score(gold, predicted, labels=list(labels), zero_division=0.0, **average)),
        "matthews": float(measures.matthews_corrcoef(gold, predicted)),
    }


def regression(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Pearson's and Spearman's correlation, 0 where a side is constant; and the mean squared error."""
    stats = library("scipy.stats")
    error = float(np.mean((np.asarray(gold) - np.asarray(predicted)) ** 2))
    if np.ptp(gold) == 0 or np.ptp(predicted) == 0:
        return {"pearson": 0.0, "spearman": 0.0, "squared_error": error}
    return {
        "pearson": float(stats.pearsonr(gold, predicted).statistic),
        "spearman": float(stats.spearmanr(gold, predicted).statistic),
        "squared_error": error,
    }


def tagging(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities as seqeval counts them (CoNLL's way), and the accuracy of words."""
    measures = library("seqeval.metrics")
    lists = [list(map(list, labels)) for labels in (gold, predicted)]
    return {
        name: float(getattr(measures, function)(*lists, **settings))
        for name, function, settings in (
            ("f1", "f1_score", {"zero_division": 0}),
            ("precision", "precision_score", {"zero_division": 0}),
            ("recall", "recall_score", {"zero_division": 0}),
            ("accuracy", "accuracy_score", {}),
        )
    }


def choice(gold: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """Accuracy."""
    return {"accuracy": float(library("sklearn.metrics").accuracy_score(gold, predicted))}


def answering(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
    """Exact match and F1, shares of 1, of the best of each question's answers; none at all means that it has none."""
    exact, overlap = [], []
    for answers, answer in zip(gold, predicted, strict=True):
        wanted = [words(text) for text in answers]
        wanted = [text for text in wanted if text] or [[]]
        given = words(answer)
        exact.append(max(given == text for text in wanted))
        overlap.append(max(_overlap(text, given) for text in wanted))
    return {"f1": float(np.mean(overlap)), "exact_match": float(np.mean(exact))}


def words(text: str) -> list[str]:
    """A text's words as SQuAD compares them: lower case, without punctuation and articles."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def _overlap(wanted: list[str], given: list[str]) -> float:
    """F1 of words; of no words it is 1 where the other has none either."""
    if not wanted or not given:
        return float(wanted == given)
    shared = sum((Counter(wanted) & Counter(given)).values())
    return 2 * shared / (len(wanted) + len(given)) if shared else 0.0


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
