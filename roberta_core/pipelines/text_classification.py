"""Text classification: the scores of each label for a text or a pair of texts.

Shapes: K labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.tasks.base import softmax
from roberta_core.tasks.features import Feature, Output, split_windows

FUNCTIONS = ("softmax", "sigmoid", "none")
LONG = ("windows", "head", "tail", "head+tail")
UNSET = object()  # of `top_k`: the published result without it is one label, not a list


class TextClassificationPipeline(Pipeline):
    """Labels of texts. An input is a text, or a mapping with `text` and `text_pair`.

    Call options:
        top_k: the number of labels to return, all for None; without it the best label alone.
        function_to_apply: "softmax", "sigmoid" or "none"; by default what the configuration's problem type means.
        return_all_scores: all labels in their own order; the older spelling of `top_k=None`.
        truncation: truncate a text that is longer than the model accepts at its end, as `long="head"` does.
        long: what to do with such a text: average the scores of overlapping "windows" (the default), or keep its
            "head", its "tail", or "head+tail", a quarter of the room for the head. Pairs are only accepted with "head".

    Returns:
        `{"label", "score"}` for each input; a list of them, best first, with `top_k`.
    """

    task = "text-classification"
    architecture = "ForSequenceClassification"
    defaults = {  # noqa: RUF012  # declared once, never written
        "top_k": UNSET, "function_to_apply": None, "return_all_scores": None, "truncation": False, "long": "windows",
    }  # fmt: skip

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return labels; one text without `top_k` gives a list of one, as published."""
        result = super().__call__(inputs, **options)
        return [result] if isinstance(inputs, str) and "top_k" not in options else result

    def is_batch(self, inputs: Any) -> bool:
        """Whether `inputs` are several inputs; `[[[text, text_pair]]]` is the older spelling of one pair."""
        return super().is_batch(inputs) and not _is_nested_pair(inputs)

    def check_options(self, options: Options) -> None:
        """Refuse unknown functions and ways to treat long texts."""
        function = options["function_to_apply"]
        if function is not None and str(function).lower() not in FUNCTIONS:
            raise ValueError(f"function_to_apply is {function!r}; known are {', '.join(FUNCTIONS)}")
        if options["long"] not in LONG:
            raise ValueError(f"long is {options['long']!r}; known are {', '.join(LONG)}")

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each text, several for one that is cut into windows."""
        if not inputs:
            return []
        pairs = [_split_pair(item) for item in inputs]
        singles = [number for number, (_, second) in enumerate(pairs) if second is None]
        features = []
        texts = [pairs[number][0] for number in singles]
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        for number, ids in zip(singles, encoded, strict=True):
            features += [Feature(row, {}, number) for row in self._cut(ids, options)]
        for number, (first, second) in enumerate(pairs):
            if second is not None:
                features.append(Feature(self._encode_pair(first, second, options), {}, number))
        return features

    def _cut(self, ids: list[int], options: Options) -> list[list[int]]:
        room = self.length - self.tokenizer.num_special_tokens_to_add()
        long = "head" if options["truncation"] else options["long"]
        if len(ids) <= room or long == "head":
            parts = [ids[:room]]
        elif long == "tail":
            parts = [ids[-room:]]
        elif long == "head+tail":
            head = room // 4
            parts = [ids[:head] + ids[head - room :]]
        else:
            parts = [ids[begin:end] for begin, end in split_windows(len(ids), room, room // 4)]
        return [self.tokenizer.build_inputs_with_special_tokens(part) for part in parts]

    def _encode_pair(self, first: str, second: str, options: Options) -> list[int]:
        ids = self.tokenizer(first, second)["input_ids"]
        if len(ids) <= self.length:
            return ids
        if not options["truncation"] and options["long"] != "head":
            raise ValueError(
                f"a pair of texts has {len(ids)} tokens, but the model accepts at most {self.length}: "
                'pass truncation=True or long="head" to truncate the longer text'
            )
        return self.tokenizer(first, second, truncation=True, max_length=self.length)["input_ids"]

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the labels of a text, the scores averaged over its windows."""
        scores = np.mean([self._score(output["logits"], options) for _, output in rows], axis=0)  # [K]
        labels = [{"label": self.config.id2label[k], "score": score} for k, score in enumerate(scores.tolist())]
        top_k, every = options["top_k"], options["return_all_scores"]
        if top_k is UNSET:
            return labels if every else labels[int(scores.argmax())]
        labels.sort(key=lambda label: -label["score"])
        return labels[:top_k]

    def _score(self, logits: np.ndarray, options: Options) -> np.ndarray:
        values = logits.astype(np.float64)
        function = str(options["function_to_apply"] or _default_function(self.config)).lower()
        if function == "softmax":
            return softmax(values)
        return 1 / (1 + np.exp(-values)) if function == "sigmoid" else values


def _default_function(config: Any) -> str:
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def _is_nested_pair(inputs: Any) -> bool:
    return isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], list) and len(inputs[0]) == 2


def _split_pair(item: Any) -> tuple[str, str | None]:
    if isinstance(item, Mapping):
        unknown = sorted(set(item) - {"text", "text_pair"})
        if unknown or "text" not in item:
            raise ValueError(f"an input has the fields {', '.join(item) or 'none'}; text and text_pair are known")
        pair = item.get("text_pair") or None  # an empty second text is none, as in transformers
        return require_str(item["text"], "text"), None if pair is None else require_str(pair, "text_pair")
    if _is_nested_pair(item):
        return require_str(item[0][0], "text"), require_str(item[0][1], "text_pair")
    if isinstance(item, tuple) and len(item) == 2:
        return require_str(item[0], "text"), require_str(item[1], "text_pair")
    if isinstance(item, str):
        return item, None
    raise ValueError('an input is a text or a mapping; a pair is {"text": ..., "text_pair": ...}')
