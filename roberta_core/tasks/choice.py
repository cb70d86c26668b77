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

from roberta_core.config import RobertaConfig
from roberta_core.data.records import DataError, Record
from roberta_core.tasks import metrics
from roberta_core.tasks.base import Example, Task, require_label, require_text, softmax
from roberta_core.tasks.features import Feature, Output

CONTEXTS = ("context", "prompt", "article", "sent1", "passage", "premise", "sentence", "ctx", "goal")
QUESTIONS = ("question", "sent2", "question_stem")
# COPA's questions are single words; these are the questions that SuperGLUE's authors ask.
SPELLED_OUT = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
CHOICES, LABELS = ("choices", "options", "endings"), ("label", "answer", "gold", "labels", "answerKey")
NUMBERED = re.compile(r"(?:choice|ending|option|answer|sol)_?(\d+|[a-e])", re.IGNORECASE)
NUMBERED_FROM_0 = re.compile(r"(?:choice|ending|option|answer|sol)_?0", re.IGNORECASE)
GAP = "_"  # where a choice belongs in a question (RACE) or a sentence (WinoGrande)


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
    fields = {  # noqa: RUF012  # declared once, never written
        "context": (*CONTEXTS, *QUESTIONS), "question": QUESTIONS, "choices": CHOICES, "label": LABELS,
    }  # fmt: skip
    recipes = ("race", "tiny-choice")
    metric = "accuracy"
    choices = 0
    always: int | None = None  # the index of the choice that is right in all training examples
    first: int | None = None  # what labels that are numbers are counted from, as found or as the checkpoint says

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return a context, perhaps a question, and the choices."""
        record = _flatten_question(record)
        context = require_text(self.get_column(record, "context", (*CONTEXTS, *QUESTIONS)), "context")
        names = [self.columns["question"]] if "question" in self.columns else QUESTIONS
        question = next((record.fields[name] for name in names if isinstance(record.fields.get(name), str)), "")
        question = "" if question == context else SPELLED_OUT.get(question, question)
        before, gap, after = context.partition(GAP)
        if gap and not question and before.strip() and GAP not in after:
            context, question = before.rstrip(), gap + after
        choices, keys = self._choices(record)
        return {"context": context, "question": question, "choices": choices, **({"keys": keys} if keys else {})}

    def _choices(self, record: Record) -> tuple[list[str], list[str]]:
        """Return the choices, and what labels call them if the record says."""
        if "choices" not in self.columns:
            names = sorted(filter(NUMBERED.fullmatch, map(str, record.fields)), key=_number_in)
            if len(names) > 1:
                return [require_text(record.fields[name], name) for name in names], []
        elif "," in self.columns["choices"]:
            names = self.columns["choices"].split(",")
            return [require_text(record.fields.get(name), name) for name in names], []
        found = self.get_column(record, "choices", CHOICES)
        keys: list[Any] = []
        if isinstance(found, Mapping):  # CommonsenseQA and ARC: {"label": [...], "text": [...]}
            keys, found = found.get("label", []), found.get("text")
        elif isinstance(found, list) and found and all(isinstance(choice, Mapping) for choice in found):
            keys, found = [choice.get("label") for choice in found], [choice.get("text") for choice in found]
        if not isinstance(found, list) or len(found) < 2:
            raise DataError("its choices are not a list of two or more")
        if keys and (not isinstance(keys, list) or len(set(map(str, keys))) != len(found)):
            raise DataError(f"its {len(found)} choices have the labels {keys!r}")
        return [require_text(choice, "choice") for choice in found], [str(key) for key in keys]

    def read_target(self, record: Record, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return which choice is right: its index, or (`counted`) a number that `settle` turns into one."""
        count = len(inputs["choices"])
        given = self.get_column(record, "label", LABELS)
        label = require_label(int(given) if isinstance(given, float) and given.is_integer() else given)
        if label in inputs.get("keys", ()):
            return {"label": inputs["keys"].index(label), "counted": False}
        letter = string.ascii_uppercase.find(label.upper()) if len(label) == 1 and label.isalpha() else -1
        number = letter if letter >= 0 else int(label) if label.isdecimal() else -1
        counted = letter < 0 and not any(NUMBERED_FROM_0.fullmatch(str(name)) for name in record.fields)
        if not 0 <= number < count + counted:
            raise DataError(f"its label {label!r} is none of its {count} choices")
        return {"label": number, "counted": counted}

    def settle(self, examples: Sequence[Example], learn: bool) -> None:
        """Turn labels that are numbers into indices; they are counted from 1 if none is 0 and one is the last.

        Where the examples do not tell it, what the checkpoint's labels are counted from holds for evaluation data.

        Raises:
            DataError: nothing tells what the labels are counted from.
        """
        counted = [example for example in examples if example.fields["counted"]]
        if self.settings.first_label >= 0:
            self.first = self.settings.first_label
        elif counted:
            self.first = _find_first(counted, None if learn else self.first)
        for example in counted:
            example.fields["label"] -= self.first or 0
            example.fields["counted"] = False

    def learn(self, examples: Sequence[Example]) -> None:
        """Learn how many choices an example has: what most have."""
        self.refuse_weights("the choices of an example have none")
        counts = Counter(len(example.fields["choices"]) for example in examples)
        self.choices = counts.most_common(1)[0][0] if counts else 0
        right = {example.fields["label"] for example in examples}
        self.always = right.pop() if len(right) == 1 and len(examples) > 1 else None

    def describe(self) -> str:
        """Return how many choices there are, and a warning if the same one is always right."""
        counted = "" if self.first is None else f", counted from {self.first}"
        always = "" if self.always is None else f"; in all training examples choice {self.always + 1} is the right one"
        return f"{self.choices} choices{counted}{always}"

    def check(self, example: Example) -> str:
        """Return whether it has another number of choices than the others."""
        self.choices = self.choices or len(example.fields["choices"])
        count, label = len(example.fields["choices"]), example.fields["label"]
        if not 0 <= label < count:
            first = self.first or 0
            return f"its label {label + first} is none of its {count} choices, which are counted from {first}"
        return "" if count == self.choices else f"{count} choices, where the others have {self.choices}"

    def config(self) -> dict[str, Any]:
        """Return what the labels are counted from, where a configuration has room for it."""
        return {} if self.first is None else self.as_parameters(first_label=self.first)

    def read_config(self, config: RobertaConfig) -> None:
        """Take over what the labels are counted from."""
        found = self.read_parameter(config, "first_label")
        self.first = found if found in (0, 1) else None

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
        truncated = [False] * len(examples)
        for number, first, second in zip(places, firsts, seconds, strict=True):
            kept = second[: min(most or room, room - 1)]
            rows[number].append(self.tokenizer.build_inputs_with_special_tokens(first[: room - len(kept)], kept))
            truncated[number] |= len(kept) < len(second) or len(first) + len(kept) > room
        targets = [{"labels": one.fields["label"]} if "label" in one.fields else {} for one in examples]
        return [
            Feature(row, target, number, truncated=cut)
            for number, (row, target, cut) in enumerate(zip(rows, targets, truncated, strict=True))
        ]

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


