"""Multiple choice: which of C texts follows, or answers a question, with or without a passage before.

Shapes: S sequence, C choices.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task, require_text, softmax
from roberta_core.tasks.features import Feature, Output

CONTEXTS, QUESTIONS = ("context", "prompt", "article", "sent1", "passage"), ("question", "sent2")
CHOICES, LABELS = ("choices", "options", "endings"), ("label", "answer", "gold", "labels")
NUMBERED = re.compile(r"(?:choice|ending|option|answer)_?(\d+|[a-e])", re.IGNORECASE)


@dataclass(frozen=True)
class Chosen:
    """The best of several choices: its index, its text, and the probability of each choice."""

    index: int
    text: str
    scores: tuple[float, ...]


class MultipleChoice(Task):
    """Rows `<s> context </s></s> question choice </s>`, one for each choice, and the index of the right one."""

    name = "multiple-choice"
    architecture = "ForMultipleChoice"
    metric = "accuracy"
    choices = 0

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return a context, perhaps a question, and the choices."""
        context = require_text(self.get_column(record, "context", (*CONTEXTS, *QUESTIONS)), "context")
        question = next((record.fields[name] for name in QUESTIONS if isinstance(record.fields.get(name), str)), "")
        question = "" if question == context else question
        return {"context": context, "question": question, "choices": self._choices(record)}

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return which choice is right: its index, given as a number or as a letter from A."""
        count = len(inputs["choices"])
        label = str(self.get_column(record, "label", LABELS)).strip()
        right = string.ascii_uppercase.find(label.upper()) if len(label) == 1 and label.isalpha() else label
        if not str(right).isdecimal() or int(right) >= count:
            raise DataError(f"its label {label!r} is none of its {count} choices")
        return {"label": int(right)}

    def _choices(self, record: Record) -> list[str]:
        if "choices" not in self.columns:
            names = sorted(name for name in record.fields if NUMBERED.fullmatch(str(name)))
            if names:
                return [require_text(record.fields[name], name) for name in names]
        elif "," in self.columns["choices"]:
            names = self.columns["choices"].split(",")
            return [require_text(self.get_column(record, name, (name,)), name) for name in names]
        found = self.get_column(record, "choices", CHOICES)
        if not isinstance(found, list) or len(found) < 2:
            raise DataError("its choices are not a list of two or more")
        return [require_text(choice, "choice") for choice in found]

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn how many choices an example has: what most have."""
        counts = Counter(len(example.fields["choices"]) for example in examples)
        self.choices = counts.most_common(1)[0][0] if counts else 0

    def check(self, example: Example) -> str:
        """Return whether it has another number of choices than the others."""
        self.choices = self.choices or len(example.fields["choices"])
        count = len(example.fields["choices"])
        return "" if count == self.choices else f"{count} choices, where the others have {self.choices}"

    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return C rows for each example; question and choice have at most `settings.longest_question` tokens."""
        pairs, places = [], []
        for number, example in enumerate(examples):
            question = example.fields["question"]
            for choice in example.fields["choices"]:
                pairs.append((example.fields["context"], _join(question, choice)))
                places.append(number)
        if not pairs:
            return []
        most = self.settings.longest_question
        seconds = self.tokenizer([second for _, second in pairs], add_special_tokens=False)["input_ids"]
        firsts = self.tokenizer([first for first, _ in pairs], add_special_tokens=False)["input_ids"]
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True)
        rows: list[list[list[int]]] = [[] for _ in examples]
        for number, first, second in zip(places, firsts, seconds, strict=True):
            second = second[: min(most or room, room - 1)]
            rows[number].append(self.tokenizer.build_inputs_with_special_tokens(first[: room - len(second)], second))
        return [
            Feature(row, {"labels": example.fields["label"]} if "label" in example.fields else {}, number)
            for number, (row, example) in enumerate(zip(rows, examples, strict=True))
        ]

    def probe(self, size: int, length: int) -> np.ndarray:
        """Return `input_ids` of unknown tokens, `size` rows of one choice of `length`."""
        return super().probe(size, length)[:, None, :]

    def decode(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]
    ) -> list[Chosen]:
        """Return the best choice of each example."""
        return [_choose(example, output["logits"]) for example, output in zip(examples, outputs, strict=True)]

    def value_of(self, prediction: Chosen) -> int:
        """Return the index of the best choice."""
        return prediction.index

    def expected(self, example: Example) -> int:
        """Return the index of the right choice."""
        return example.fields["label"]

    def score(self, examples: Sequence[Example], values: Sequence[Any]) -> dict[str, float]:
        """Return the accuracy."""
        return metrics.choice([example.fields["label"] for example in examples], values)


def _choose(example: Example, logits: np.ndarray) -> Chosen:
    best = int(logits.argmax())
    return Chosen(best, example.fields["choices"][best], tuple(softmax(logits).tolist()))


def _join(question: str, choice: str) -> str:
    """Return a question with a choice: after it, or in its gap, which is written `_` as in RACE."""
    if not question:
        return choice
    return question.replace("_", choice) if "_" in question else f"{question} {choice}"
