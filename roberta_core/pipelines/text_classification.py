"""Text classification: the scores of each label for a text or a pair of texts.

Shapes: K labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roberta_core.interface import choose_advice
from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.pipelines.html_fragments import attach_html
from roberta_core.tasks.base import softmax
from roberta_core.tasks.features import Feature, Output, split_windows
from roberta_core.tokenization.rows import KEEP

FUNCTIONS = ("softmax", "sigmoid", "none")
LONG = ("windows", "head", "tail", "head+tail")
TRUNCATIONS = {
    None: "", False: "", "do_not_truncate": "", True: "longest_first",
    **{name: name for name in ("longest_first", "only_first", "only_second")},
}  # fmt: skip
COMBINED = {"mean": np.mean, "max": np.max}  # of the scores of windows
UNSET = object()  # of `top_k`: the published result without it is one label, not a list


class TextClassificationPipeline(Pipeline):
    """Labels of texts. An input is a text, or a mapping with `text` and `text_pair`.

    Call options:
        top_k: the number of labels to return, all for None; without it the best label alone.
        function_to_apply: "softmax", "sigmoid" or "none"; by default what the configuration's problem type means.
        return_all_scores: all labels in their own order; the older spelling of `top_k=None`.
        truncation: truncate a text that is longer than the model accepts at its end, as `long="head"` does; of a pair
            the longer text, or with "only_first" or "only_second" that one.
        max_length: with `truncation`, the most tokens of a row; by default as many as the model accepts.
        long: what to do with such a text: combine the scores of overlapping "windows" (the default), or keep its
            "head", its "tail", or "head+tail", a quarter of the room for the head. Of a pair the longer text is cut
            and the other one kept whole; with "head" tokens are removed from the longer one until both fit.
        window_scores: the "mean" or the "max" of each label's score over the windows.
        detailed: return one mapping for each input with everything that is known about it.
        threshold: of a multi-label model: the score from which on a label is among the `labels` of a detailed result.

    Returns:
        `{"label", "score"}` for each input; a list of them, best first, with `top_k`. With `detailed` a mapping
        `{"text", "label", "score", "scores", "truncated"}`: the input, its best label, the scores by label, and whether
        the model has not read all of it; of a multi-label model also `labels`.
    """

    task = "text-classification"
    architecture = "ForSequenceClassification"
    defaults = {  # noqa: RUF012  # declared once, never written
        "top_k": UNSET, "function_to_apply": None, "return_all_scores": None, "truncation": False, "max_length": None,
        "long": "windows", "window_scores": "mean", "detailed": False, "threshold": 0.5,
    }  # fmt: skip

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return labels; one text without `top_k` gives a list of one, as published."""
        result = super().__call__(inputs, **options)
        if not isinstance(inputs, str) or "top_k" in options:
            return result
        return attach_html([result], self.task, [(inputs, result)])

    def is_batch(self, inputs: Any) -> bool:
        """Whether `inputs` are several inputs; `[[[text, text_pair]]]` is the older spelling of one pair."""
        return super().is_batch(inputs) and not _is_nested_pair(inputs)

    def check_options(self, options: Options) -> None:
        """Refuse unknown functions and ways to treat long texts."""
        function = options["function_to_apply"]
        if function is not None and str(function).lower() not in FUNCTIONS:
            raise ValueError(f"function_to_apply is {function!r}; expected one of {', '.join(FUNCTIONS)}")
        for name, known in (("long", LONG), ("window_scores", tuple(COMBINED))):
            if options[name] not in known:
                raise ValueError(f"{name} is {options[name]!r}; expected one of {', '.join(known)}")
        truncation, most = options["truncation"], options["max_length"]
        if truncation not in TRUNCATIONS:
            raise ValueError(f"truncation is {truncation!r}; expected one of {', '.join(map(repr, TRUNCATIONS))}")
        if most is not None and not TRUNCATIONS[truncation]:
            raise ValueError(f"max_length is {most}, but truncation is not requested: pass truncation=True too")
        if most is not None and most <= self.tokenizer.num_special_tokens_to_add(pair=True):
            raise ValueError(f"max_length is {most}, which leaves no room for text beside the special tokens")

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each text, several for one in windows; `notes` is whether tokens were omitted."""
        pairs = [_split_pair(item) for item in inputs]
        texts = list(dict.fromkeys(text for pair in pairs for text in pair if text is not None))
        encoded = self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        ids = dict(zip(texts, encoded, strict=True))
        features = []
        for number, (first, second) in enumerate(pairs):
            rows = self._cut(ids[first], None if second is None else ids[second], options)
            cut = len(rows) == 1 and len(rows[0]) < self._count(ids[first], None if second is None else ids[second])
            features += [Feature(row, {}, number, cut) for row in rows]
        return features

    def _count(self, first: list[int], second: list[int] | None) -> int:
        """Return the number of tokens of a whole row."""
        special = self.tokenizer.num_special_tokens_to_add(pair=second is not None)
        return len(first) + len(second or ()) + special

    def _cut(self, first: list[int], second: list[int] | None, options: Options) -> list[list[int]]:
        """Return the rows of a text or a pair."""
        strategy = TRUNCATIONS[options["truncation"]]
        long = "head" if strategy else options["long"]
        length = min(options["max_length"] or self.length, self.length)
        if self._count(first, second) <= length:
            pairs = [(first, second)]
        elif second is None:
            if strategy == "only_second":
                raise ValueError(
                    f'a text without a pair has {len(first)} tokens: truncation="only_second" cannot cut it'
                )
            room = length - self._count([], None)
            pairs = [(part, None) for part in _take(first, room, long)]
        elif long == "head":
            sizes = len(first), len(second)
            one, other = KEEP[strategy or "longest_first"](sizes, length - self._count([], []))
            pairs = [(first[:one], second[:other])]
        else:
            swapped = len(second) > len(first)
            short, other = (first, second) if swapped else (second, first)
            room = self.length - self._count(short, [])
            if room < self.length // 2:
                advice = choose_advice(
                    python='truncation=True or long="head"', command="--long head", request='"truncate": true'
                )
                raise ValueError(
                    f"both texts of a pair are long ({len(first)} and {len(second)} tokens, of which the model accepts "
                    f"{self.length - self._count([], [])} together): pass {advice}"
                )
            pairs = [(short, part) if swapped else (part, short) for part in _take(other, room, long)]
        return [self.tokenizer.build_inputs_with_special_tokens(*pair) for pair in pairs]

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the labels of a text, the scores combined over its windows."""
        each = [self._score(output["logits"], options) for _, output in rows]
        scores = COMBINED[options["window_scores"]](each, axis=0)  # [K]
        labels = [{"label": self.config.id2label[k], "score": score} for k, score in enumerate(scores.tolist())]
        if options["detailed"]:
            return self._describe(item, labels, any(feature.notes for feature, _ in rows), options["threshold"])
        top_k, every = options["top_k"], options["return_all_scores"]
        if top_k is UNSET:
            return labels if every else labels[int(scores.argmax())]
        labels.sort(key=lambda label: -label["score"])
        return labels[:top_k]

    def _describe(self, item: Any, labels: list[dict[str, Any]], truncated: bool, threshold: float) -> dict[str, Any]:
        """Return everything that is known about a text."""
        first, second = _split_pair(item)
        best = max(labels, key=lambda label: label["score"])
        several = {}
        if self.config.problem_type == "multi_label_classification":
            several = {"labels": [label["label"] for label in labels if label["score"] >= threshold]}
        scores = {label["label"]: label["score"] for label in labels}
        text = first if second is None else [first, second]
        return {"text": text, **best, **several, "scores": scores, "truncated": truncated}

    def _score(self, logits: np.ndarray, options: Options) -> np.ndarray:
        values = logits.astype(np.float64)
        function = str(options["function_to_apply"] or _default_function(self.config)).lower()
        if function == "softmax":
            return softmax(values)
        return 1 / (1 + np.exp(-values)) if function == "sigmoid" else values


def _take(ids: list[int], room: int, long: str) -> list[list[int]]:
    """Return the parts of a long text that are read."""
    if long == "head":
        return [ids[:room]]
    if long == "tail":
        return [ids[-room:]]
    if long == "head+tail":
        head = room // 4
        return [ids[:head] + ids[head - room :]]
    return [ids[begin:end] for begin, end in split_windows(len(ids), room, room // 4)]


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
    kind = type(item).__name__
    raise ValueError(f'an input is {kind}, not a text or a mapping; a pair is {{"text": ..., "text_pair": ...}}')
