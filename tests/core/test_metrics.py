"""The measures of tasks, against values worked out by hand."""

import math
import sys

import pytest

from roberta_core.tasks import metrics


def test_classification_has_accuracy_f1_and_matthews():
    pytest.importorskip("sklearn")
    found = metrics.classification(["1", "1", "0", "0"], ["1", "0", "0", "0"], ("0", "1"))
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["matthews"] == pytest.approx((1 * 2 - 0 * 1) / math.sqrt(1 * 2 * 2 * 3))


def test_regression_has_correlations_and_no_warning_for_a_constant():
    pytest.importorskip("scipy")
    found = metrics.regression([1.0, 2.0, 3.0], [1.0, 2.0, 9.0])
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(8 / math.sqrt(2 * 38))
    assert metrics.regression([1.0, 2.0], [3.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0, "squared_error": 2.5}


def test_tagging_counts_whole_entities():
    pytest.importorskip("seqeval")
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    found = metrics.tagging(gold, [["B-PER", "O", "O", "B-LOC"]], labels)
    assert (found["precision"], found["recall"], found["f1"], found["accuracy"]) == (0.5, 0.5, 0.5, 0.75)
    assert metrics.tagging(gold, [["O"] * 4], labels)["f1"] == 0.0


def test_parts_of_speech_are_scored_by_words_and_not_as_entities():
    pytest.importorskip("sklearn")
    found = metrics.tagging([["ADP", "OTHER", "X"]], [["ADP", "OBJ", "X"]], ("ADP", "OBJ", "OTHER", "X"))
    assert found == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 4)}
    assert metrics.tagging([["1", "0"]], [["1", "0"]], ("0", "1")) == {"accuracy": 1.0, "f1": 1.0}


def test_entities_of_the_bilou_scheme_are_counted_too():
    pytest.importorskip("seqeval")
    labels = ("O", "B-A", "I-A", "L-A", "U-B")
    gold = [["U-B", "O", "B-A", "I-A", "L-A"]]
    assert metrics.tagging(gold, [["O", "O", "B-A", "I-A", "L-A"]], labels)["recall"] == 0.5
    assert metrics.tagging(gold, gold, labels)["f1"] == 1.0


@pytest.mark.parametrize(
    ("name", "value", "best", "better"),
    [
        ("accuracy", 0.6, 0.5, True), ("accuracy", 0.5, 0.6, False), ("accuracy", 0.5, 0.5, False),
        ("squared_error", 0.5, 0.6, True), ("squared_error", 0.6, 0.5, False), ("loss", 1.0, 2.0, True),
        ("f1", 0.1, math.nan, True), ("f1", math.nan, 0.1, False),
    ],
)  # fmt: skip
def test_every_metric_has_its_direction(name, value, best, better):
    assert metrics.is_better(name, value, best) is better


@pytest.mark.parametrize(
    ("answers", "given", "exact", "f1"),
    [
        (["the Denver Broncos"], "Denver Broncos!", 1, 1),
        (["Broncos", "Denver Broncos"], "the denver", 0, 2 / 3),
        (["a b c"], "x", 0, 0),
        ([], "", 1, 1),
        ([], "x", 0, 0),
        (["x x y"], "x y y", 0, 2 / 3),
    ],
)
def test_answers_are_compared_as_squad_does(answers, given, exact, f1):
    found = metrics.answering([answers], [given])
    assert found == {"exact_match": exact, "f1": pytest.approx(f1)}


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(ValueError, match=r"the scores need sklearn: pip install 'triberta\[train\]'"):
        metrics.choice([1], [1])
