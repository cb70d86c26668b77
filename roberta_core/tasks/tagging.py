"""Tagging (token classification): a label for each word, learned and predicted at its first token.

Shapes: S sequence, K labels.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.batches import IGNORED
from roberta_core.data.records import DataError, Record, is_unicode
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task, require_label, require_text, softmax
from roberta_core.tasks.entities import OUTSIDE, group_entities, marks_entities
from roberta_core.tasks.features import Feature, Output

WORDS, LABELS = ("tokens", "words"), ("labels", "tags", "ner_tags", "pos_tags")
TEXTS = ("text", "sentence", "content")
WORD = re.compile(r"\w+(?:[-.'’]\w+)*|[^\w\s]")  # noqa: RUF001  # how a text without word boundaries is split

Span = tuple[int, int]


@dataclass(frozen=True)
class Entity:
    """A labelled group of words.

    Args:
        label: the label without its prefix, such as "PER" of "B-PER".
        text: the words, as the text has them or joined by spaces.
        words: index of its first word, and of the word after its last.
        span: its first character in the text, and the one after its last; None if words were given.
        score: the mean probability of its words' labels.
    """

    label: str
    text: str
    words: Span
    span: Span | None
    score: float


@dataclass(frozen=True)
class Tagged:
    """The labels of a sentence's words, their probabilities, and the entities that they make."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...]