def _flatten_question(record: Record) -> Record:
    """Return a record whose question is a mapping with `stem` and `choices`, as in ARC's files, without that level."""
    question = record.fields.get("question")
    if not isinstance(question, Mapping) or "stem" not in question:
        return record
    inner = {"question": question["stem"], "choices": question.get("choices")}
    return Record({**record.fields, **inner}, record.place)


def _choose(example: Example, logits: np.ndarray) -> Chosen:
    best = int(logits.argmax())
    return Chosen(best, example.fields["choices"][best], tuple(softmax(logits).tolist()))


def _find_first(examples: Sequence[Example], known: int | None) -> int:
    """Return whether labels are counted from 0 or from 1; `known` if the labels do not tell it."""
    labels = [example.fields["label"] for example in examples]
    if 0 in labels:
        return 0
    if any(example.fields["label"] == len(example.fields["choices"]) for example in examples):
        return 1
    if known is not None:
        return known
    raise DataError(
        f"the labels are from {min(labels)} to {max(labels)}, so they may be counted from 0 or from 1: set first_label "
        "in the recipe's table [task]"
    )


def _number_in(name: str) -> tuple[bool, int, str]:
    """Return what sorts the names of numbered columns: `ending2` before `ending10`, letters after numbers."""
    found = NUMBERED.fullmatch(name)
    number = found[1] if found else ""
    return not number.isdecimal(), int(number) if number.isdecimal() else 0, number.lower()


def _join(question: str, choice: str) -> str:
    """Return a question with a choice: after it, or in its gap, which is written `_` as in RACE."""
    if not question:
        return choice
    return question.replace(GAP, choice) if GAP in question else f"{question} {choice}"
