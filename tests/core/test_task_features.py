"""Features, predictions and faults of every task, with the tokenizer of the embedded model."""

import itertools
import math

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast
from roberta_core.data.batches import IGNORED
from roberta_core.data.records import DataError, Record, Skipped
from roberta_core.tasks import TASKS
from roberta_core.tasks.base import STEP
from roberta_core.tasks.batches import ShuffledFeatures, batch_features
from roberta_core.tasks.settings import TaskSettings as Settings

CONTEXT = "The old man came to the sea. He saw a white house near the river, and went in to meet the captain."


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


def build(name, tokenizer, rows, length=32, **settings):
    """Return a task fitted to the rows, their examples, and the skipped records."""
    task, skipped = TASKS[name](tokenizer, length, Settings(**settings)), Skipped()
    records = [Record(row, f"F, line {number}") for number, row in enumerate(rows, 1)]
    return task, task.collect_examples(records, skipped, learn=True), skipped


def question(start=None, answer="a white house", **more):
    start = CONTEXT.find(answer) if start is None else start
    return {
        "question": "What did he see?",
        "context": CONTEXT,
        "answers": [{"text": answer, "answer_start": start}],
        **more,
    }


def test_single_texts_and_pairs_are_framed_and_labels_numbered(tokenizer):
    rows = [{"sentence": "Good.", "label": 10}, {"premise": "A.", "hypothesis": "B.", "label": 9}]
    task, examples, _ = build("classification", tokenizer, rows)
    single, pair = task.build_features(examples)
    assert task.labels == ("9", "10")
    assert (single.ids, single.targets) == (tokenizer("Good.")["input_ids"], {"labels": 1})
    assert (pair.ids, pair.targets) == (tokenizer("A.", "B.")["input_ids"], {"labels": 0})
    assert task.config() == {"id2label": {0: "9", 1: "10"}, "problem_type": "single_label_classification"}


def test_fractions_make_a_regression(tokenizer):
    rows = [{"text": "a", "label": "1.5"}, {"text": "b", "label": "2"}, {"text": "c", "label": "3.25"}]
    task, examples, _ = build("classification", tokenizer, rows)
    assert task.config() == {"id2label": {0: "score"}, "problem_type": "regression"}
    features = task.build_features(examples)
    batch = task.collate(features)
    assert batch["labels"].dtype == np.float32
    assert batch["labels"].tolist() == [1.5, 2.0, 3.25]
    predictions = task.decode(examples, features, [{"logits": np.array([value])} for value in (1.0, 2.0, 3.0)])
    assert [task.value_of(prediction) for prediction in predictions] == [1.0, 2.0, 3.0]


def test_a_batch_is_padded_to_few_lengths_and_masked(tokenizer):
    task, examples, _ = build("classification", tokenizer, [{"text": "a", "label": 0}, {"text": "a " * 20, "label": 1}])
    features = task.build_features(examples)
    batch = task.collate(features)
    assert batch["input_ids"].shape[1] % STEP == 0
    assert batch["attention_mask"].sum(axis=1).tolist() == [len(feature.ids) for feature in features]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == tokenizer.pad_token_id).all()


def test_a_word_has_its_label_only_at_its_first_piece(tokenizer):
    words = ["Unquestionably", "in", "Yokohama"]
    task, examples, _ = build("tagging", tokenizer, [{"tokens": words, "labels": ["O", "O", "B-location"]}])
    (feature,) = task.build_features(examples)
    labels, firsts = feature.targets["labels"], feature.notes
    assert len(feature.ids) > len(words) + 2
    assert [word for word in firsts if word is not None] == [0, 1, 2]
    assert [label for label in labels if label != IGNORED] == [0, 0, 1]
    assert firsts[1] == 0
    assert tokenizer.decode(feature.ids[firsts.index(2) :]).strip().startswith("Yokohama")


def test_a_long_sentence_continues_in_the_next_row_and_every_word_is_predicted(tokenizer):
    words = ["Yokohama", "unquestionably"] * 20
    labels = [f"L{number % 3}" for number in range(40)]
    task, examples, _ = build(
        "tagging", tokenizer, [{"tokens": words, "labels": labels}, {"tokens": ["a"], "labels": ["L0"]}]
    )
    features = task.build_features(examples)
    assert len(features) > 2
    outputs = []
    for feature in features:
        logits = np.zeros((len(feature.ids), 3))
        for place, label in enumerate(feature.targets["labels"]):
            logits[place, max(label, 0)] = 1
        outputs.append({"logits": logits})
    found = task.decode(examples, features, outputs)
    assert [task.value_of(one) for one in found] == [labels, ["L0"]]


