"""Several labels for each text, and the weights of labels in the loss, from records to scores."""

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast
from roberta_core.data.records import DataError, Record, Skipped
from roberta_core.tasks import TASKS, metrics
from roberta_core.tasks.settings import TaskSettings

ROWS = [
    {"text": "a", "label": ["spam", "rude"]},
    {"text": "b", "label": []},
    {"text": "c", "label": ["rude"]},
    {"text": "d", "label": ["spam"]},
]


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


def build(tokenizer, rows, name="classification", columns=None, **settings):
    """A task that has learnt from the rows, their examples, and what was skipped."""
    task, skipped = TASKS[name](tokenizer, 32, TaskSettings(**settings), columns or {}), Skipped()
    records = [Record(row, f"F, line {number}") for number, row in enumerate(rows, 1)]
    return task, task.collect_examples(records, skipped, learn=True), skipped


def decode(task, examples, logits):
    features = task.build_features(examples)
    return task.decode(examples, features, [{"logits": np.array(row, np.float32)} for row in logits])


def test_lists_of_labels_make_a_multi_label_classification(tokenizer):
    task, examples, skipped = build(tokenizer, ROWS)
    assert skipped.count == 0
    assert task.labels == ("rude", "spam")
    assert task.config() == {"id2label": {0: "rude", 1: "spam"}, "problem_type": "multi_label_classification"}
    assert task.metric == "f1"
    assert task.describe() == "multi-label classification with 2 labels: rude, spam"
    batch = task.collate(task.build_features(examples))
    assert batch["labels"].dtype == np.float32
    assert batch["labels"].tolist() == [[1, 1], [0, 0], [1, 0], [0, 1]]
    predictions = decode(task, examples, [[2, 3], [-1, -2], [1, 1], [-1, 4]])
    values = [task.value_of(prediction) for prediction in predictions]
    assert values == [["rude", "spam"], [], ["rude", "spam"], ["spam"]]
    assert predictions[0].scores["spam"] == pytest.approx(1 / (1 + np.exp(-3)))
    scores = task.score(examples, values)
    assert scores == {"f1": pytest.approx(8 / 9), "f1_mean": pytest.approx((1 + 4 / 5) / 2), "accuracy": 0.75}
    assert task.score(examples, [task.expected(example) for example in examples])["accuracy"] == 1


def test_the_threshold_decides_which_labels_are_predicted(tokenizer):
    task, examples, _ = build(tokenizer, ROWS, threshold=0.9)
    assert task.value_of(decode(task, examples[:1], [[2, 3]])[0]) == ["spam"]
    with pytest.raises(ValueError, match=r"threshold is 1\.0; it must be between 0 and 1"):
        TaskSettings(threshold=1.0)


def test_columns_of_0_and_1_are_labels_in_their_order(tokenizer):
    rows = [
        {"body": "a", "spam": "1", "rude": "0"}, {"body": "b", "spam": 1, "rude": True},
        {"body": "c", "spam": 0.0, "rude": "maybe"}, {"body": "d", "spam": "no"},
    ]  # fmt: skip
    columns = {"text": "body", "label": "spam,rude"}
    task, examples, skipped = build(tokenizer, rows, columns=columns)
    assert task.labels == ("spam", "rude")
    assert [example.fields["label"] for example in examples] == [["spam"], ["spam", "rude"]]
    assert skipped.reasons == [
        "F, line 3: its column rude is 'maybe'; for one of several labels it must be 0 or 1",
        "F, line 4: no column for the field label (rude); the columns are body, spam",
    ]


def test_the_fewer_of_lists_and_single_labels_are_skipped_with_their_place(tokenizer):
    _, examples, skipped = build(tokenizer, [*ROWS, {"text": "e", "label": "rude"}])
    assert (len(examples), skipped.count) == (4, 1)
    assert skipped.reasons[0].startswith("F, line 5: its label 'rude' is not a list")
    single = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, ROWS[0]]
    task, examples, skipped = build(tokenizer, single)
    assert task.config()["problem_type"] == "single_label_classification"
    assert skipped.reasons[0].startswith("F, line 3: it has a list of labels")
    _, examples, skipped = build(tokenizer, single, problem="multi-label")
    assert (len(examples), skipped.count) == (3, 0)


