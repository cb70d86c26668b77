"""Fill-mask: predictions for each `<mask>` of a text.

Shapes: B batch, S sequence, M masks of a text, V vocabulary.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig
from roberta_core.data.records import Record
from roberta_core.interface import choose_advice
from roberta_core.tasks.base import Example, Task, require_text, softmax
from roberta_core.tasks.features import Feature, Output

ARCHITECTURE = "ForMaskedLM"
SHOWN = 60  # characters of a text that an error shows


@dataclass(frozen=True)
class Candidate:
    """A token for a mask: its id, its text (with the space before it, if any), its probability, the text with it."""

    token_id: int
    token: str
    probability: float
    sequence: str


@dataclass(frozen=True)
class Filled:
    """A mask of a text: the text's index, the mask's position among its tokens, the candidates, most likely first."""

    text: int
    position: int
    candidates: tuple[Candidate, ...]


@dataclass
class FillMask(Task):
    """Rows `<s> text </s>` with at least one mask; several masks of a text are filled independently of each other.

    Args:
        top_k: candidates for each mask.
        vocabulary: the model's vocabulary size, where it differs from the tokenizer's; `read_config` sets it.
    """

    name = "fill-mask"
    architecture = ARCHITECTURE
    metric = ""
    fields = {"text": ("text", "sentence", "content")}  # noqa: RUF012  # declared once, never written
    top_k: int = 5
    vocabulary: int = 0

    def read_inputs(self, record: Record) -> dict[str, Any]:
        """Return the text."""
        return {"text": require_text(self.get_column(record, "text", ("text", "sentence", "content")), "text")}

    def read_config(self, config: RobertaConfig) -> None:
        """Take over the vocabulary size."""
        self.vocabulary = config.vocab_size

    def build_features(self, examples: Sequence[Example]) -> list[Feature]:
        """Return a row for each text, its `notes` being the positions of the masks.

        Raises:
            ValueError: a text has no mask or is too long, or the vocabulary has fewer than `top_k` tokens.
        """
        choices = min(len(self.tokenizer), self.vocabulary or len(self.tokenizer))
        if not 1 <= self.top_k <= choices:
            name = choose_advice(python="top_k", command="--top-k")
            raise ValueError(f"{name} is {self.top_k}, but the vocabulary has {choices} tokens to choose from")
        texts = [example.fields["text"] for example in examples]
        rows = self.tokenizer(texts)["input_ids"] if texts else []
        return [self._feature(number, text, ids) for number, (text, ids) in enumerate(zip(texts, rows, strict=True))]

    def _feature(self, number: int, text: str, ids: list[int]) -> Feature:
        shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
        masks = [position for position, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        if not masks:
            mask = self.tokenizer.mask_token
            raise ValueError(f"No mask_token ({mask}) found on the input {shown}: write {mask} where a word is missing")
        if len(ids) > self.length:
            raise ValueError(f"{shown} has {len(ids)} tokens, but the model accepts at most {self.length}: shorten it")
        return Feature(ids, {}, number, masks, predicted=masks)

    def keep(self, feature: Feature, output: Output) -> Output:
        """Return the `top_k` best ids and their probabilities [M, top_k]; of equals the lower id comes first."""
        probabilities = softmax(output["logits"])  # [M, V]
        known = probabilities[:, : len(self.tokenizer)]  # a model may have more rows than the tokenizer has tokens
        best = np.argsort(-known, axis=-1, kind="stable")[:, : self.top_k]
        return {"ids": best, "probabilities": np.take_along_axis(known, best, axis=-1)}

    def decode(
        self, examples: Sequence[Example], features: Sequence[Feature], outputs: Sequence[Output]
    ) -> list[tuple[Filled, ...]]:
        """Return the masks of each text, in reading order."""
        return [
            tuple(
                Filled(feature.example, position, tuple(self._candidates(feature.ids, position, ids, probabilities)))
                for position, ids, probabilities in zip(
                    feature.notes, output["ids"].tolist(), output["probabilities"].tolist(), strict=True
                )
            )
            for feature, output in zip(features, outputs, strict=True)
        ]

    def _candidates(
        self, row: list[int], position: int, ids: list[int], probabilities: list[float]
    ) -> Iterator[Candidate]:
        for token_id, probability in zip(ids, probabilities, strict=True):
            sequence = [*row[:position], token_id, *row[position + 1 :]]
            token, text = self.tokenizer.decode([token_id]), self.tokenizer.decode(sequence[1:-1])  # without <s>, </s>
            yield Candidate(token_id, token, probability, text)

    def value_of(self, prediction: tuple[Filled, ...]) -> list[str]:
        """Return the most likely token of each mask."""
        return [mask.candidates[0].token for mask in prediction]


def fill_mask(
    backend: Backend, model: Any, tokenizer: Any, texts: Sequence[str], top_k: int = 5, budget: int | None = None
) -> list[Filled]:
    """Return the most likely tokens of every mask in the texts, in reading order.

    Args:
        backend: the framework.
        model: the framework's own masked language model, such as `backend.from_pretrained("ForMaskedLM", ...)`.
        tokenizer: a `RobertaTokenizerFast` or `TokenizerFast`.
        texts: each with at least one mask token. Several masks of a text are filled independently of each other.
        top_k: candidates for each mask.
        budget: tokens per batch; by default measured if there are many texts.

    Raises:
        ValueError: a text has no mask or is too long for the model, or the vocabulary has fewer than `top_k` tokens.
    """
    task = build_task(tokenizer, model.config, top_k)
    predictions = task.predict(backend, model, as_examples(texts), budget)
    return [dataclasses.replace(mask, text=number) for number, masks in enumerate(predictions) for mask in masks]


def check_texts(tokenizer: Any, texts: Sequence[str], config: RobertaConfig, top_k: int) -> None:
    """Raise the `ValueError` that `fill_mask` would raise; needs no framework."""
    build_task(tokenizer, config, top_k).build_features(as_examples(texts))


def build_task(tokenizer: Any, config: RobertaConfig, top_k: int) -> FillMask:
    """Return the task over a tokenizer and a model's configuration."""
    return FillMask(tokenizer, config.max_sequence_length, top_k=top_k, vocabulary=config.vocab_size)


def as_examples(texts: Sequence[str]) -> list[Example]:
    """Return the examples of texts."""
    return [Example(f"text {number}", {"text": text}) for number, text in enumerate(texts)]
