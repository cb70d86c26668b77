"""Token classification: the label of each token, or the entities of a text.

Shapes: S sequence, K labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.tasks.base import softmax
from roberta_core.tasks.features import Feature, Output, split_windows

STRATEGIES = ("none", "simple", "first", "average", "max")
OUTSIDE = ("O",)


@dataclass(frozen=True)
class Window:
    """A part of a text: its first token counted in the text, and for each token the word and the characters."""

    first: int
    ids: list[int]
    words: list[int | None]
    spans: list[tuple[int, int]]


class TokenClassificationPipeline(Pipeline):
    """Labels of tokens. An input is a text, or with `is_split_into_words` a list of words.

    A text that is longer than the model accepts is read in overlapping windows, each token where it has most context.

    Call options:
        aggregation_strategy: "none" gives every token with its label; "simple" joins tokens with the same label to
            entities; "first", "average" and "max" first give all tokens of a word one label.
        ignore_labels: labels that are not returned.
        stride: read a long text in windows that share so many tokens, and merge their entities as transformers does.
        is_split_into_words: whether an input is a list of words; characters count in the words joined by `delimiter`.
        delimiter: text between two words.
        grouped_entities, ignore_subwords: the older spelling of "simple" and "first".

    Returns:
        For each input a list of `{"entity", "score", "index", "word", "start", "end"}`, or of entities
        `{"entity_group", "score", "word", "start", "end"}`.
    """

    task = "token-classification"
    architecture = "ForTokenClassification"
    defaults = {  # noqa: RUF012  # declared once, never written
        "aggregation_strategy": "none", "ignore_labels": OUTSIDE, "stride": None, "is_split_into_words": False,
        "delimiter": " ", "grouped_entities": None, "ignore_subwords": None,
    }  # fmt: skip

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return labels; with `is_split_into_words` one list of words is one input."""
        words = options.get("is_split_into_words", self.settings["is_split_into_words"])
        if words and isinstance(inputs, list) and not all(isinstance(item, list) for item in inputs):
            inputs = [inputs]
        return super().__call__(inputs, **options)

    def check_options(self, options: Options) -> None:
        """Refuse unknown strategies, and windows without aggregation."""
        if _strategy(options) not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ValueError(f"aggregation_strategy is {options['aggregation_strategy']!r}; expected one of {known}")
        stride = options["stride"]
        if stride is not None and _strategy(options) == "none":
            raise ValueError('stride needs an aggregation_strategy other than "none"')
        if stride is not None and not 0 <= stride < self.length:
            raise ValueError(f"stride is {stride}; it must be at least 0 and below {self.length}, the model's length")

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each window, its `notes` being a `Window`."""
        words = options["is_split_into_words"]
        texts = [_require_words(item) if words else require_str(item, "an input") for item in inputs]
        if not texts:
            return []
        encoded = self.tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, is_split_into_words=words
        )
        room = self.length - self.tokenizer.num_special_tokens_to_add()
        overlap = room // 4 if options["stride"] is None else options["stride"]
        features = []
        for number, item in enumerate(texts):
            ids, spans = encoded["input_ids"][number], encoded["offset_mapping"][number]
            ranks = encoded.word_ids(number)
            if words:
                spans = _shift(spans, ranks, item, options["delimiter"])
            for begin, end in split_windows(len(ids), room, overlap):
                row = self.tokenizer.build_inputs_with_special_tokens(ids[begin:end])
                window = Window(begin, ids[begin:end], ranks[begin:end], spans[begin:end])
                features.append(Feature(row, {}, number, window))
        return features

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the probabilities [S, K] of the window's own tokens."""
        count = len(feature.notes.ids)
        begin = len(feature.ids) - count - 1  # after `<s>`
        return {"scores": softmax(output["logits"][begin : begin + count])}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> list[dict[str, Any]]:
        """Return the tokens or entities of a text."""
        text = options["delimiter"].join(item) if options["is_split_into_words"] else item
        windows = [(feature.notes, output["scores"]) for feature, output in rows]
        if options["stride"] is None:
            return self._label(text, *_join(windows), options)
        found = [entity for window, scores in windows for entity in self._label(text, window, scores, options)]
        return _merge_overlapping(found) if len(windows) > 1 else found

    def _label(self, text: str, window: Window, scores: np.ndarray, options: Options) -> list[dict[str, Any]]:
        strategy, ignored = _strategy(options), options["ignore_labels"]
        tokens = [self._token(text, window, place, scores[place]) for place in range(len(window.ids))]
        if strategy in ("first", "average", "max"):
            tokens = [self._join_word(word, strategy) for word in _group_words(tokens)]
        else:
            tokens = [self._label_token(token) for token in tokens]
        if strategy == "none":
            return [token for token in tokens if token["entity"] not in ignored]
        return [entity for entity in self._group_entities(tokens) if entity["entity_group"] not in ignored]

    def _token(self, text: str, window: Window, place: int, scores: np.ndarray) -> dict[str, Any]:
        begin, end = window.spans[place]
        token = window.ids[place]
        unknown = token == self.tokenizer.unk_token_id
        return {
            "word": text[begin:end] if unknown else self.tokenizer.convert_ids_to_tokens(token),
            "scores": scores, "start": begin, "end": end,
            "index": window.first + place + 1, "rank": window.words[place],
        }  # fmt: skip

    def _label_token(self, token: dict[str, Any]) -> dict[str, Any]:
        best = int(token["scores"].argmax())
        made = {"entity": self.config.id2label[best], "score": float(token["scores"][best])}
        return {**made, **{name: token[name] for name in ("index", "word", "start", "end")}}

    def _join_word(self, tokens: list[dict[str, Any]], strategy: str) -> dict[str, Any]:
        if strategy == "first":
            scores = tokens[0]["scores"]
        elif strategy == "max":
            scores = max((token["scores"] for token in tokens), key=lambda values: values.max())
        else:
            scores = np.mean([token["scores"] for token in tokens], axis=0)
        best = int(scores.argmax())
        return {
            "entity": self.config.id2label[best],
            "score": float(scores[best]),
            "word": self.tokenizer.convert_tokens_to_string([token["word"] for token in tokens]),
            "start": tokens[0]["start"],
            "end": tokens[-1]["end"],
        }

    def _group_entities(self, tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Join neighbours with the same label; a label with the prefix B- begins a new entity."""
        groups: list[list[dict[str, Any]]] = []
        for token in tokens:
            prefix, tag = _split_label(token["entity"])
            if groups and prefix != "B" and tag == _split_label(groups[-1][-1]["entity"])[1]:
                groups[-1].append(token)
            else:
                groups.append([token])
        return [
            {
                "entity_group": group[0]["entity"].split("-", 1)[-1],
                "score": float(np.mean([token["score"] for token in group])),
                "word": self.tokenizer.convert_tokens_to_string([token["word"] for token in group]),
                "start": group[0]["start"],
                "end": group[-1]["end"],
            }
            for group in groups
        ]


def _strategy(options: Options) -> str:
    if options["grouped_entities"] is not None or options["ignore_subwords"] is not None:
        if not options["grouped_entities"]:
            return "none"
        return "first" if options["ignore_subwords"] else "simple"
    strategy = options["aggregation_strategy"]
    return str(getattr(strategy, "value", strategy)).lower()


def _require_words(item: Any) -> list[str]:
    if not isinstance(item, list) or not all(isinstance(word, str) for word in item):
        raise ValueError("with is_split_into_words=True an input is a list of words")
    return item


def _shift(
    spans: Sequence[tuple[int, int]], ranks: Sequence[int | None], words: Sequence[str], delimiter: str
) -> list[tuple[int, int]]:
    """Return the characters of tokens in the joined words instead of in each word."""
    starts = np.cumsum([0, *(len(word) + len(delimiter) for word in words)]).tolist()
    return [
        (begin + starts[rank or 0], end + starts[rank or 0]) for (begin, end), rank in zip(spans, ranks, strict=True)
    ]


def _join(windows: Sequence[tuple[Window, np.ndarray]]) -> tuple[Window, np.ndarray]:
    """Return the tokens of all windows once, each from the window in which it is furthest from an end."""
    if len(windows) == 1:
        return windows[0]
    ids: list[int] = []
    words: list[int | None] = []
    spans: list[tuple[int, int]] = []
    scores: list[np.ndarray] = []
    for number, (window, values) in enumerate(windows):
        count = len(ids)
        shared = count - window.first if number else 0
        keep = shared - shared // 2  # tokens of the overlap that stay with the window before
        drop = shared - keep
        if drop:
            scores = scores[:-drop]
        scores += list(values[keep:])
        ids += window.ids[shared:]
        words += window.words[shared:]
        spans += window.spans[shared:]
    return Window(0, ids, words, spans), np.stack(scores)


def _group_words(tokens: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: list[list[dict[str, Any]]] = []
    for token in tokens:
        if groups and token["rank"] is not None and token["rank"] == groups[-1][-1]["rank"]:
            groups[-1].append(token)
        else:
            groups.append([token])
    return groups


def _split_label(label: str) -> tuple[str, str]:
    return (label[0], label[2:]) if label[:2] in ("B-", "I-") else ("I", label)


def _merge_overlapping(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entities of several windows, of those that overlap the longest, and of these the one scored best."""
    kept: list[dict[str, Any]] = []
    for entity in sorted(entities, key=lambda entity: entity["start"]):
        size = entity["end"] - entity["start"]
        if kept and kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            if (size, entity["score"]) > (kept[-1]["end"] - kept[-1]["start"], kept[-1]["score"]):
                kept[-1] = entity
        else:
            kept.append(entity)
    return kept
