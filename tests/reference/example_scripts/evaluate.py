"""Stand-in for the package `evaluate`, which loads its metrics from the Hub: the same results, in NumPy."""

from collections import Counter
from typing import Any

import numpy as np


class Metric:
    """A metric that collects predictions and references."""

    def __init__(self, measure: Any) -> None:
        self.measure = measure
        self.rows: tuple[list[Any], list[Any]] = ([], [])

    def add_batch(self, *, predictions: Any, references: Any) -> None:
        """Collect a batch."""
        for rows, new in zip(self.rows, (predictions, references), strict=True):
            rows.extend(new)

    def compute(self, predictions: Any = None, references: Any = None) -> dict[str, Any]:
        """Return the results of the collected rows, or of the given ones."""
        if predictions is not None:
            self.add_batch(predictions=predictions, references=references)
        rows, self.rows = self.rows, ([], [])
        assert len(rows[0]) == len(rows[1])
        assert rows[0], "there is nothing to evaluate"
        return self.measure(*rows)


def measure_accuracy(predictions: Any, references: Any) -> dict[str, float]:
    """Return the share of equal labels."""
    return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


def measure_error(predictions: Any, references: Any) -> dict[str, float]:
    """Return the mean squared error."""
    return {"mse": float(np.mean(np.square(np.subtract(predictions, references))))}


def measure_entities(predictions: Any, references: Any) -> dict[str, float]:
    """Return precision, recall and F1 of entities in BIO tags, and the accuracy of tags."""
    found, expected = (
        {(row, *entity) for row, tags in enumerate(given) for entity in find_entities(tags)}
        for given in (predictions, references)
    )
    hits = len(found & expected)
    pairs = [
        pair for given, tags in zip(predictions, references, strict=True) for pair in zip(given, tags, strict=True)
    ]
    return {
        "overall_precision": hits / max(len(found), 1),
        "overall_recall": hits / max(len(expected), 1),
        "overall_f1": 2 * hits / max(len(found) + len(expected), 1),
        "overall_accuracy": sum(one == other for one, other in pairs) / len(pairs),
    }


def find_entities(tags: list[str]) -> list[tuple[int, int, str]]:
    """Return the entities of BIO tags: first token, token after the last, type."""
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(tags):
        kind = tag[2:]
        if tag.startswith("I-") and found and found[-1][1:] == (place, kind):
            found[-1] = (found[-1][0], place + 1, kind)
        elif tag != "O":
            found.append((place, place + 1, kind))
    return found


def measure_answers(predictions: Any, references: Any) -> dict[str, float]:
    """Return the share of exact answers and the F1 of their words, in percent."""
    exact, overlap = [], []
    for given, reference in zip(predictions, references, strict=True):
        assert given["id"] == reference["id"]
        answer, texts = given["prediction_text"], reference["answers"]["text"]
        exact.append(max(answer == text for text in texts))
        overlap.append(max(measure_overlap(answer.split(), text.split()) for text in texts))
    return {"exact_match": 100 * float(np.mean(exact)), "f1": 100 * float(np.mean(overlap))}


def measure_overlap(words: list[str], reference: list[str]) -> float:
    """Return the F1 of words."""
    common = sum((Counter(words) & Counter(reference)).values())
    return 2 * common / (len(words) + len(reference)) if common else 0.0


METRICS = {
    "accuracy": measure_accuracy,
    "glue": measure_accuracy,
    "mse": measure_error,
    "seqeval": measure_entities,
    "squad": measure_answers,
}


def load(name: str, config_name: str | None = None, **options: Any) -> Metric:
    """Return a metric by its name."""
    return Metric(METRICS[name])
