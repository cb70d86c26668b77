"""Choices among texts: the best ending or answer, and the order of documents for a query.

Shapes: C choices.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, advise_truncation, get_field, require_str
from roberta_core.sentences import CrossEncoder, find_encoder, lower, read_cross_encoder, save_cross_encoder
from roberta_core.tasks.base import Example, softmax
from roberta_core.tasks.choice import MultipleChoice
from roberta_core.tasks.features import Feature, Output


class MultipleChoicePipeline(Pipeline):
    """The best of several choices. An input is a mapping with `context`, perhaps `question`, and `choices`.

    Returns:
        `{"label", "choice", "score", "scores"}` for each input: the index and text of the best choice, its
        probability, and the probability of each choice.
    """

    task = "multiple-choice"
    architecture = "ForMultipleChoice"

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each choice."""
        task = MultipleChoice(self.tokenizer, self.length)
        return task.build_features([Example("", self._read(item)) for item in inputs])

    def _read(self, item: Any) -> dict[str, Any]:
        context, choices = require_str(get_field(item, ("context",)), "context"), get_field(item, ("choices",))
        if not isinstance(choices, list | tuple) or len(choices) < 2:
            raise ValueError("choices must be a list of two or more texts")
        question = item.get("question") or ""
        return {
            "context": context,
            "question": require_str(question, "question"),
            "choices": [require_str(choice, "a choice") for choice in choices],
        }

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> dict[str, Any]:
        """Return the best choice."""
        scores = softmax(rows[0][1]["logits"])
        best = int(scores.argmax())
        return {
            "label": best, "choice": item["choices"][best], "score": float(scores[best]), "scores": scores.tolist(),
        }  # fmt: skip


class TextRankingPipeline(Pipeline):
    """The order of documents for a query, by a cross-encoder. An input is a mapping with `query` and `documents`.

    Call options:
        top_k: the number of documents to return, all for None.
        truncation: truncate a document that is longer than the model accepts; otherwise it is refused.

    Returns:
        For each input a list of `{"index", "score", "text"}`, best first. A score is the sigmoid of the logit of a
        model with one label, or what the folder of a cross-encoder names instead; for a model with several labels it
        is the probability of the last.
    """

    task = "text-ranking"
    architecture = "ForSequenceClassification"
    defaults = {"top_k": None, "truncation": True}  # noqa: RUF012

    def __init__(self, *arguments: Any, cross_encoder: CrossEncoder | None = None, **settings: Any):
        super().__init__(*arguments, **settings)
        self.cross_encoder = cross_encoder or CrossEncoder()
        self.length = min(self.length, self.cross_encoder.max_length or self.length)

    @classmethod
    def read_folder(cls, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Return the folder of the model, and the settings of the cross-encoder."""
        return find_encoder(folder), {"cross_encoder": read_cross_encoder(folder)}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save a folder that the `CrossEncoder` of sentence-transformers opens.

        Args:
            folder: a folder that does not exist or is empty.

        Raises:
            CheckpointError: the folder is not empty, or a file cannot be written.
        """
        save_cross_encoder(folder, replace(self.cross_encoder, max_length=self.length), self.config, self._save_model)

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row `<s> query </s></s> document </s>` for each document."""
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True)
        features = []
        for number, item in enumerate(inputs):
            query = require_str(get_field(item, ("query",)), "query")
            documents = [require_str(document, "a document") for document in get_field(item, ("documents",))]
            query = self.cross_encoder.get_prompt() + query
            if self.cross_encoder.lower_case:
                query, *documents = (lower(text) for text in (query, *documents))
            (first,) = self.tokenizer([query], add_special_tokens=False)["input_ids"]
            seconds = self.tokenizer(documents, add_special_tokens=False)["input_ids"] if documents else []
            if len(first) >= room:
                raise ValueError(f"a query has {len(first)} tokens, which leaves no room for documents")
            for second in seconds:
                if len(first) + len(second) > room and not options["truncation"]:
                    raise ValueError(
                        f"a document has {len(second)} tokens, but {room - len(first)} fit beside the query: "
                        f"shorten it, or {advise_truncation()}"
                    )
                row = self.tokenizer.build_inputs_with_special_tokens(first, second[: room - len(first)])
                features.append(Feature(row, {}, number, truncated=len(first) + len(second) > room))
        return features

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> list[dict[str, Any]]:
        """Return the documents of a query, best first."""
        if not rows:
            return []
        logits = np.stack([output["logits"] for _, output in rows]).astype(np.float64)
        scores = self.cross_encoder.activate(logits[:, 0]) if logits.shape[1] == 1 else softmax(logits)[:, -1]
        order = np.argsort(-scores, kind="stable")[: options["top_k"]]
        return [
            {"index": int(place), "score": float(scores[place]), "text": item["documents"][place]} for place in order
        ]
