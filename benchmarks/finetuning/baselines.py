"""What needs no pretrained model: chance, the commonest label, and logistic regression over words (scikit-learn)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.finetuning.data import Data
from roberta_core.data.records import Skipped, read
from roberta_core.tasks import TASKS, Example, Task
from roberta_core.tasks.metrics import words
from roberta_core.tasks.settings import TaskSettings as Settings

SEED = 0
Scores = Mapping[str, float]


def baselines(data: Data) -> dict[str, Scores]:
    """The scores on the test file by each baseline's name."""
    task = TASKS[data.task](None, 0, Settings())
    options = dict(zip(data.options[::2], data.options[1::2], strict=True))
    sets = []
    for path in (data.train, data.test):
        records = read(
            path, Skipped(strict=True), format=options.get("--format"),
            header=tuple(options.get("--header", "").split(",")) if "--header" in options else (),
        )  # fmt: skip
        sets.append(task.collect_examples(records, Skipped(strict=True), learn=not sets))
    return {name: guess(task, *sets) for name, guess in BASELINES[data.task].items()}


def _random(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Each label with equal chance."""
    draw = np.random.default_rng(SEED).choice
    choices = list(task.labels) or list(range(getattr(task, "choices", 0)))
    if task.name == "tagging":
        return task.score(test, [list(draw(choices, len(e.fields["labels"]))) for e in test])
    return task.score(test, [choices[int(place)] for place in draw(len(choices), len(test))])


def _majority(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """The commonest label of the training examples."""
    counts = Counter(task.expected(example) for example in train)
    return task.score(test, [counts.most_common(1)[0][0]] * len(test))


def _regression_of_texts(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """TF-IDF of words, logistic regression, both as scikit-learn sets them."""
    model = _pipeline(import_module("sklearn.feature_extraction.text").TfidfVectorizer())
    model.fit([e.fields["text"] for e in train], [e.fields["label"] for e in train])
    return task.score(test, list(model.predict([e.fields["text"] for e in test])))


def _frequent_tag(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """The tag that a word most often has in the training sentences; O if it is new."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        for word, label in zip(example.fields["tokens"], example.fields["labels"], strict=True):
            counts[word][label] += 1
    best = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    return task.score(test, [[best.get(word, "O") for word in e.fields["tokens"]] for e in test])


def _regression_of_words(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Logistic regression over a word, its shape, its ends and its neighbours."""
    model = _pipeline(import_module("sklearn.feature_extraction").DictVectorizer())
    model.fit([f for e in train for f in _around(e)], [label for e in train for label in e.fields["labels"]])
    return task.score(test, [list(model.predict(_around(example))) for example in test])


def _around(example: Example) -> list[dict[str, Any]]:
    tokens = ["<", *example.fields["tokens"], ">"]
    return [
        {
            "word": word.lower(), "before": tokens[place - 1].lower(), "after": tokens[place + 1].lower(),
            "end": word[-3:], "begin": word[:3], "title": word.istitle(), "upper": word.isupper(),
            "digit": any(map(str.isdigit, word)), "mark": not any(map(str.isalnum, word)),
        }
        for place, word in enumerate(tokens[1:-1], 1)
    ]  # fmt: skip


def _regression_of_choices(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Is this ending right? TF-IDF of its words, logistic regression; the likeliest ending is chosen."""
    model = _pipeline(import_module("sklearn.feature_extraction.text").TfidfVectorizer())
    pairs = [(c, n == e.fields["label"]) for e in train for n, c in enumerate(e.fields["choices"])]
    model.fit(*map(list, zip(*pairs, strict=True)))
    return task.score(test, [int(model.predict_proba(e.fields["choices"])[:, 1].argmax()) for e in test])


def _random_span(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Three words of the context, anywhere."""
    generator, found = np.random.default_rng(SEED), []
    for example in test:
        parts = example.fields["context"].split()
        start = generator.integers(max(len(parts) - 2, 1))
        found.append(" ".join(parts[start : start + 3]))
    return task.score(test, found)


def _likely_span(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """The three words after most of the question's words have come: no learning."""
    found = []
    for example in test:
        asked, parts = set(words(example.fields["question"])), example.fields["context"].split()
        hits = [bool(asked & set(words(part))) for part in parts]
        near = [
            sum(hits[max(place - 8, 0) : place + 8]) - 9 * any(hits[place : place + 3]) for place in range(len(parts))
        ]
        start = int(np.argmax(near))
        found.append(" ".join(parts[start : start + 3]))
    return task.score(test, found)


def _pipeline(features: Any) -> Any:
    return import_module("sklearn.pipeline").make_pipeline(
        features, import_module("sklearn.linear_model").LogisticRegression(max_iter=1000)
    )


BASELINES: dict[str, dict[str, Callable[[Any, Any, Any], Scores]]] = {
    "classification": {
        "random": _random, "majority": _majority, "TF-IDF + logistic regression": _regression_of_texts
    },
    "tagging": {
        "random": _random, "commonest tag of the word": _frequent_tag,
        "word features + logistic regression": _regression_of_words,
    },
    "multiple-choice": {
        "random": _random, "majority": _majority, "TF-IDF + logistic regression": _regression_of_choices
    },
    "question-answering": {"random span": _random_span, "span among the question's words": _likely_span},
}  # fmt: skip
