"""From a model's logits to the scores that the next token is chosen by.

Shapes: R rows, T tokens so far, V vocabulary. All in float64, so that the last bits of a framework's arithmetic do not
choose the text.
"""

from collections import defaultdict

import numpy as np

from roberta_core.generation.callbacks import restrict_tokens
from roberta_core.generation.settings import Settings

NEVER = -np.inf


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Return the logarithms of the probabilities [R, V]."""
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def apply_constraints(scores: np.ndarray, sequences: np.ndarray, made: int, settings: Settings) -> np.ndarray:
    """Return scores [R, V] after repetition penalty, n-gram ban and minimum length; `made` tokens of [R, T] are new."""
    scores = np.array(scores, np.float64)
    if settings.repetition_penalty != 1:
        rows = np.arange(len(scores))[:, None]
        seen = scores[rows, sequences]
        penalty = settings.repetition_penalty
        scores[rows, sequences] = np.where(seen < 0, seen * penalty, seen / penalty)  # Keskar et al. 2019
    if settings.no_repeat_ngram_size:
        for row, sequence in enumerate(sequences.tolist()):
            scores[row, _completions(sequence, settings.no_repeat_ngram_size)] = NEVER
    if made < settings.min_new_tokens and settings.ends:
        scores[:, settings.ends] = NEVER
    if settings.prefix_allowed_tokens_fn is not None:
        copies = settings.count_copies()
        scores = restrict_tokens(scores, sequences, copies, settings.prefix_allowed_tokens_fn)
    if settings.logits_processor is not None:
        scores = settings.logits_processor(sequences, scores)
    return scores


def warp(scores: np.ndarray, settings: Settings) -> np.ndarray:
    """Return scores [R, V] for sampling: temperature, `top_k`, and the nucleus of `top_p` (Holtzman et al. 2020)."""
    scores = scores / settings.temperature
    top_k = settings.top_k or 0
    if 0 < top_k < scores.shape[1]:
        least = np.partition(scores, -top_k, axis=1)[:, -top_k, None]
        scores = np.where(scores < least, NEVER, scores)
    if settings.top_p < 1:
        order = np.argsort(-scores, axis=1, kind="stable")
        chances = np.exp(log_softmax(np.take_along_axis(scores, order, 1)))
        before = np.cumsum(chances, axis=1) - chances  # the best token always stays
        dropped = np.zeros(scores.shape, bool)
        np.put_along_axis(dropped, order, before >= settings.top_p, 1)
        scores = np.where(dropped, NEVER, scores)
    return scores


def draw_tokens(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Sample a token [R] for each row: the first whose cumulative probability exceeds a uniform number."""
    chances = np.cumsum(np.exp(log_softmax(scores)), axis=1)
    threshold = generator.random(len(scores))[:, None] * chances[:, -1:]
    return (chances <= threshold).sum(axis=1)


def _completions(sequence: list[int], size: int) -> list[int]:
    """Return the tokens that would repeat an n-gram of the sequence."""
    after = defaultdict(list)
    for start in range(len(sequence) - size + 1):
        *first, last = sequence[start : start + size]
        after[tuple(first)].append(last)
    return after[tuple(sequence[len(sequence) - size + 1 :])]