@pytest.mark.parametrize(
    ("rows", "settings", "sentence"),
    [
        ([{"text": "a", "label": [1, 0, 0]}] * 2, {}, "no record"),
        ([{"text": "a", "label": ["x", "y"]}] * 2, {}, "a model needs at least two"),
        (ROWS, {"class_weights": "eggs=2"}, "class_weights names eggs, which no example has; the labels are rude"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(tokenizer, rows, settings, sentence):
    if sentence == "no record":
        _, examples, skipped = build(tokenizer, rows, **settings)
        assert not examples
        assert "its labels have '0' twice: list the names of its labels" in skipped.reasons[0]
        return
    with pytest.raises(DataError, match=sentence):
        build(tokenizer, rows, **settings)


def test_a_multi_label_checkpoint_scores_data_with_lists_or_single_labels(tokenizer):
    learned, _, _ = build(tokenizer, ROWS)
    task, skipped = TASKS["classification"](tokenizer, 32), Skipped()
    task.read_config(RobertaConfig(**learned.config()))
    rows = [*ROWS, {"text": "e", "label": "rude"}, {"text": "f", "label": ["eggs"]}]
    examples = task.collect_examples([Record(row, "G") for row in rows], skipped)
    assert [task.expected(example) for example in examples][-1] == ["rude"]
    assert skipped.reasons == ["G: its labels eggs are unknown; the known labels are rude, spam"]


def test_balance_gives_every_label_the_same_weight_in_the_loss(tokenizer):
    rows = [{"text": f"{n}", "label": "rare" if n == 0 else "usual"} for n in range(4)]
    task, examples, _ = build(tokenizer, rows, balance=True)
    assert task.weights == {"rare": 2.0, "usual": pytest.approx(2 / 3)}
    assert task.describe().endswith("; weights rare 2, usual 0.667")
    batch = task.collate(task.build_features(examples))
    totals = {label: batch["label_weights"][batch["labels"] == k].sum() for k, label in enumerate(task.labels)}
    assert totals["rare"] == pytest.approx(totals["usual"])
    several, examples, _ = build(tokenizer, [*ROWS, {"text": "e", "label": []}], balance=True)
    batch = several.collate(several.build_features(examples))
    present = batch["labels"] == 1
    assert several.weights == {"rude": 1.5, "spam": 1.5}
    for k in range(2):
        column = batch["label_weights"][:, k]
        assert column[present[:, k]].sum() == pytest.approx(column[~present[:, k]].sum())


def test_weights_of_words_follow_their_labels_and_padding_has_none(tokenizer):
    rows = [
        {"tokens": ["the", "doorway"], "labels": ["O", "B-x"]},
        {"tokens": ["a", "b", "c"], "labels": ["O", "O", "O"]},
    ]
    task, examples, _ = build(tokenizer, rows, "tagging", class_weights="B-x=5")
    batch = task.collate(task.build_features(examples))
    labels, weights = batch["labels"], batch["label_weights"]
    assert weights.dtype == np.float32
    assert (weights[labels == -100] == 0).all()
    assert (weights[labels == task.labels.index("B-x")] == 5).all()
    assert (weights[labels == task.labels.index("O")] == 1).all()
    assert (labels >= 0).sum() == 5


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("classification", [{"text": "a", "label": 1.5}, {"text": "b", "label": 2.5}]),
        ("multiple-choice", [{"context": "a", "choices": ["b", "c"], "label": 0}]),
    ],
)
def test_weights_need_labels_of_classes(tokenizer, name, rows):
    with pytest.raises(DataError, match="balance and class_weights need labels of classes"):
        build(tokenizer, rows, name, balance=True)


@pytest.mark.parametrize("text", ["x", "x=", "x=-1", "x=nan", "=2", "x=1,y"])
def test_malformed_weights_are_refused(text):
    with pytest.raises(ValueError, match="write LABEL=WEIGHT"):
        TaskSettings(class_weights=text)
    with pytest.raises(ValueError, match="specify it or class_weights, not both"):
        TaskSettings(class_weights="x=1", balance=True)


def test_scores_of_several_labels_against_values_worked_out_by_hand():
    gold, predicted = [["a"], ["a", "b"], [], ["b"]], [["a"], ["b"], ["b"], []]
    found = metrics.multi_label(gold, predicted, ("a", "b"))
    assert found == {"f1": pytest.approx(4 / 7), "f1_mean": pytest.approx((2 / 3 + 1 / 2) / 2), "accuracy": 0.25}
    assert metrics.multi_label([[]], [[]], ("a", "b")) == {"f1": 0.0, "f1_mean": 0.0, "accuracy": 1.0}
