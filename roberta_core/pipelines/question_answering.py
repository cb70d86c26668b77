"""Extractive question answering: the spans of a context that answer a question.

Shapes: S sequence.
"""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.tasks.features import Feature, Output, split_windows

MAX_LENGTH = 384  # tokens of a window by default, the published value
DOC_STRIDE = 128  # tokens that windows share by default
EXCLUDED = -10000.0  # logit of tokens outside the context, as published


@dataclass(frozen=True)
class Window:
    """A part of a context: which tokens of the row may be in an answer, their words and characters in the context."""

    allowed: np.ndarray  # [S] bool: context tokens, and `<s>`
    words: list[int | None]  # [S]
    spans: list[tuple[int, int]]  # [S]


class QuestionAnsweringPipeline(Pipeline):
    """Answers of questions. An input is a mapping with `question` and `context`, or they are keyword arguments.

    Call options:
        top_k: the number of answers.
        max_answer_len: the most tokens of an answer.
        max_seq_len: the most tokens of a window, question included.
        doc_stride: tokens that two windows of a long context share.
        handle_impossible_answer: whether "" is an answer too, with the score of "no answer"; None means that the
            configuration of the model decides, which fine-tuning stores, and False if it does not.
        align_to_words: extend answers to whole words.
        max_question_len: accepted and ignored, as published for fast tokenizers: a question is never truncated.

    Returns:
        `{"score", "start", "end", "answer"}` for each question; a list of them, best first, where there are several.
    """

    task = "question-answering"
    architecture = "ForQuestionAnswering"
    defaults = {  # noqa: RUF012  # declared once, never written
        "top_k": 1, "max_answer_len": 15, "max_seq_len": None, "doc_stride": None, "handle_impossible_answer": None,
        "align_to_words": True, "max_question_len": None,
    }  # fmt: skip
    renamed = {"topk": "top_k"}  # noqa: RUF012

    def __call__(self, *inputs: Any, question: Any = None, context: Any = None, **options: Any) -> Any:
        """Return the answer of each question.

        Args:
            inputs: a mapping with `question` and `context`, several of them, or a question and its context.
            question: a question or a list of them.
            context: the context of all questions, or a list of one for each.
            options: call options of the task; `data` and `X` are older names of `inputs`.
        """
        for name in ("X", "data"):
            inputs = (options.pop(name),) if name in options else inputs
        examples = _collect(inputs, question, context)
        if isinstance(examples, list) and len(examples) == 1:
            return super().__call__(examples[0], **options)
        return super().__call__(examples, **options)

    def check_options(self, options: Options) -> None:
        """Refuse counts below one."""
        for name in ("top_k", "max_answer_len"):
            if options[name] < 1:
                raise ValueError(f"{name} is {options[name]}; it must be at least 1")

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row `<s> question </s></s> window </s>` for each window, its `notes` being a `Window`."""
        fields = [_read(item) for item in inputs]
        contexts = list(dict.fromkeys(context for _, context in fields))
        encoded = self.tokenizer(contexts, add_special_tokens=False, return_offsets_mapping=True) if contexts else {}
        places = {context: place for place, context in enumerate(contexts)}
        words = [encoded.word_ids(place) for place in range(len(contexts))]  # type: ignore[union-attr]
        questions = self.tokenizer([question for question, _ in fields], add_special_tokens=False) if fields else {}
        features = []
        for number, (_, context) in enumerate(fields):
            place = places[context]
            tokens, spans = encoded["input_ids"][place], encoded["offset_mapping"][place]
            question = questions["input_ids"][number]
            for begin, end in self._windows(question, len(tokens), options):
                features.append(
                    self._feature(number, question, tokens[begin:end], words[place][begin:end], spans[begin:end])
                )
        return features

    def _windows(self, question: list[int], count: int, options: Options) -> list[tuple[int, int]]:
        most = min(options["max_seq_len"] or min(self.length, MAX_LENGTH), self.length)
        room = most - self.tokenizer.num_special_tokens_to_add(pair=True) - len(question)
        if room < 1:
            raise ValueError(f"a question has {len(question)} tokens, which leaves no room in windows of {most} tokens")
        overlap = options["doc_stride"]
        if overlap is None:
            overlap = min(most // 2, DOC_STRIDE)
            overlap = overlap if overlap < room else room // 2  # beside a long question windows are small
        elif not 0 <= overlap <= most or (overlap >= room and count > room):
            raise ValueError(
                f"doc_stride is {overlap}, but a window has room for {room} tokens of a context beside a question of "
                f"{len(question)} tokens: lower doc_stride"
            )
        return split_windows(count, room, overlap)

    def _feature(
        self, number: int, question: list[int], tokens: list[int], words: list[Any], spans: list[tuple[int, int]]
    ) -> Feature:
        row = self.tokenizer.build_inputs_with_special_tokens(question, tokens)
        before = len(row) - len(tokens) - 1
        allowed = np.zeros(len(row), bool)
        allowed[0] = True
        allowed[before : before + len(tokens)] = True
        none: list[int | None] = [None]
        return Feature(
            row, {}, number, Window(allowed, none * before + words + none, [(0, 0)] * before + spans + [(0, 0)])
        )

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the logits [S] without padding."""
        return {name: output[name][: len(feature.ids)] for name in ("start_logits", "end_logits")}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the best answers over the windows of a question, equal texts counted together."""
        context, top_k, align = _read(item)[1], options["top_k"], options["align_to_words"]
        found: dict[str, dict[str, Any]] = {}
        null = np.inf
        for feature, output in rows:
            window: Window = feature.notes
            starts, ends, score_of_null = _normalise(output, window.allowed)
            null = min(null, score_of_null)
            count = 2 * top_k + 10 if align else top_k  # aligned to words, several spans may be one answer
            for start, end, score in _best_spans(starts, ends, window.allowed, count, options["max_answer_len"]):
                begin, stop = _locate(window, start, end, align)
                answer = context[begin:stop]
                same = found.setdefault(answer.lower(), {"score": 0.0, "start": begin, "end": stop, "answer": answer})
                same["score"] += score
        answers = list(found.values())
        allowed = options["handle_impossible_answer"]
        if self._may_have_no_answer() if allowed is None else allowed:
            answers.append({"score": null, "start": 0, "end": 0, "answer": ""})
        answers = sorted(answers, key=lambda answer: -answer["score"])[:top_k]
        return answers[0] if len(answers) == 1 else answers

    def _may_have_no_answer(self) -> bool:
        stored = (self.config.task_specific_params or {}).get(self.task)
        return isinstance(stored, Mapping) and stored.get("no_answer") == "allowed"


def _normalise(output: Output, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the probabilities [S] of an answer's first and last token, and the score of "no answer"."""
    pair = []
    for name in ("start_logits", "end_logits"):
        logits = np.where(allowed, output[name].astype(np.float64), EXCLUDED)
        shifted = np.exp(logits - logits.max())
        pair.append(shifted / shifted.sum())
    null = float(pair[0][0] * pair[1][0])
    pair[0][0] = pair[1][0] = 0.0
    return pair[0], pair[1], null


