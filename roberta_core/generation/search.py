"""Greedy decoding, sampling and beam search over a model that gives the scores of the next token.

Shapes: B prompts, K beams or sequences of each, R = B * K rows, S prompt, T tokens so far, V vocabulary.
"""

from typing import NamedTuple, Protocol

import numpy as np

from roberta_core.generation.scores import constrained, drawn, log_softmax, warped
from roberta_core.generation.settings import Settings
from roberta_core.outputs import GenerateOutput


class Decoder(Protocol):
    """A model that keeps what it has read."""

    def start(self, input_ids: np.ndarray, attention_mask: np.ndarray, new_tokens: int) -> np.ndarray:
        """Read the prompts [R, S], padded on the left, with room for `new_tokens`; logits [R, V] of the next token."""
        ...

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Read one token [R] more of each row; logits [R, V] of the next."""
        ...

    def reorder(self, rows: np.ndarray) -> None:
        """Go on with the rows [R] of before, in another order."""
        ...


def generate(
    decoder: Decoder, input_ids: np.ndarray, attention_mask: np.ndarray, settings: Settings, longest: int
) -> GenerateOutput:
    """Go on from prompts [B, S] until each row has ended or is full; rows that ended early are filled with pads.

    `longest` is the most tokens that the model holds. `ValueError` for a prompt that is padded on the right, or too
    long.
    """
    if not attention_mask[:, -1].all():
        row = int(np.flatnonzero(attention_mask[:, -1] == 0)[0])
        raise ValueError(f"prompt {row} ends in padding; pad prompts on the left, so that text can follow")
    new_tokens = settings.new_tokens(input_ids.shape[1], longest)
    copies = settings.num_beams if settings.num_beams > 1 else settings.num_return_sequences
    ids, mask = np.repeat(input_ids, copies, axis=0), np.repeat(attention_mask, copies, axis=0)
    logits = decoder.start(ids, mask, new_tokens)
    search = _beams if settings.num_beams > 1 else _chains
    return search(decoder, ids, logits, new_tokens, settings)


def _chains(
    decoder: Decoder, ids: np.ndarray, logits: np.ndarray, new_tokens: int, settings: Settings
) -> GenerateOutput:
    """Each row by itself: the best token every time, or one drawn by its chance."""
    generator = np.random.default_rng(settings.seed)
    sequences, kept = ids, []
    running = np.ones(len(ids), bool)
    for made in range(new_tokens):
        scores = constrained(logits, sequences, made, settings)
        if settings.do_sample:
            scores = warped(scores, settings)
        kept.append(scores.astype(np.float32))
        tokens = drawn(scores, generator) if settings.do_sample else scores.argmax(axis=1)
        tokens = np.where(running, tokens, settings.pad_token_id)
        sequences = np.concatenate([sequences, tokens[:, None].astype(ids.dtype)], axis=1)
        if settings.streamer is not None:
            settings.streamer(tokens)
        running &= tokens != settings.eos_token_id
        if not running.any() or made + 1 == new_tokens:
            break
        logits = decoder.step(tokens)
    return GenerateOutput(sequences=sequences, scores=tuple(kept) if settings.output_scores else None)


class Finished(NamedTuple):
    """A sequence that ended, and its score."""

    score: float
    tokens: np.ndarray


def _beams(
    decoder: Decoder, ids: np.ndarray, logits: np.ndarray, new_tokens: int, settings: Settings
) -> GenerateOutput:
    """The `num_beams` best sequences of each prompt, kept side by side; the best that ended win."""
    width = settings.num_beams
    prompts, vocabulary = len(ids) // width, logits.shape[1]
    sequences, kept = ids, []
    totals = np.full((prompts, width), -np.inf)
    totals[:, 0] = 0  # all beams are alike at first: only one of them counts
    finished: list[list[Finished]] = [[] for _ in range(prompts)]
    done = np.zeros(prompts, bool)
    for made in range(1, new_tokens + 1):
        scores = constrained(log_softmax(np.asarray(logits, np.float64)), sequences, made - 1, settings)
        kept.append(scores.astype(np.float32))
        candidates = (scores.reshape(prompts, width, vocabulary) + totals[:, :, None]).reshape(prompts, -1)
        best = np.argsort(-candidates, axis=1, kind="stable")[:, : 2 * width]
        rows, tokens = np.empty((2, prompts, width), int)
        for prompt in range(prompts):
            going = []
            for rank, candidate in enumerate(best[prompt]):
                row, token = prompt * width + candidate // vocabulary, candidate % vocabulary
                if token == settings.eos_token_id:
                    if rank < width and not done[prompt]:
                        score = candidates[prompt, candidate] / made**settings.length_penalty
                        finished[prompt].append(Finished(score, np.append(sequences[row], token)))
                else:
                    going.append((row, token, candidates[prompt, candidate]))
            chosen = going[:width]
            rows[prompt], tokens[prompt] = [row for row, _, _ in chosen], [token for _, token, _ in chosen]
            totals[prompt] = [total for _, _, total in chosen]
            finished[prompt] = sorted(finished[prompt], key=lambda one: -one.score)[:width]
            done[prompt] |= _is_done(finished[prompt], totals[prompt].max(), made, settings)
        sequences = np.concatenate([sequences[rows.ravel()], tokens.reshape(-1, 1).astype(ids.dtype)], axis=1)
        if done.all() or made == new_tokens:
            break
        decoder.reorder(rows.ravel())
        logits = decoder.step(tokens.ravel())
    for prompt in np.flatnonzero(~done):
        for beam in range(width):
            score = totals[prompt, beam] / made**settings.length_penalty
            finished[prompt].append(Finished(score, sequences[prompt * width + beam]))
    return _winners(finished, settings, tuple(kept), ids.dtype)


def _is_done(finished: list[Finished], best: float, made: int, settings: Settings) -> bool:
    """Whether no running beam can still beat those that ended (or, early, whether enough have ended)."""
    if len(finished) < settings.num_beams:
        return False
    return settings.early_stopping or finished[-1].score >= best / made**settings.length_penalty


def _winners(
    finished: list[list[Finished]], settings: Settings, scores: tuple[np.ndarray, ...], dtype: np.dtype
) -> GenerateOutput:
    """The best sequences of each prompt, filled with pads to one length."""
    count = settings.num_return_sequences
    best = [one for group in finished for one in sorted(group, key=lambda one: -one.score)[:count]]
    length = max(len(one.tokens) for one in best)
    sequences = np.full((len(best), length), settings.pad_token_id, dtype)
    for row, one in enumerate(best):
        sequences[row, : len(one.tokens)] = one.tokens
    return GenerateOutput(
        sequences=sequences,
        sequences_scores=np.array([one.score for one in best], np.float32),
        scores=scores if settings.output_scores else None,
    )
