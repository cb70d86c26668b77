"""Text classification: the label of each text, from a stream of any length.

Shapes: B batch, S sequence, K labels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.streams import best_budget, through
from roberta_core.tasks.fill_mask import softmax

ARCHITECTURE = "ForSequenceClassification"
TOKENISED = 256  # texts at once
USUAL = 32  # tokens of a text, where nothing else is known
KINDS = ("single_label_classification", "multi_label_classification", "regression")

Text = str | tuple[str, str]


@dataclass(frozen=True)
class Classified:
    """A text's best label with its score, the scores of all K labels, and whether the text had to be cut.

    Scores are probabilities; of a regression they are the numbers that the model gives.
    """

    label: str
    score: float
    scores: dict[str, float]
    cut: bool


def kind_of(config: RobertaConfig) -> str:
    """What the scores are: as the checkpoint says, else a regression if there is one label."""
    return config.problem_type or (KINDS[2] if config.num_labels == 1 else KINDS[0])


def classify(
    backend: Backend, model: Any, tokenizer: Any, texts: Iterable[Text], budget: int | None = None
) -> Iterator[Classified]:
    """The label of each text or pair of texts, in their order, as they come.

    Args:
        backend: the framework.
        model: the framework's own model, such as `backend.from_pretrained("ForSequenceClassification", ...)`.
        tokenizer: a `RobertaTokenizerFast`.
        texts: what is longer than the model takes is cut at its end.
        budget: tokens a batch; by default what a short measurement finds best.

    Raises:
        ValueError: the model's scores are not finite.
    """
    config, pad = model.config, tokenizer.pad_token_id
    longest = config.max_sequence_length

    def run(rows: list[tuple[list[int], bool]]) -> list[Classified]:
        width = max(len(ids) for ids, _ in rows)
        ids = np.full((len(rows), width), pad, np.int64)
        for number, (row, _) in enumerate(rows):
            ids[number, : len(row)] = row
        logits = backend.run(model, {"input_ids": ids, "attention_mask": (ids != pad).astype(np.int64)}).logits
        return [named(config, scores, cut) for scores, (_, cut) in zip(logits, rows, strict=True)]

    budget = usual_budget(backend, model, tokenizer) if budget is None else budget
    return through(tokenised(tokenizer, texts, longest), lambda row: len(row[0]), run, budget)


def usual_budget(backend: Backend, model: Any, tokenizer: Any) -> int:
    """The tokens a batch that a short measurement finds best for texts of the usual length."""

    def trial(size: int, length: int) -> None:
        ids = np.full((size, length), tokenizer.unk_token_id, np.int64)
        backend.run(model, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    return best_budget(trial, min(USUAL, model.config.max_sequence_length))


def tokenised(tokenizer: Any, texts: Iterable[Text], longest: int) -> Iterator[tuple[list[int], bool]]:
    """The ids of each text, at most `longest`, and whether there were more."""
    stream = iter(texts)
    while held := list(islice(stream, TOKENISED)):
        for text, whole in zip(held, tokenizer(held)["input_ids"], strict=True):
            cut = len(whole) > longest
            pair = text if isinstance(text, tuple) else (text,)
            yield (tokenizer(*pair, truncation=True, max_length=longest)["input_ids"] if cut else whole), cut


def named(config: RobertaConfig, logits: np.ndarray, cut: bool) -> Classified:
    """The answer that logits [K] give. `ValueError` if they are not finite."""
    if not np.isfinite(logits).all():
        raise ValueError("the model's scores are not finite numbers: its weights are broken")
    kind, wide = kind_of(config), logits.astype(np.float64)
    if kind == "single_label_classification":
        wide = softmax(wide)
    elif kind == "multi_label_classification":
        wide = 1 / (1 + np.exp(-wide))
    scores = {config.id2label[number]: float(score) for number, score in enumerate(wide)}
    best = max(scores, key=lambda label: scores[label])
    return Classified(best, scores[best], scores, cut)