def _best_spans(
    starts: np.ndarray, ends: np.ndarray, allowed: np.ndarray, count: int, longest: int
) -> list[tuple[int, int, float]]:
    """Return the `count` best spans (first token, last token, score) of at most `longest` tokens."""
    scores = np.tril(np.triu(starts[:, None] * ends[None, :]), longest - 1)  # [S, S]
    flat = scores.ravel()
    if count < len(flat):
        chosen = np.argpartition(-flat, count)[:count] if count > 1 else np.array([flat.argmax()])
    else:
        chosen = np.arange(len(flat))
    chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
    rows, columns = np.unravel_index(chosen, scores.shape)
    return [
        (int(row), int(column), float(scores[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if allowed[row] and allowed[column]
    ]


def _locate(window: Window, start: int, end: int, align: bool) -> tuple[int, int]:
    """Return the first character of a span and the one after its last, of whole words if `align`."""
    first, last = window.words[start], window.words[end]
    if not align or first is None or last is None:
        return window.spans[start][0], window.spans[end][1]
    begin = window.words.index(first)
    stop = len(window.words) - 1 - window.words[::-1].index(last)
    return window.spans[begin][0], window.spans[stop][1]


def _collect(inputs: tuple[Any, ...], question: Any, context: Any) -> Any:
    """Return the examples of a call: a list, or an iterable as it is."""
    if not inputs:
        if question is None or context is None:
            raise ValueError("question-answering needs question and context")
        questions = question if isinstance(question, list) else [question]
        contexts = context if isinstance(context, list) else [context] * len(questions)
        if len(questions) != len(contexts):
            raise ValueError(f"there are {len(questions)} questions, but {len(contexts)} contexts")
        return [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]
    if question is not None or context is not None:
        raise ValueError("pass questions and contexts either as inputs or as keyword arguments, not both")
    if len(inputs) == 2 and all(isinstance(item, str) for item in inputs):
        return [{"question": inputs[0], "context": inputs[1]}]
    found = inputs[0] if len(inputs) == 1 else list(inputs)
    if isinstance(found, Mapping):
        return [found]
    return found if isinstance(found, types.GeneratorType) or not isinstance(found, list | tuple) else list(found)


def _read(item: Any) -> tuple[str, str]:
    if not isinstance(item, Mapping):
        raise ValueError(f"an input is {type(item).__name__}; it must be a mapping with question and context")
    for name in ("question", "context"):
        if not item.get(name):
            raise ValueError(f"an input has no {name}, or it is empty")
    return require_str(item["question"], "question"), require_str(item["context"], "context")
