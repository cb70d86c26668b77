"""The layouts of published data sets, each in a small file of our own, read without any option."""

import json

import pytest

from roberta_core import RobertaTokenizerFast
from roberta_core.data.records import Skipped, read
from roberta_core.tasks import TASKS

COPA = [
    {"premise": "The glass fell.", "choice1": "It broke.", "choice2": "It grew.", "question": "effect", "label": 0},
    {
        "premise": "The road was wet.",
        "choice1": "It was noon.",
        "choice2": "It rained.",
        "question": "cause",
        "label": 1,
    },
]
WINOGRANDE = [
    {"sentence": "The cup did not fit in the bag because _ was too large.", "option1": "the cup", "option2": "the bag",
     "answer": "1"},
    {"sentence": "The cup did not fit in the bag because _ was too small.", "option1": "the cup", "option2": "the bag",
     "answer": "2"},
]  # fmt: skip
SOCIAL = [
    {"context": "Ann helped Bob move.", "question": "How would Bob feel?", "answerA": "grateful", "answerB": "angry",
     "answerC": "hungry", "label": label}
    for label in ("1", "3")
]  # fmt: skip
COMMONSENSE = [
    {"question": "Where is milk kept?", "question_concept": "milk", "answerKey": "B",
     "choices": {"label": ["A", "B", "C"], "text": ["oven", "fridge", "shoe"]}},
]  # fmt: skip
COMMONSENSE_FILE = [
    {"answerKey": "B", "id": "1", "question": {"question_concept": "milk", "stem": "Where is milk kept?", "choices": [
        {"label": "A", "text": "oven"}, {"label": "B", "text": "fridge"}]}},
]  # fmt: skip
ARC = [
    {"id": "1", "question": "What melts ice?", "answerKey": "1",
     "choices": {"text": ["heat", "cold"], "label": ["1", "2"]}},
    {"id": "2", "question": "What is a metal?", "answerKey": "D",
     "choices": {"text": ["iron", "wood", "glass", "gold"], "label": ["A", "B", "C", "D"]}},
]  # fmt: skip
OPENBOOK = [
    {"question_stem": "The sun is", "choices": {"text": ["a star", "a lamp"], "label": ["A", "B"]}, "answerKey": "A"},
]
HELLASWAG = [{"ctx": "She opened the door and", "endings": ["went in.", "ate it."], "label": "0"}]
PIQA = [
    {"goal": "To dry a cup", "sol1": "use a towel", "sol2": "use water", "label": 0},
    {"goal": "To wet a cup", "sol1": "use a towel", "sol2": "use water", "label": 1},
]


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


@pytest.fixture
def load(tmp_path, tokenizer):
    """`load(task, name, text or rows)`: the task, its examples and what was skipped, of a file of that name."""

    def load(name, file, content):
        path = tmp_path / file
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_text(text, encoding="utf-8")
        task, skipped = TASKS[name](tokenizer, 64), Skipped()
        return task, task.collect_examples(read(path, skipped), skipped, learn=True), skipped

    return load


@pytest.mark.parametrize(
    ("rows", "labels", "first", "row"),
    [
        (COPA, [0, 1], 0, ("The glass fell.", "What happened as a result? It broke.")),
        (WINOGRANDE, [0, 1], 1, ("The cup did not fit in the bag because", "the cup was too large.")),
        (SOCIAL, [0, 2], 1, ("Ann helped Bob move.", "How would Bob feel? grateful")),
        (COMMONSENSE, [1], None, ("Where is milk kept?", "oven")),
        (COMMONSENSE_FILE, [1], None, ("Where is milk kept?", "oven")),
        (OPENBOOK, [0], None, ("The sun is", "a star")),
        (HELLASWAG, [0], 0, ("She opened the door and", "went in.")),
        (PIQA, [0, 1], 0, ("To dry a cup", "use a towel")),
    ],
    ids=["COPA", "WinoGrande", "Social IQa", "CommonsenseQA", "CommonsenseQA's file", "OpenBookQA", "HellaSwag",
         "PIQA"],
)  # fmt: skip
def test_multiple_choice(load, tokenizer, rows, labels, first, row):
    task, examples, skipped = load("multiple-choice", "rows.jsonl", rows)
    assert skipped.reasons == []
    assert [example.fields["label"] for example in examples] == labels
    assert task.first == first
    assert task.build_features(examples)[0].ids[0] == tokenizer(*row)["input_ids"]


def test_arc_has_labels_of_letters_and_of_numbers(load):
    task, examples, skipped = load("multiple-choice", "arc.jsonl", [*ARC, ARC[1]])
    assert [example.fields["label"] for example in examples] == [3, 3]  # most have four choices
    assert skipped.reasons == [f"{skipped.reasons[0].partition(': ')[0]}: 2 choices, where the others have 4"]
    assert task.choices == 4


def test_a_label_that_is_no_choice_and_choices_that_share_a_label_are_skipped(load):
    wrong = {**COMMONSENSE[0], "answerKey": "E"}
    same = {**COMMONSENSE[0], "choices": {"label": ["A", "A"], "text": ["x", "y"]}}
    _, examples, skipped = load("multiple-choice", "rows.jsonl", [COMMONSENSE[0], wrong, same])
    assert len(examples) == 1
    assert "its label 'E' is none of its 3 choices" in skipped.reasons[0]
    assert "its 2 choices have the labels ['A', 'A']" in skipped.reasons[1]


