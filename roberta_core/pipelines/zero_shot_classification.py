"""Zero-shot classification: labels chosen at call time, each scored as a hypothesis that a text entails.

Shapes: K labels of the model, C candidate labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.tasks.base import softmax
from roberta_core.tasks.features import Feature, Output

TEMPLATE = "This example is {}."


class ZeroShotClassificationPipeline(Pipeline):
    """Scores of candidate labels by a model for natural language inference. An input is a text.

    Call options:
        candidate_labels: a list of labels, or labels with commas between them.
        hypothesis_template: the hypothesis, with `{}` where the label goes.
        multi_label: score each label on its own, entailment against contradiction.

    Returns:
        `{"sequence", "labels", "scores"}` for each input, the labels best first.

    Raises:
        ValueError: the model's labels do not name an entailment: which of them means it is not guessed.
    """

    task = "zero-shot-classification"
    architecture = "ForSequenceClassification"
    defaults = {"candidate_labels": None, "hypothesis_template": TEMPLATE, "multi_label": False}  # noqa: RUF012
    renamed = {"multi_class": "multi_label"}  # noqa: RUF012

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.entailment_id = self._find_label("entail")
        if self.entailment_id is None:
            raise ValueError(
                "zero-shot-classification needs a model trained for natural language inference, with a label that "
                f"begins with 'entail'; this one has {', '.join(self.config.id2label.values())}. If it was trained "
                "for that, correct id2label in its config.json so that one label begins with 'entail'"
            )

    def __call__(self, sequences: Any, candidate_labels: Any = None, **options: Any) -> Any:
        """Return the scores of candidate labels for a text or a list of texts."""
        if candidate_labels is not None:
            options["candidate_labels"] = candidate_labels
        return super().__call__(sequences, **options)

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row `<s> text </s></s> hypothesis </s>` for each candidate label; only the text is truncated."""
        hypotheses = self._hypotheses(options)
        seconds = self.tokenizer(hypotheses, add_special_tokens=False)["input_ids"]
        texts = [require_str(item, "an input") for item in inputs]
        firsts = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        room = self.length - self.tokenizer.num_special_tokens_to_add(pair=True)
        if max(map(len, seconds)) >= room:
            raise ValueError(f"a hypothesis has {max(map(len, seconds))} tokens; it must have fewer than {room}")
        build = self.tokenizer.build_inputs_with_special_tokens
        return [
            Feature(build(first[: room - len(second)], second), {}, number, None, len(first) + len(second) > room)
            for number, first in enumerate(firsts)
            for second in seconds
        ]

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> dict[str, Any]:
        """Return the candidate labels of a text, best first."""
        labels = _parse_labels(options["candidate_labels"])
        logits = np.stack([output["logits"] for _, output in rows]).astype(np.float64)  # [C, K]
        if options["multi_label"] or len(labels) == 1:
            scores = softmax(logits[:, [self._contradiction_id(), self.entailment_id]])[:, 1]
        else:
            scores = softmax(logits[:, self.entailment_id])
        order = np.argsort(-scores, kind="stable")
        return {"sequence": item, "labels": [labels[place] for place in order], "scores": scores[order].tolist()}

    def _hypotheses(self, options: Options) -> list[str]:
        template, labels = options["hypothesis_template"], _parse_labels(options["candidate_labels"])
        if not labels:
            raise ValueError("candidate_labels is empty: pass at least one label")
        try:
            filled = template.format(labels[0])
        except (IndexError, KeyError, ValueError):
            filled = template
        if filled == template:
            raise ValueError(f"hypothesis_template is {template!r}; it must have one {{}}, which stands for the label")
        return [template.format(label) for label in labels]

    def _find_label(self, beginning: str) -> int | None:
        return next((k for k, label in self.config.id2label.items() if label.lower().startswith(beginning)), None)

    def _contradiction_id(self) -> int:
        found = self._find_label("contra")
        if found is None and self.config.num_labels == 2:
            found = 1 - (self.entailment_id or 0)
        if found is None:
            raise ValueError(
                f"scoring one label on its own needs a model with a label that begins with 'contra'; this one has "
                f"{', '.join(self.config.id2label.values())}"
            )
        return found


def _parse_labels(labels: Any) -> list[str]:
    if isinstance(labels, str):
        return [label.strip() for label in labels.split(",") if label.strip()]
    return list(labels or [])
