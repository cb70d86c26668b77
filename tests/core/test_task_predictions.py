"""Predictions of every task from records without labels, with a NumPy backend."""

from types import SimpleNamespace

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast
from roberta_core.data.records import DataError, Record, Skipped
from roberta_core.tasks import TASKS, FillMask, base
from roberta_core.tasks.entities import group_entities

LENGTH = 64


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


class Backend:
    """A backend whose outputs are a function of `input_ids`; records the inputs of every call."""

    def __init__(self, outputs):
        self.outputs, self.calls = outputs, []

    def run(self, model, inputs):
        assert set(inputs) == {"input_ids", "attention_mask"}
        self.calls.append(inputs)
        return self.outputs(inputs["input_ids"])


def predict(task, outputs, rows, budget=None):
    records = (Record(row, f"row {number}") for number, row in enumerate(rows))
    return list(task.predict(Backend(outputs), None, task.read_examples(records), budget))


def test_texts_are_classified_in_order_with_every_budget(tokenizer):
    task = TASKS["classification"](tokenizer, LENGTH)
    task.read_config(RobertaConfig(id2label={0: "short", 1: "long"}))
    rows = [{"text": "word " * count} for count in (3, 90, 1, 20)]

    def outputs(ids):
        counts = (ids != tokenizer.pad_token_id).sum(1)
        return {"logits": np.stack([np.full(len(ids), 10.0), counts], 1)}

    for budget in (1, 100, 10_000, None):
        found = predict(task, outputs, rows, budget)
        assert [(one.label, one.truncated) for one in found] == [
            ("short", False), ("long", True), ("short", False), ("long", False),
        ]  # fmt: skip


def test_a_text_is_tagged_with_entities_and_their_characters(tokenizer):
    task = TASKS["tagging"](tokenizer, LENGTH)
    task.read_config(RobertaConfig(id2label={0: "O", 1: "B-PER", 2: "I-PER"}))
    names = {word: tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in ("Yokohama", "Tokyo")}

    def outputs(ids):
        logits = np.zeros((*ids.shape, 3))
        logits[..., 1] = 9.0 * (ids == names["Yokohama"])
        logits[..., 2] = 9.0 * (ids == names["Tokyo"])
        return {"logits": logits}

    text = "He saw Yokohama Tokyo, yesterday."
    (found,) = predict(task, outputs, [{"text": text}])
    assert found.words == ("He", "saw", "Yokohama", "Tokyo", ",", "yesterday", ".")
    assert found.labels == ("O", "O", "B-PER", "I-PER", "O", "O", "O")
    (entity,) = found.entities
    assert (entity.label, entity.text, entity.words, entity.span) == ("PER", "Yokohama Tokyo", (2, 4), (7, 21))
    assert entity.score == pytest.approx(np.exp(9) / (np.exp(9) + 2))
    (found,) = predict(task, outputs, [{"tokens": ["Tokyo", "Yokohama"]}])
    assert [(one.text, one.words, one.span) for one in found.entities] == [
        ("Tokyo", (0, 1), None), ("Yokohama", (1, 2), None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "entities"),
    [
        ("B-A I-A O B-A B-A", [("A", 0, 2), ("A", 3, 4), ("A", 4, 5)]),
        ("I-A I-A I-B", [("A", 0, 2), ("B", 2, 3)]),
        ("B-A I-B O I-B", [("A", 0, 1), ("B", 1, 2), ("B", 3, 4)]),
        ("S-A B-B I-B E-B U-A", [("A", 0, 1), ("B", 1, 4), ("A", 4, 5)]),
        ("NOUN NOUN O", [("NOUN", 0, 1), ("NOUN", 1, 2)]),
        ("B-part-of I-part-of", [("part-of", 0, 2)]),
    ],
)
def test_labels_make_entities(labels, entities):
    assert group_entities(labels.split()) == entities


def test_a_question_is_answered_with_the_characters_of_the_context(tokenizer):
    task = TASKS["question-answering"](tokenizer, LENGTH)
    context = "The old man came to Yokohama by the sea. " * 6 + "He saw a bridge there."
    target = tokenizer(" bridge", add_special_tokens=False)["input_ids"][0]

    def outputs(ids):
        scores = np.where(ids == target, 5.0, 0.0)
        return {"start_logits": scores, "end_logits": scores}

    (found,) = predict(task, outputs, [{"question": "What did he see?", "context": context}], budget=LENGTH)
    begin = context.index("bridge")
    assert found.text == "bridge"
    assert (found.span.start, found.span.end, found.span.score) == (begin, begin + 6, 10.0)
    assert found.candidates[0] == found.span
    assert 1 >= found.span.probability > found.candidates[1].probability > 0