def test_choices_are_rows_of_one_feature(tokenizer):
    rows = [
        {"prompt": "He", "ending0": "sat.", "ending1": "flew to the moon.", "label": "1"},
        {"article": "He sat.", "question": "Who _ ?", "options": ["sat", "lay"], "answer": "A"},
    ]
    task, examples, _ = build("multiple-choice", tokenizer, rows)
    first, second = task.build_features(examples)
    assert first.ids == [tokenizer("He", end)["input_ids"] for end in ("sat.", "flew to the moon.")]
    assert second.ids[1] == tokenizer("He sat.", "Who lay ?")["input_ids"]
    assert [first.targets["labels"], second.targets["labels"]] == [1, 0]
    assert task.collate([first, second])["input_ids"].shape == (2, 2, 16)


def test_the_context_is_truncated_before_the_question_and_its_choice(tokenizer):
    row = {"context": "word " * 50, "question": "one two three four", "choices": ["five", "six"], "label": 0}
    task, examples, _ = build("multiple-choice", tokenizer, [row], longest_question=3)
    ids = task.build_features(examples)[0].ids[0]
    assert len(ids) == 32
    assert ids[-4:-1] == tokenizer("one two three four five", add_special_tokens=False)["input_ids"][:3]


def windows(tokenizer, row, **settings):
    task, examples, skipped = build("question-answering", tokenizer, [row], **settings)
    assert not skipped.count, skipped.reasons
    return task, examples, task.build_features(examples)


def test_windows_cover_the_context_and_overlap(tokenizer):
    _, _, features = windows(tokenizer, question(), length=24, overlap=4)
    covered = [[span for span in feature.notes if span] for feature in features]
    assert len(features) > 1
    assert covered[0][0][0] == 0
    assert covered[-1][-1][1] == len(CONTEXT)
    for before, after in itertools.pairwise(covered):
        assert before[-4:] == after[:4]


@pytest.mark.parametrize(
    "answer", ["a white house", "white house near the river", "sea. He saw", "the captain", "The old"]
)
def test_only_a_window_with_the_whole_answer_has_it_as_target(tokenizer, answer):
    _, _, features = windows(tokenizer, question(answer=answer), length=24, overlap=6)
    begin, found = CONTEXT.find(answer), 0
    for feature in features:
        start, end = feature.targets["start_positions"], feature.targets["end_positions"]
        spans = [span for span in feature.notes if span]
        if spans[0][0] <= begin and begin + len(answer) <= spans[-1][1]:
            found += 1
            assert CONTEXT[feature.notes[start][0] : feature.notes[end][1]] == answer
        else:
            assert (start, end) == (0, 0)
    assert found < len(features)


def answer_questions(tokenizer, rows, null=0.0, **settings):
    """Build outputs that point at the target of each window; `<s>` has the score `null`."""
    task, examples, _ = build("question-answering", tokenizer, rows, length=24, overlap=4, **settings)
    features = task.build_features(examples)
    outputs = []
    for feature in features:
        scores = np.full((2, len(feature.ids)), -5.0)
        for row, name in zip(scores, ("start_positions", "end_positions"), strict=True):
            row[feature.targets[name]] = 5.0
            row[0] = null
        outputs.append({"start_logits": scores[0], "end_logits": scores[1]})
    return task, examples, task.decode(examples, features, outputs)


def test_the_best_span_of_all_windows_is_the_answer(tokenizer):
    task, examples, (answer,) = answer_questions(tokenizer, [question()])
    assert answer.text == "a white house"
    best, begin = answer.candidates[0], CONTEXT.find("a white house")
    assert (best.text, best.score, best.start, best.end) == ("a white house", 10.0, begin, begin + 13)
    assert answer.span == best
    assert task.score(examples, [answer.text]) == {"f1": 1.0, "exact_match": 1.0}


CHOICE = {"prompt": "a", "choices": ["b", "c"], "label": 0}
NO_ANSWER = {"question": "Why?", "context": CONTEXT, "answers": [], "is_impossible": True}


