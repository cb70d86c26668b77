"""Multiple choice: which of C texts follows, or answers a question, with or without a passage before.

Shapes: S sequence, C choices.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Feature, Task, text

CONTEXTS, QUESTIONS = ("context", "prompt", "article", "sent1", "passage"), ("question", "sent2")
CHOICES, LABELS = ("choices", "options", "endings"), ("label", "answer", "gold", "labels")
NUMBERED = re.compile(r"(?:choice|ending|option|answer)_?(\d+|[a-e])", re.IGNORECASE)


class MultipleChoice(Task):
    """Rows `<s> context </s></s> question choice </s>`, one for each choice, and the number of the right one."""

    name = "multiple-choice"
    architecture = "ForMultipleChoice"
    metric = "accuracy"
    choices = 0

    def example(self, record: Record) -> Example:
        """A context, perhaps a question, the choices, and which is right: its number, or a letter from A."""
        context = text(self.column(record, "context", (*CONTEXTS, *QUESTIONS)), "context")
        question = next((record.fields[name] for name in QUESTIONS if isinstance(record.fields.get(name), str)), "")
        question = "" if question == context else question
        choices = self._choices(record)
        label = str(self.column(record, "label", LABELS)).strip()
        right = string.ascii_uppercase.find(label.upper()) if len(label) == 1 and label.isalpha() else label
        if not str(right).isdecimal() or int(right) >= len(choices):
            raise DataError(f"its label {label!r} is none of its {len(choices)} choices")
        fields = {"context": context, "question": question, "choices": choices, "label": int(right)}
        return Example(record.place, fields)

    def _choices(self, record: Record) -> list[str]:
        if "choices" not in self.columns:
            names = sorted(name for name in record.fields if NUMBERED.fullmatch(str(name)))
            if names:
                return [text(record.fields[name], name) for name in names]
        elif "," in self.columns["choices"]:
            return [text(self.column(record, name, (name,)), name) for name in self.columns["choices"].split(",")]
        found = self.column(record, "choices", CHOICES)
        if not isinstance(found, list) or len(found) < 2:
            raise DataError("its choices are no list of two or more")
        return [text(choice, "choice") for choice in found]

    def learn(self, examples: Sequence[Example]) -> None:
        """How many choices an example has: what most have."""
        counts = Counter(len(example.fields["choices"]) for example in examples)
        self.choices = counts.most_common(1)[0][0] if counts else 0

    def check(self, example: Example) -> str:
        """Whether it has as many choices as the others."""
        self.choices = self.choices or len(example.fields["choices"])
        count = len(example.fields["choices"])
        return "" if count == self.choices else f"{count} choices, where the others have {self.choices}"

    def features(self, examples: Sequence[Example]) -> list[Feature]:
        """A row of C rows an example; the question and the choice are cut to `settings.longest_question`, as RACE's."""
        pairs, places = [], []
        for number, example in enumerate(examples):
            question = example.fields["question"]
            for choice in example.fields["choices"]:
                pairs.append((example.fields["context"], _joined(question, choice)))
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
            Feature(row, {"labels": example.fields["label"]}, number)
            for number, (row, example) in enumerate(zip(rows, examples, strict=True))
        ]

    def predictions(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> list[Any]:
        """The number of the best choice."""
        return [int(output["logits"].argmax()) for output in outputs]

    def wanted(self, example: Example) -> Any:
        """The number of the right choice."""
        return example.fields["label"]

    def scores(self, examples: Sequence[Example], predictions: Sequence[Any]) -> dict[str, float]:
        """Accuracy."""
        return metrics.choice([example.fields["label"] for example in examples], predictions)


def _joined(question: str, choice: str) -> str:
    """A question with a choice: after it, or in its gap, which is written `_` as in RACE."""
    if not question:
        return choice
    return question.replace("_", choice) if "_" in question else f"{question} {choice}"
