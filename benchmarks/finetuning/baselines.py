"""Baselines without a pretrained model: chance, most frequent label, logistic regression on words (scikit-learn)."""

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


def score_baselines(data: Data) -> dict[str, Scores]:
    """Return the scores on the test file by the name of the baseline."""
    task = TASKS[data.task](None, 0, Settings())
    options = dict(zip(data.options[::2], data.options[1::2], strict=True))
    sets = []
    for path in (data.train, data.test):
        records = read(
            path, Skipped(strict=True), format=options.get("--input-format"),
            header=tuple(options.get("--header", "").split(",")) if "--header" in options else (),
        )  # fmt: skip
        sets.append(task.collect_examples(records, Skipped(strict=True), learn=not sets))
    return {name: predict(task, *sets) for name, predict in BASELINES[data.task].items()}


def _score_random(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score labels drawn from a uniform distribution."""
    draw = np.random.default_rng(SEED).choice
    choices = list(task.labels) or list(range(getattr(task, "choices", 0)))
    if task.name == "tagging":
        return task.score(test, [list(draw(choices, len(e.fields["labels"]))) for e in test])
    return task.score(test, [choices[int(place)] for place in draw(len(choices), len(test))])


def _score_majority(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score the most frequent label of the training examples."""
    counts = Counter(task.expected(example) for example in train)
    return task.score(test, [counts.most_common(1)[0][0]] * len(test))


def _score_text_regression(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score logistic regression on TF-IDF of words, with the default settings of scikit-learn."""
    model = _build_pipeline(import_module("sklearn.feature_extraction.text").TfidfVectorizer())
    model.fit([e.fields["text"] for e in train], [e.fields["label"] for e in train])
    return task.score(test, list(model.predict([e.fields["text"] for e in test])))


def _score_frequent_tag(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score the most frequent tag of each word in the training sentences; O for unknown words."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        for word, label in zip(example.fields["tokens"], example.fields["labels"], strict=True):
            counts[word][label] += 1
    best = {word: found.most_common(1)[0][0] for word, found in counts.items()}
    return task.score(test, [[best.get(word, "O") for word in e.fields["tokens"]] for e in test])


def _score_word_regression(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score logistic regression on a word, its shape, its prefix and suffix and its neighbours."""
    model = _build_pipeline(import_module("sklearn.feature_extraction").DictVectorizer())
    model.fit(
        [f for e in train for f in _build_word_features(e)], [label for e in train for label in e.fields["labels"]]
    )
    return task.score(test, [list(model.predict(_build_word_features(example))) for example in test])


def _build_word_features(example: Example) -> list[dict[str, Any]]:
    tokens = ["<", *example.fields["tokens"], ">"]
    return [
        {
            "word": word.lower(), "before": tokens[place - 1].lower(), "after": tokens[place + 1].lower(),
            "end": word[-3:], "begin": word[:3], "title": word.istitle(), "upper": word.isupper(),
            "digit": any(map(str.isdigit, word)), "mark": not any(map(str.isalnum, word)),
        }
        for place, word in enumerate(tokens[1:-1], 1)
    ]  # fmt: skip


def _score_choice_regression(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score logistic regression on TF-IDF of each ending; the ending with the highest probability is chosen."""
    model = _build_pipeline(import_module("sklearn.feature_extraction.text").TfidfVectorizer())
    pairs = [(c, n == e.fields["label"]) for e in train for n, c in enumerate(e.fields["choices"])]
    model.fit(*map(list, zip(*pairs, strict=True)))
    return task.score(test, [int(model.predict_proba(e.fields["choices"])[:, 1].argmax()) for e in test])


def _score_random_span(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score three words at a random place of the context."""
    generator, found = np.random.default_rng(SEED), []
    for example in test:
        parts = example.fields["context"].split()
        start = generator.integers(max(len(parts) - 2, 1))
        found.append(" ".join(parts[start : start + 3]))
    return task.score(test, found)


def _score_likely_span(task: Task, train: Sequence[Example], test: Sequence[Example]) -> Scores:
    """Score the three words of the context that have most words of the question within 8 words, but none inside."""
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


def _build_pipeline(features: Any) -> Any:
    return import_module("sklearn.pipeline").make_pipeline(
        features, import_module("sklearn.linear_model").LogisticRegression(max_iter=1000)
    )


BASELINES: dict[str, dict[str, Callable[[Any, Any, Any], Scores]]] = {
    "classification": {
        "random": _score_random, "majority": _score_majority,
        "TF-IDF + logistic regression": _score_text_regression,
    },
    "tagging": {
        "random": _score_random, "commonest tag of the word": _score_frequent_tag,
        "word features + logistic regression": _score_word_regression,
    },
    "multiple-choice": {
        "random": _score_random, "majority": _score_majority,
        "TF-IDF + logistic regression": _score_choice_regression,
    },
    "question-answering": {
        "random span": _score_random_span, "span among the question's words": _score_likely_span,
    },
}  # fmt: skip