def test_no_answer_is_predicted_if_it_scores_better_and_the_data_has_such_questions(tokenizer):
    assert answer_questions(tokenizer, [question()], null=6.0)[2][0].text == "a white house"
    task, examples, found = answer_questions(tokenizer, [question(), NO_ANSWER], null=6.0)
    assert [answer.text for answer in found] == ["", ""]
    assert task.score(examples, [answer.text for answer in found]) == {"f1": 0.5, "exact_match": 0.5}
    found = answer_questions(tokenizer, [question(), NO_ANSWER], null=6.0, null_threshold=3.0)[2]
    assert found[0].text == "a white house"


def test_the_no_answer_score_is_the_lowest_of_all_windows(tokenizer):
    task, examples, _ = build("question-answering", tokenizer, [question(), NO_ANSWER], length=24, overlap=4)
    features = task.build_features(examples)
    outputs = []
    for number, feature in enumerate(features):
        scores = np.zeros(len(feature.ids))
        scores[0] = (3.0, 1.0, 2.0)[number % 3]
        outputs.append({"start_logits": scores, "end_logits": scores})
    for number, answer in enumerate(task.decode(examples, features, outputs)):
        own = [output["start_logits"][0] for f, output in zip(features, outputs, strict=True) if f.example == number]
        assert len(set(own)) > 1
        assert answer.null_score == 2 * min(own)


def test_an_answer_neither_ends_before_it_begins_nor_exceeds_the_limit(tokenizer):
    task, examples, features = windows(tokenizer, question(), length=64, longest_answer=3)
    generator = np.random.default_rng(0)
    for _ in range(20):
        outputs = [{f"{end}_logits": generator.normal(size=len(f.ids)) for end in ("start", "end")} for f in features]
        (answer,) = task.decode(examples, features, outputs)
        assert answer.text
        assert len(tokenizer(" " + answer.text, add_special_tokens=False)["input_ids"]) <= 4
        assert list(answer.candidates) == sorted(answer.candidates, key=lambda found: -found.score)


FAULTS = {
    "a missing column": ("classification", {"text": "a"}, "no column for the field label (label, labels, "),
    "no text": ("classification", {"text": " ", "label": 1}, "its text is empty"),
    "a text of a million characters": ("classification", {"text": "x" * 1_000_000, "label": 1}, "1,000,000 characters"),
    "labels of another number": ("tagging", {"tokens": ["a"], "labels": []}, "1 tokens, but 0 labels"),
    "a label that is no choice": (
        "multiple-choice",
        {"prompt": "a", "choices": ["b", "c"], "label": 3},
        "label '3' is none",
    ),
    "an answer elsewhere": ("question-answering", question(start=3), "'a white house' is not in the context at 3"),
    "an answer nowhere": ("question-answering", question(start=10_000), "is not in the context at 10000"),
    "an answer without place": ("question-answering", {**question(), "answers": [{"text": "a"}]}, "no answer_start"),
    "an impossible answer": (
        "question-answering",
        question(is_impossible=True),
        "impossible, but has an answer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_with_its_place(tokenizer, fault):
    name, row, message = FAULTS[fault]
    _, examples, skipped = build(name, tokenizer, [row])
    assert not examples
    assert skipped.reasons[0].startswith("F, line 1: ")
    assert message in skipped.reasons[0]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("classification", [{"text": "a", "label": "x"}, {"text": "a", "label": "z"}], {"text": "a", "label": "y"}),
        ("tagging", [{"tokens": ["a", "b"], "labels": ["O", "B-z"]}], {"tokens": ["a"], "labels": ["B-x"]}),
        ("multiple-choice", [CHOICE], {**CHOICE, "choices": list("bcd")}),
    ],
)  # fmt: skip
def test_labels_unseen_in_training_are_unknown_afterwards(tokenizer, name, good, bad):
    task, _, _ = build(name, tokenizer, good)
    skipped = Skipped()
    assert len(task.collect_examples([Record(good[0], "G"), Record(bad, "B, line 7")], skipped)) == 1
    assert skipped.reasons[0].startswith("B, line 7: ")


@pytest.mark.parametrize("name", ["classification", "tagging"])
def test_the_labels_are_saved_in_the_configuration(tokenizer, name):
    row = {"text": "a", "label": "x", "tokens": ["a", "b"], "labels": ["O", "B-x"]}
    task, _, _ = build(name, tokenizer, [row, {**row, "label": "y"}])
    again = TASKS[name](tokenizer, 32, Settings())
    again.read_config(RobertaConfig(**task.config()))
    assert again.labels == task.labels


