"""The metrics of tasks, compared with values computed by hand."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest

from roberta_core.tasks import metrics


def test_classification_has_accuracy_f1_and_matthews():
    found = metrics.classification(["1", "1", "0", "0"], ["1", "0", "0", "0"], ("0", "1"))
    assert found["accuracy"] == 0.75
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["matthews"] == pytest.approx((1 * 2 - 0 * 1) / math.sqrt(1 * 2 * 2 * 3))


def test_regression_has_correlations_and_no_warning_for_a_constant():
    found = metrics.regression([1.0, 2.0, 3.0], [1.0, 2.0, 9.0])
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(8 / math.sqrt(2 * 38))
    assert metrics.regression([1.0, 2.0], [3.0, 3.0]) == {"pearson": 0.0, "spearman": 0.0, "squared_error": 2.5}


def test_tagging_counts_complete_entities():
    gold = [["B-PER", "I-PER", "O", "B-LOC"]]
    labels = ("O", "B-PER", "I-PER", "B-LOC")
    found = metrics.tagging(gold, [["B-PER", "O", "O", "B-LOC"]], labels)
    assert (found["precision"], found["recall"], found["f1"], found["accuracy"]) == (0.5, 0.5, 0.5, 0.75)
    assert metrics.tagging(gold, [["O"] * 4], labels)["f1"] == 0.0


def test_part_of_speech_tags_are_scored_by_words_and_not_as_entities():
    found = metrics.tagging([["ADP", "OTHER", "X"]], [["ADP", "OBJ", "X"]], ("ADP", "OBJ", "OTHER", "X"))
    assert found == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 4)}
    assert metrics.tagging([["1", "0"]], [["1", "0"]], ("0", "1")) == {"accuracy": 1.0, "f1": 1.0}


def test_entities_of_the_bilou_scheme_are_counted_too():
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
def test_answers_are_normalised_as_in_squad(answers, given, exact, f1):
    found = metrics.answering([answers], [given])
    assert found == {"exact_match": exact, "f1": pytest.approx(f1)}


def test_metrics_need_no_library():
    code = (
        "import sys; sys.modules |= dict.fromkeys(['sklearn', 'scipy', 'seqeval'])\n"
        "from roberta_core.tasks import metrics\n"
        "metrics.classification(['a'], ['b'], ['a', 'b']); metrics.regression([1.0], [2.0])\n"
        "metrics.tagging([['O']], [['B-x']], ['O', 'B-x']); metrics.choice([1], [1])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_classification_agrees_with_scikit_learn(size):
    measures = pytest.importorskip("sklearn.metrics")
    generator, labels = np.random.default_rng(size), [f"l{number}" for number in range(size)]
    for rows in (1, 4, 50):
        gold, given = ([labels[k] for k in generator.integers(size, size=rows)] for _ in range(2))
        found = metrics.classification(gold, given, labels)
        average = {"average": "binary", "pos_label": labels[1]} if size == 2 else {"average": "macro"}
        assert found["accuracy"] == pytest.approx(measures.accuracy_score(gold, given))
        assert found["f1"] == pytest.approx(measures.f1_score(gold, given, labels=labels, zero_division=0, **average))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single label
            assert found["matthews"] == pytest.approx(measures.matthews_corrcoef(gold, given))


def test_regression_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    for rows in (3, 10, 200):
        gold, given = generator.integers(5, size=rows) + np.arange(rows) % 2, generator.normal(size=rows).round(1)
        found = metrics.regression(gold.tolist(), given.tolist())
        assert found["pearson"] == pytest.approx(stats.pearsonr(gold, given).statistic)
        assert found["spearman"] == pytest.approx(stats.spearmanr(gold, given).statistic)


@pytest.mark.parametrize("prefixes", ["BI", "I", "BIES", "BIE", "S"])
def test_entities_agree_with_seqeval(prefixes):
    measures = pytest.importorskip("seqeval.metrics")
    generator = np.random.default_rng(0)
    labels = ["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("A", "B"))]
    draw = lambda: [[labels[k] for k in generator.integers(len(labels), size=size)] for size in (1, 5, 20, 60)]  # noqa: E731
    for _ in range(20):
        gold, given = draw(), draw()
        found = metrics.tagging(gold, given, labels)
        for name, function in (("f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
            assert found[name] == pytest.approx(getattr(measures, function)(gold, given, zero_division=0)), name
        assert found["accuracy"] == pytest.approx(measures.accuracy_score(gold, given))
