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
    found = metrics.tagging(gold, [["B-PER", "O", "O", "B-LOC"]])
    assert (found["precision"], found["recall"], found["f1"], found["accuracy"]) == (0.5, 0.5, 0.5, 0.75)
    assert metrics.tagging(gold, [["O"] * 4])["f1"] == 0.0


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