SNLI = [
    {"annotator_labels": ["neutral"], "gold_label": "neutral", "sentence1": "A dog runs.", "sentence2": "It is old.",
     "pairID": "1", "sentence1_parse": "x"},
    {"annotator_labels": ["x", "y"], "gold_label": "-", "sentence1": "A dog runs.", "sentence2": "It is old."},
    {"annotator_labels": ["entailment"], "gold_label": "entailment", "sentence1": "A.", "sentence2": "B."},
]  # fmt: skip
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n"
    "0\t1\t1n\tfiction\tA dog runs.\tIt is old.\tneutral\tneutral\n"
    "1\t2\t2e\tfiction\tA.\tB.\tentailment\tentailment\n"
)
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tA dog runs.\tIt is old.\t0\n1\t3\t4\tA?\tB?\t1\n"


@pytest.mark.parametrize(
    ("file", "content", "labels", "count"),
    [
        ("snli.jsonl", SNLI, ("entailment", "neutral"), 1),
        ("dev.tsv", MNLI, ("entailment", "neutral"), 0),
        ("qqp.tsv", QQP, ("0", "1"), 0),
    ],
)
def test_pairs_of_texts(load, tokenizer, file, content, labels, count):
    task, examples, skipped = load("classification", file, content)
    assert (task.labels, skipped.count, len(examples)) == (labels, count, 2)
    assert task.build_features(examples)[0].ids == tokenizer("A dog runs.", "It is old.")["input_ids"]


CONLL_2003 = """-DOCSTART- -X- -X- O

Ann NNP B-NP B-PER
sleeps VBZ B-VP O

She PRP B-NP O
left VBD B-VP O
Bern NNP B-NP B-LOC
"""
CONLL_U = """# sent_id = 1
# text = Ann sleeps.
1\tAnn\tAnn\tPROPN\tNNP\t_\t2\tnsubj\t_\t_
2-3\tsleeps.\t_\t_\t_\t_\t_\t_\t_\t_
2\tsleeps\tsleep\tVERB\tVBZ\t_\t0\troot\t_\t_
3\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_

"""


@pytest.mark.parametrize(
    ("file", "content", "metric", "words", "labels"),
    [
        ("eng.conll", CONLL_2003, "f1", ["Ann", "sleeps"], ["B-PER", "O"]),
        ("en.conllu", CONLL_U, "accuracy", ["Ann", "sleeps", "."], ["PROPN", "VERB", "PUNCT"]),
    ],
)
def test_tagged_words(load, file, content, metric, words, labels):
    task, examples, skipped = load("tagging", file, content)
    assert (task.metric, skipped.reasons) == (metric, [])
    assert (examples[0].fields["tokens"], examples[0].fields["labels"]) == (words, labels)


def squad(**more):
    question = {"id": "q1", "question": "Who sleeps?", "answers": [{"text": "Ann", "answer_start": 0}], **more}
    none = {"id": "q2", "question": "Who runs?", "answers": [], "is_impossible": True}
    paragraph = {"context": "Ann sleeps.", "qas": [question, *([none] if more else [])]}
    return json.dumps({"version": "v", "data": [{"title": "t", "paragraphs": [paragraph]}]})


@pytest.mark.parametrize(("more", "target"), [({}, "every question has"), ({"is_impossible": False}, "may have no")])
def test_squad_1_and_2(load, more, target):
    task, examples, skipped = load("question-answering", "squad.json", squad(**more))
    assert skipped.reasons == []
    assert [example.fields["answers"] for example in examples] == [[(0, "Ann")], []][: 1 + bool(more)]
    assert target in task.describe()


class ClassLabel:
    def __init__(self, *names):
        self.names = list(names)


class Sequence:
    def __init__(self, feature):
        self.feature = feature


class Dataset(list):
    """As the `datasets` library: rows, and `features` that name the labels."""

    def __init__(self, rows, **features):
        super().__init__(rows)
        self.features = features


@pytest.mark.parametrize(
    ("name", "dataset", "labels", "skips"),
    [
        ("classification", Dataset([{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": -1}],
                                   label=ClassLabel("no", "yes")), ("no", "yes"), 1),
        ("classification", Dataset([{"text": "a", "labels": [1]}, {"text": "b", "labels": [0, 1]}],
                                   labels=Sequence(ClassLabel("no", "yes"))), ("no", "yes"), 0),
        ("tagging", Dataset([{"tokens": ["a", "b"], "ner_tags": [0, 1]}], ner_tags=Sequence(ClassLabel("O", "B-x"))),
         ("O", "B-x"), 0),
        ("question-answering", Dataset([{"id": "1", "context": "Ann sleeps.", "question": "Who?",
                                         "answers": {"text": ["Ann"], "answer_start": [0]}}]), (), 0),
    ],
)  # fmt: skip
def test_data_sets_of_the_datasets_library(tokenizer, name, dataset, labels, skips):
    task, skipped = TASKS[name](tokenizer, 32), Skipped()
    examples = task.collect_examples(read(dataset, skipped), skipped, learn=True)
    assert (task.labels, skipped.count, len(examples)) == (labels, skips, len(dataset) - skips)
