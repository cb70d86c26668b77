"""Tagging: a label for each word, learnt and predicted at its first piece.

Shapes: S sequence, K labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.batches import IGNORED
from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Feature, Task

WORDS, LABELS = ("tokens", "words"), ("labels", "tags", "ner_tags", "pos_tags")
OUTSIDE = "O"


class Tagging(Task):
    """Token classification of words. A sentence that is longer than a row goes on in the next one."""

    name = "tagging"
    architecture = "ForTokenClassification"
    metric = "f1"

    def example(self, record: Record) -> Example:
        """Words and as many labels."""
        words, labels = self.column(record, "tokens", WORDS), self.column(record, "labels", LABELS)
        if not isinstance(words, list) or not isinstance(labels, list):
            raise DataError("its tokens and labels are no lists")
        if len(words) != len(labels):
            raise DataError(f"{len(words)} tokens, but {len(labels)} labels")
        if not words:
            raise DataError("it has no tokens")
        if not all(isinstance(word, str) for word in words):
            raise DataError("its tokens are not all text")
        return Example(record.place, {"tokens": words, "labels": [str(label) for label in labels]})

    def learn(self, examples: Sequence[Example]) -> None:
        """The labels in order, that of words outside all entities first."""
        found = {label for example in examples for label in example.fields["labels"]}
        self.labels = tuple(sorted(found, key=lambda label: (label != OUTSIDE, label)))

    def check(self, example: Example) -> str:
        """Whether all labels are among those learnt."""
        unknown = sorted(set(example.fields["labels"]) - set(self.labels))
        return f"unknown labels {', '.join(unknown)}; known are {', '.join(self.labels)}" if unknown else ""

    def config(self) -> dict[str, Any]:
        """The labels by number."""
        return {"id2label": dict(enumerate(self.labels))}

    def of_config(self, config: RobertaConfig) -> None:
        """The labels of a checkpoint."""
        self.labels = tuple(config.id2label[number] for number in range(config.num_labels))

    def features(self, examples: Sequence[Example]) -> list[Feature]:
        """Rows with the label of each word at its first piece, `notes` being [S] the word that begins there or None."""
        if not examples:
            return []
        encoding = self.tokenizer(
            [example.fields["tokens"] for example in examples],
            is_split_into_words=True, add_prefix_space=True, truncation=True, max_length=self.length,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        seen: dict[int, int] = {}  # the last word of each example that has its label
        made = []
        for row, number in enumerate(encoding["overflow_to_sample_mapping"]):
            firsts: list[int | None] = []
            for word in encoding.word_ids(row):
                if word is not None and word > seen.get(number, -1):
                    firsts.append(word)
                    seen[number] = word
                else:
                    firsts.append(None)
            labels = examples[number].fields["labels"]
            target = [IGNORED if word is None else self.labels.index(labels[word]) for word in firsts]
            made.append(Feature(encoding["input_ids"][row], {"labels": target}, number, firsts))
        return made

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Any]:
        """The label of each word of each example; a word without a piece is outside."""
        outside = OUTSIDE if OUTSIDE in self.labels else self.labels[0]
        found = [[outside] * len(example.fields["tokens"]) for example in examples]
        for feature, output in zip(features, outputs, strict=True):
            best = output["logits"].argmax(axis=-1)
            for place, word in enumerate(feature.notes):
                if word is not None:
                    found[feature.example][word] = self.labels[int(best[place])]
        return found

    def wanted(self, example: Example) -> Any:
        """The labels of the words."""
        return example.fields["labels"]

    def scores(self, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        """Precision, recall and F1 of entities, and the accuracy of words."""
        return metrics.tagging([example.fields["labels"] for example in examples], predictions)