def test_examples_may_have_different_numbers_of_choices(tokenizer):
    task = TASKS["multiple-choice"](tokenizer, LENGTH)
    rows = [
        {"context": "He", "choices": ["sat.", "flew to the moon and back."]},
        {"context": "She", "choices": ["lay.", "slept until the morning came.", "sat."]},
        {"context": "They", "choices": ["sang a long and happy song.", "sat."]},
    ]
    found = predict(task, lambda ids: {"logits": (ids != tokenizer.pad_token_id).sum(-1)}, rows)
    assert [(one.index, one.text) for one in found] == [(1, rows[0]["choices"][1]), (1, rows[1]["choices"][1]),
                                                         (0, rows[2]["choices"][0])]  # fmt: skip
    assert [len(one.scores) for one in found] == [2, 3, 2]
    assert sum(found[1].scores) == pytest.approx(1)


def test_masks_are_filled_with_the_same_function(tokenizer):
    task = FillMask(tokenizer, LENGTH, top_k=2)
    expected = tokenizer(" door", add_special_tokens=False)["input_ids"][0]

    def outputs(ids):
        logits = np.zeros((*ids.shape, len(tokenizer)), np.float32)
        logits[..., expected] = 5
        return {"logits": logits}

    (found,) = predict(task, outputs, [{"text": "She opened the<mask> and the<mask>."}])
    assert task.value_of(found) == [" door", " door"]
    assert found[0].candidates[0].sequence == "She opened the door and the<mask>."


def test_predictions_are_yielded_while_examples_are_read(tokenizer, monkeypatch):
    monkeypatch.setattr(base, "WINDOW", 3)
    task, read = TASKS["classification"](tokenizer, LENGTH), []
    task.read_config(RobertaConfig())

    def records():
        for number in range(10):
            read.append(number)
            yield Record({"text": "a word"}, f"row {number}")

    backend = Backend(lambda ids: {"logits": np.zeros((len(ids), 2))})
    next(task.predict(backend, None, task.read_examples(records()), budget=100))
    assert len(read) == 3


def test_the_budget_of_many_examples_is_measured_once(tokenizer, monkeypatch):
    monkeypatch.setattr(base, "WINDOW", 3)
    monkeypatch.setattr(base, "MEASURED", 3)
    measured = []
    monkeypatch.setattr(base.Task, "measure_budget", lambda *_: measured.append(1) or 64)
    task = TASKS["classification"](tokenizer, LENGTH)
    task.read_config(RobertaConfig())
    assert len(predict(task, lambda ids: {"logits": np.zeros((len(ids), 2))}, [{"text": "a"}] * 8)) == 8
    assert measured == [1]


@pytest.mark.parametrize("name", TASKS)
def test_a_budget_can_be_measured_for_every_task(tokenizer, name):
    task = TASKS[name](tokenizer, LENGTH)
    backend = Backend(lambda ids: {"logits": np.zeros(len(ids))})
    assert task.measure_budget(backend, SimpleNamespace()) >= 256
    assert {call["input_ids"].ndim for call in backend.calls} == {3 if name == "multiple-choice" else 2}


ROWS = {
    "classification": {"text": "a"},
    "tagging": {"tokens": ["a"]},
    "multiple-choice": {"context": "a", "choices": ["b", "c"]},
    "question-answering": {"question": "a", "context": "b"},
}


@pytest.mark.parametrize("name", TASKS)
def test_a_record_without_label_is_accepted_only_for_prediction(tokenizer, name):
    task = TASKS[name](tokenizer, LENGTH, labels=("x",))
    record = Record(ROWS[name], "F, line 3")
    (example,) = task.read_examples([record])
    (feature,) = task.build_features([example])
    assert feature.targets == {}
    skipped = Skipped()
    assert task.collect_examples([record], skipped) == []
    assert skipped.reasons[0].startswith("F, line 3: no ")


@pytest.mark.parametrize("name", TASKS)
def test_a_record_without_inputs_is_refused_or_counted(tokenizer, name):
    task, record = TASKS[name](tokenizer, LENGTH), Record({"other": 1}, "F, line 3")
    with pytest.raises(DataError, match="F, line 3: no "):
        list(task.read_examples([record]))
    skipped = Skipped()
    assert list(task.read_examples([record], skipped)) == []
    assert skipped.count == 1


def test_the_task_is_inferred_from_the_checkpoint(tmp_path):
    task = TASKS["classification"].from_pretrained("roberta-tiny")
    config = RobertaConfig.from_pretrained("roberta-tiny")
    assert (task.length, task.labels) == (config.max_sequence_length, ("LABEL_0", "LABEL_1"))
    assert task.tokenizer("a")["input_ids"] == RobertaTokenizerFast.from_pretrained("roberta-tiny")("a")["input_ids"]