@pytest.mark.parametrize("label", ["", " ", "nan", "NaN", math.nan, None, []])
def test_a_missing_label_is_skipped_with_its_place(tokenizer, label):
    rows = [{"text": "a", "label": 1.5}, {"text": "b", "label": label}, {"text": "c", "label": 2}]
    task, examples, skipped = build("classification", tokenizer, rows)
    assert [example.fields["label"] for example in examples] == ["1.5", "2"]
    assert skipped.count == 1
    assert skipped.reasons[0].startswith("F, line 2: ")
    assert task.config()["problem_type"] == "regression"
    words = [{"tokens": ["a", "b"], "labels": ["O", "B-x"]}, {"tokens": ["a", "b"], "labels": ["O", label]}]
    assert len(build("tagging", tokenizer, words)[1]) == 1


def test_disagreeing_annotators_give_no_label(tokenizer):
    rows = [{"premise": "a", "hypothesis": "b", "gold_label": label} for label in ("neutral", "-", "contradiction")]
    task, examples, skipped = build("classification", tokenizer, rows)
    assert (task.labels, len(examples)) == (("contradiction", "neutral"), 2)
    assert skipped.reasons == ["F, line 2: its annotators did not agree on a label: '-'"]
    task, _, _ = build("classification", tokenizer, [{"text": "a", "label": "-"}, {"text": "b", "label": "+"}])
    assert task.labels == ("+", "-")


def test_ignored_words_of_a_sentence_are_not_a_class(tokenizer):
    rows = [{"tokens": ["a", "b"], "ner_tags": tags} for tags in ([0, 1], [0, -100])]
    task, examples, skipped = build("tagging", tokenizer, rows)
    assert (task.labels, len(examples)) == (("0", "1"), 1)
    assert "word 2 has no label" in skipped.reasons[0]


def test_a_column_of_fractions_and_words_is_refused(tokenizer):
    rows = [{"text": "a", "label": "1.5"}, {"text": "b", "label": "good"}, {"text": "c", "label": "2"}]
    with pytest.raises(DataError, match=r"F, line 2: its label 'good' is not a number, but '1\.5' is a fraction"):
        build("classification", tokenizer, rows)
    task, examples, skipped = build("classification", tokenizer, rows, problem="regression")
    assert (task.problem_type, len(examples), skipped.count) == ("regression", 2, 1)
    assert build("classification", tokenizer, rows, problem="classification")[0].labels == ("1.5", "2", "good")


@pytest.mark.parametrize(
    ("name", "row"),
    [("classification", {"text": "a", "label": "x"}), ("tagging", {"tokens": ["a"], "labels": ["O"]})],
)
def test_a_single_label_cannot_be_learned(tokenizer, name, row):
    with pytest.raises(DataError, match="a model needs at least two"):
        build(name, tokenizer, [row, row])


def test_the_tags_of_a_checkpoint_keep_their_order(tokenizer):
    rows = [{"tokens": ["a", "b", "c"], "labels": ["O", "B-x", "I-x"]}]
    task = TASKS["tagging"](tokenizer, 32)
    task.read_config(RobertaConfig(id2label={0: "I-x", 1: "O", 2: "B-x"}))
    task.collect_examples([Record(rows[0], "F")], Skipped(), learn=True)
    assert task.labels == ("I-x", "O", "B-x")
    assert task.head_fits


def test_part_of_speech_tagging_selects_models_by_accuracy(tokenizer):
    rows = [{"tokens": ["a", "b"], "labels": ["DET", "NOUN"]}]
    assert build("tagging", tokenizer, rows)[0].metric == "accuracy"
    assert build("tagging", tokenizer, [{"tokens": ["a", "b"], "labels": ["O", "B-x"]}])[0].metric == "f1"