class Tagging(Task):
    """Token classification of words. A sentence that is longer than a row continues in the next one."""

    name = "tagging"
    architecture = "ForTokenClassification"
    fields = {"tokens": WORDS, "labels": LABELS, "text": TEXTS}  # noqa: RUF012  # declared once, never written
    recipes = ("glue", "tiny-tagging")

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The score that selects the best model: F1 of entities, or accuracy if the labels do not mark entities."""
        return "f1" if marks_entities(self.labels) else "accuracy"

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return the words; those of a `text` are found by `split_words`, and their character spans returned too."""
        given = any(record.fields.get(name) is not None for name in WORDS)
        if not given and "tokens" not in self.columns and any(name in record.fields for name in TEXTS):
            return split_words(require_text(self.get_column(record, "text", TEXTS), "text"))
        words = self.get_column(record, "tokens", WORDS)
        if not isinstance(words, list):
            raise DataError("its tokens are not a list")
        if not words:
            raise DataError("it has no tokens")
        if not all(isinstance(word, str) and is_unicode(word) for word in words):
            raise DataError("its tokens are not all text")
        return {"tokens": words}

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return as many labels as there are words."""
        labels = self.get_column(record, "labels", LABELS)
        if not isinstance(labels, list):
            raise DataError("its labels are not a list")
        if len(inputs["tokens"]) != len(labels):
            raise DataError(f"{len(inputs['tokens'])} tokens, but {len(labels)} labels")
        if any(label == IGNORED for label in labels):
            raise DataError(f"its word {labels.index(IGNORED) + 1} has no label: {IGNORED}")
        return {"labels": [require_label(label) for label in labels]}

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn the labels in order, that of words outside all entities first."""
        found = {label for example in examples for label in example.fields["labels"]}
        if len(found) == 1:
            raise DataError(f"all training words have the label {next(iter(found))!r}: a model needs at least two")
        self.learn_labels(sorted(found, key=lambda label: (label != OUTSIDE, label)))
        counts = Counter(label for example in examples for label in example.fields["labels"])
        self.learn_weights({label: counts[label] for label in self.labels})

    def describe(self) -> str:
        """Return the labels, whether they mark entities, and their weights."""
        kind = "entities" if marks_entities(self.labels) else "words"
        return f"{len(self.labels)} labels of {kind}: {', '.join(self.labels)}{self.describe_weights()}"

    def check(self, example: Example) -> str:
        """Return which of the labels were not learned."""
        unknown = sorted(set(example.fields["labels"]) - set(self.labels))
        return f"unknown labels {', '.join(unknown)}; the known labels are {', '.join(self.labels)}" if unknown else ""

    def config(self) -> dict[str, Any]:
        """Return the labels by number."""
        return {"id2label": dict(enumerate(self.labels))}

    def read_config(self, config: RobertaConfig) -> None:
        """Take over the labels of a checkpoint."""
        self.labels = tuple(config.id2label[number] for number in range(config.num_labels))

    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return rows with the label of each word at its first token.

        `notes` [S] is the index of the word that begins at each token, or None.
        """
        if not examples:
            return []
        # A tokenizer.json of another kind than byte-level BPE puts its spaces itself.
        spaces = {} if self.tokenizer.add_prefix_space is None else {"add_prefix_space": True}
        encoding = self.tokenizer(
            [example.fields["tokens"] for example in examples],
            is_split_into_words=True, truncation=True, max_length=self.length,
            return_overflowing_tokens=True, return_offsets_mapping=True, **spaces,
        )  # fmt: skip
        seen: dict[int, int] = {}  # the last word of each example whose first token has been seen
        made = []
        for row, number in enumerate(encoding["overflow_to_sample_mapping"]):
            firsts: list[int | None] = []
            for word in encoding.word_ids(row):
                if word is not None and word > seen.get(number, -1):
                    firsts.append(word)
                    seen[number] = word
                else:
                    firsts.append(None)
            made.append(Feature(encoding["input_ids"][row], self._target(examples[number], firsts), number, firsts))
        return made

    def _target(self, example: Example, firsts: list[int | None]) -> dict[str, Any]:
        if "labels" not in example.fields:
            return {}
        labels = example.fields["labels"]
        numbers = [self.labels.index(label) for label in labels]
        target: dict[str, Any] = {"labels": [IGNORED if word is None else numbers[word] for word in firsts]}
        if self.weights:
            target["label_weights"] = [0.0 if word is None else self.weights[labels[word]] for word in firsts]
        return target

    def decode(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]
    ) -> list[Tagged]:
        """Return the labels of each example's words; a word without a token is outside all entities."""
        outside = OUTSIDE if OUTSIDE in self.labels else self.labels[0]
        labels = [[outside] * len(example.fields["tokens"]) for example in examples]
        scores = [[0.0] * len(example.fields["tokens"]) for example in examples]
        for feature, output in zip(features, outputs, strict=True):
            places = [place for place, word in enumerate(feature.notes) if word is not None]
            probabilities = softmax(output["logits"][places])
            best = probabilities.argmax(axis=-1)
            for row, place in enumerate(places):
                word = feature.notes[place]
                labels[feature.example][word] = self.labels[int(best[row])]
                scores[feature.example][word] = float(probabilities[row, best[row]])
        return [_tagged(*found) for found in zip(examples, labels, scores, strict=True)]

    def value_of(self, prediction: Tagged) -> list[str]:
        """Return the labels of the words."""
        return list(prediction.labels)

    def expected(self, example: Example) -> list[str]:
        """Return the labels of the words."""
        return example.fields["labels"]

    def score(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Return accuracy and F1: of entities if the labels mark them (with precision and recall), else of words."""
        return metrics.tagging([example.fields["labels"] for example in examples], values, self.labels)


def split_words(text: str) -> dict[str, Any]:
    """Return the words and punctuation marks of a text as `tokens`, their character `spans`, and the `text`."""
    found = list(WORD.finditer(text))
    return {"tokens": [word[0] for word in found], "spans": [word.span() for word in found], "text": text}


def _tagged(example: Example, labels: list[str], scores: list[float]) -> Tagged:
    words, spans = example.fields["tokens"], example.fields.get("spans")
    entities = []
    for label, begin, end in group_entities(labels):
        span = (spans[begin][0], spans[end - 1][1]) if spans else None
        text = example.fields["text"][slice(*span)] if span else " ".join(words[begin:end])
        entities.append(Entity(label, text, (begin, end), span, float(np.mean(scores[begin:end]))))
    return Tagged(tuple(words), tuple(labels), tuple(scores), tuple(entities))