@pytest.mark.parametrize("answer", [" a white house", "a white house \n", " a white house \n"])
def test_an_answer_is_trimmed_with_its_place(tokenizer, answer):
    row = question(answer="a white house")
    context = CONTEXT.replace(" a white house ", " a white house \n")
    row |= {"context": context, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
    _, examples, features = windows(tokenizer, row, length=64)
    assert examples[0].fields["answers"] == [(CONTEXT.index("a white house"), "a white house")]
    target = features[0].targets
    assert (target["start_positions"], target["end_positions"]) != (0, 0)


def test_windows_never_share_more_than_half_of_their_tokens(tokenizer):
    _, _, features = windows(tokenizer, {**question(), "context": CONTEXT * 20}, length=64, overlap=128)
    spans = [[span for span in feature.notes if span] for feature in features]
    tokens = len(tokenizer(CONTEXT * 20, add_special_tokens=False)["input_ids"])
    assert len(features) <= 2 * tokens / max(map(len, spans)) + 1
    for before, after in itertools.pairwise(spans):
        assert len(set(before) & set(after)) <= len(before) / 2


def test_an_answer_does_not_depend_on_other_questions(tokenizer):
    alone = answer_questions(tokenizer, [question()], null=6.0, no_answer="never")[2][0]
    assert answer_questions(tokenizer, [question(), NO_ANSWER], null=6.0, no_answer="never")[2][0] == alone
    assert alone.text == "a white house"
    assert answer_questions(tokenizer, [question()], null=6.0, no_answer="allowed")[2][0].text == ""
    task = build("question-answering", tokenizer, [question(), NO_ANSWER])[0]
    again = TASKS["question-answering"](tokenizer, 32)
    again.read_config(RobertaConfig(**task.config()))
    assert again.allows_no_answer
    skipped = Skipped()
    again.collect_examples([Record(question(), "F")], skipped)
    assert again.allows_no_answer
    assert not TASKS["question-answering"](tokenizer, 32).allows_no_answer
    again.collect_examples([Record(question(), "F")], skipped, learn=True)  # other training data decide it again
    assert not again.allows_no_answer


def test_a_question_without_an_answer_is_refused_if_the_checkpoint_does_not_state_that_there_are_any(tokenizer):
    task = TASKS["question-answering"](tokenizer, 32)
    task.read_config(RobertaConfig())  # as of a published checkpoint
    with pytest.raises(DataError, match=r"F: the question has no answer, and the checkpoint does not say .* squad2"):
        task.collect_examples([Record(question(), "E"), Record(NO_ANSWER, "F")], Skipped())
    assert len(task.collect_examples([Record(question(), "E")], Skipped())) == 1
    for decided in ("allowed", "never"):
        task = TASKS["question-answering"](tokenizer, 32, Settings(no_answer=decided))
        assert len(task.collect_examples([Record(NO_ANSWER, "F")], Skipped())) == 1
        assert task.allows_no_answer == (decided == "allowed")


def test_minus_one_beside_labels_from_zero_is_a_missing_label(tokenizer):
    rows = [{"text": "a", "label": label} for label in (0, 1, -1, 2, 1)]
    task, examples, skipped = build("classification", tokenizer, rows)
    assert task.labels == ("0", "1", "2")
    assert len(examples) == 4
    assert skipped.count == 1
    assert "its label is missing: -1" in skipped.sentence()
    later = Skipped()
    assert task.collect_examples([Record({"text": "b", "label": -1}, "F, row 7")], later) == []
    assert "F, row 7: its label is missing: -1" in later.sentence()


@pytest.mark.parametrize("labels", [(-1, 0, 1), (-1, 1), (-2, -1, 0, 1), (-1, 1, 2, 3)])
def test_minus_one_among_other_labels_is_a_class_and_the_description_warns(tokenizer, labels):
    task, examples, _ = build("classification", tokenizer, [{"text": "a", "label": label} for label in labels])
    assert len(examples) == len(labels)
    assert task.labels == tuple(map(str, labels))
    assert "-1 is a class" in task.describe()


def test_the_premise_of_copa_is_read_with_its_question(tokenizer):
    row = {"premise": "The man fell.", "question": "cause", "choice1": "He slipped.", "choice2": "He sang.", "label": 0}
    task, examples, _ = build("multiple-choice", tokenizer, [row], length=64)
    (feature,) = task.build_features(examples)
    assert feature.ids[0] == tokenizer("The man fell.", "What was the cause of this? He slipped.")["input_ids"]


@pytest.mark.parametrize(
    ("labels", "indices"), [(["1", "3", "2"], [0, 2, 1]), ([0, 2, 1], [0, 2, 1]), (["A", "C"], [0, 2]), ([3.0], [2])]
)
def test_labels_of_choices_are_counted_from_0_or_from_1(tokenizer, labels, indices):
    rows = [{"context": "a", "answerA": "b", "answerB": "c", "answerC": "d", "label": label} for label in labels]
    _, examples, skipped = build("multiple-choice", tokenizer, rows)
    assert [example.fields["label"] for example in examples] == indices
    assert skipped.count == 0


def test_ambiguous_labels_of_choices_are_refused(tokenizer):
    rows = [{"context": "a", "choices": ["b", "c", "d"], "label": label} for label in (1, 2, 1)]
    with pytest.raises(DataError, match="the labels are from 1 to 2, so they may be counted from 0 or from 1"):
        build("multiple-choice", tokenizer, rows)
    _, examples, _ = build("multiple-choice", tokenizer, rows, first_label=1)
    assert [example.fields["label"] for example in examples] == [0, 1, 0]


def test_the_first_number_of_training_labels_is_used_afterwards(tokenizer):
    rows = [{"context": "a", "choices": ["b", "c"], "label": label} for label in (1, 2)]
    task, _, _ = build("multiple-choice", tokenizer, rows)
    again = TASKS["multiple-choice"](tokenizer, 32)
    again.read_config(RobertaConfig(**task.config()))
    assert again.collect_examples([Record(rows[0], "F")], Skipped())[0].fields["label"] == 0


def test_a_choice_that_is_always_right_is_reported(tokenizer):
    rows = [{"context": "a", "choices": ["b", "c"], "label": label} for label in (0, 0, 1)]
    task, _, _ = build("multiple-choice", tokenizer, rows)
    assert task.describe() == "2 choices, counted from 0"
    task, _, _ = build("multiple-choice", tokenizer, rows[:2])
    assert task.describe().endswith("in all training examples choice 1 is the right one")


def test_endings_are_in_the_order_of_their_numbers(tokenizer):
    row = {"context": "a", "label": 10, **{f"ending{n}": f"e{n}" for n in (10, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9)}}
    _, (example,), _ = build("multiple-choice", tokenizer, [row])
    assert example.fields["choices"] == [f"e{n}" for n in range(11)]
    assert example.fields["label"] == 10


@pytest.mark.parametrize("name", TASKS)
def test_columns_of_an_unknown_field_are_refused(tokenizer, name):
    with pytest.raises(ValueError, match=f"{name} has no field txt; its fields are "):
        TASKS[name](tokenizer, 32, columns={"txt": "text"})


@pytest.mark.parametrize("name", TASKS)
def test_a_lone_surrogate_is_skipped(tokenizer, name):
    row = {"text": "\ud800", "label": 0, "tokens": ["\ud800"], "labels": ["O"], "context": "\ud800"}
    row |= {"question": "\ud800", "choices": ["a", "\ud800"], "answers": []}
    task, skipped = TASKS[name](tokenizer, 32), Skipped()
    assert not task.collect_examples([Record(row, "F, line 1")], skipped)
    assert skipped.reasons[0].startswith("F, line 1: ")


def test_every_epoch_has_every_feature_once_in_batches_of_one_size(tokenizer):
    rows = [{"text": f"{'a ' * (number % 7)}{number}", "label": number % 2} for number in range(23)]
    task, examples, _ = build("classification", tokenizer, rows)
    features = task.build_features(examples)
    data = ShuffledFeatures(task, features, 5, seed=1)
    batches = [data.batch(number) for number in range(23)]  # five epochs
    assert {len(batch["labels"]) for batch in batches} == {5}
    rows = [tuple(row[row != 1]) for batch in batches for row in batch["input_ids"]]
    expected = sorted(tuple(feature.ids) for feature in features)
    for epoch in range(5):
        assert sorted(rows[epoch * 23 : (epoch + 1) * 23]) == expected
    assert rows[:23] != rows[23:46]
    np.testing.assert_equal(ShuffledFeatures(task, features, 5, seed=1).batch(7), batches[7])


def test_an_evaluation_has_every_feature_once_in_full_batches(tokenizer):
    task, examples, _ = build("classification", tokenizer, [{"text": "a " * n, "label": n % 2} for n in range(1, 8)])
    found = list(batch_features(task, task.build_features(examples), 3))
    assert sorted(place for places, _ in found for place in places) == list(range(7))
    assert {len(batch["input_ids"]) for _, batch in found} == {3}


def test_a_question_or_choice_that_is_truncated_is_marked(tokenizer):
    task, examples, _ = build("question-answering", tokenizer, [question(), question(question="Why? " * 9)], length=24)
    features = task.build_features(examples)
    assert {(feature.example, feature.truncated) for feature in features} == {(0, False), (1, True)}
    rows = [
        {"context": "a", "choices": ["b", "c " * 30], "label": 0},
        {"context": "a", "choices": ["b", "c"], "label": 1},
    ]
    task, examples, _ = build("multiple-choice", tokenizer, rows, length=24)
    assert [feature.truncated for feature in task.build_features(examples)] == [True, False]
