"""Greedy decoding, sampling and beam search over a model that gives the scores of the next token.

Shapes: B prompts, K beams or sequences of each, R = B * K rows, S prompt, T tokens so far, V vocabulary.
"""

from typing import NamedTuple, Protocol

import numpy as np

from roberta_core.generation.scores import apply_constraints, draw_tokens, log_softmax, warp
from roberta_core.generation.settings import Settings
from roberta_core.outputs import GenerateOutput


class Decoder(Protocol):
    """A model that keeps the state of the tokens that it has read."""

    def start(self, input_ids: np.ndarray, attention_mask: np.ndarray, new_tokens: int) -> np.ndarray:
        """Read prompts [R, S], padded on the left, with room for `new_tokens`; return the next logits [R, V]."""
        ...

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Read one more token [R] of each row; return the logits [R, V] of the next."""
        ...

    def reorder(self, rows: np.ndarray) -> None:
        """Continue with these rows [R] of the previous ones."""
        ...


def generate(
    decoder: Decoder, input_ids: np.ndarray, attention_mask: np.ndarray, settings: Settings, longest: int
) -> GenerateOutput:
    """Continue prompts [B, S] until each row has ended or is full; rows that ended early are padded.

    Args:
        decoder: the model.
        input_ids: prompts [B, S], padded on the left.
        attention_mask: [B, S], 0 for padding.
        settings: how to decode.
        longest: the most tokens that the model accepts.

    Raises:
        ValueError: a prompt is padded on the right, or too long.
    """
    if not attention_mask[:, -1].all():
        row = int(np.flatnonzero(attention_mask[:, -1] == 0)[0])
        raise ValueError(f"prompt {row} ends in padding; pad prompts on the left, so that text can follow")
    new_tokens = settings.count_new_tokens(input_ids.shape[1], longest)
    copies = settings.count_copies()
    ids, mask = np.repeat(input_ids, copies, axis=0), np.repeat(attention_mask, copies, axis=0)
    logits = decoder.start(ids, mask, new_tokens)
    search = _search_beams if settings.num_beams > 1 else _decode_rows
    return search(decoder, ids, logits, new_tokens, settings)


def _decode_rows(
    decoder: Decoder, ids: np.ndarray, logits: np.ndarray, new_tokens: int, settings: Settings
) -> GenerateOutput:
    """Decode each row by itself: the best token every time, or a sampled one."""
    generator = np.random.default_rng(settings.seed)
    sequences, kept = ids, []
    running = np.ones(len(ids), bool)
    for made in range(new_tokens):
        scores = apply_constraints(logits, sequences, made, settings)
        if settings.do_sample:
            scores = warp(scores, settings)
        kept.append(scores.astype(np.float32))
        tokens = draw_tokens(scores, generator) if settings.do_sample else scores.argmax(axis=1)
        tokens = np.where(running, tokens, settings.pad_token_id)
        sequences = np.concatenate([sequences, tokens[:, None].astype(ids.dtype)], axis=1)
        if settings.streamer is not None:
            settings.streamer(tokens)
        running &= ~np.isin(tokens, settings.ends)
        if settings.stopping_criteria is not None:
            running &= ~settings.stopping_criteria(sequences, tuple(kept) if settings.output_scores else None)
        if not running.any() or made + 1 == new_tokens:
            break
        logits = decoder.step(tokens)
    return GenerateOutput(sequences=sequences, scores=tuple(kept) if settings.output_scores else None)


class Finished(NamedTuple):
    """A sequence that ended, and its score."""

    score: float
    tokens: np.ndarray
    origins: np.ndarray  # the row that each new token continued


class Beams(NamedTuple):
    """The running sequences of one prompt: the row that each continues, its new token, its log-probability."""

    rows: np.ndarray
    tokens: np.ndarray
    totals: np.ndarray


def _search_beams(
    decoder: Decoder, ids: np.ndarray, logits: np.ndarray, new_tokens: int, settings: Settings
) -> GenerateOutput:
    """Search the `num_beams` best sequences of each prompt; the best that ended are returned."""
    width = settings.num_beams
    prompts = len(ids) // width
    sequences, rows, kept, made = ids, np.arange(len(ids)), [], 0
    origins = np.zeros((len(ids), 0), int)
    totals = np.full((prompts, width), -np.inf)
    totals[:, 0] = 0  # all beams are alike at first: only one of them counts
    finished: list[list[Finished]] = [[] for _ in range(prompts)]
    done = np.zeros(prompts, bool)
    while not done.all() and made < new_tokens:
        if made:
            decoder.reorder(rows)
            logits = decoder.step(sequences[:, -1])
        scores = apply_constraints(log_softmax(np.asarray(logits, np.float64)), sequences, made, settings)
        kept.append(scores.astype(np.float32))
        made += 1
        chosen = []
        for prompt in range(prompts):
            first = prompt * width
            own = slice(first, first + width)
            places = np.concatenate([origins[own], np.arange(len(ids))[own, None]], axis=1)
            beams, ended = _advance(scores[own] + totals[prompt, :, None], sequences[own], places, made, settings)
            if not done[prompt]:
                finished[prompt] = sorted(finished[prompt] + ended, key=lambda one: -one.score)[:width]
                done[prompt] = _is_done(finished[prompt], beams.totals.max(), made, settings)
            totals[prompt] = beams.totals
            chosen.append((beams.rows + first, beams.tokens))
        rows, tokens = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
        sequences = np.concatenate([sequences[rows], tokens[:, None].astype(ids.dtype)], axis=1)
        origins = np.concatenate([origins[rows], rows[:, None]], axis=1)
    for prompt in np.flatnonzero(~done):
        for beam in range(width):
            score = totals[prompt, beam] / made**settings.length_penalty
            finished[prompt].append(Finished(score, sequences[prompt * width + beam], origins[prompt * width + beam]))
    return _select_best(finished, settings, tuple(kept), ids.dtype)


def _advance(
    candidates: np.ndarray, sequences: np.ndarray, origins: np.ndarray, made: int, settings: Settings
) -> tuple[Beams, list[Finished]]:
    """Return, of one prompt's candidates [K, V], the K best that continue, and those of the K best that end."""
    width, vocabulary = candidates.shape
    best = np.argsort(-candidates, axis=None, kind="stable")[: max(2, 1 + len(settings.ends)) * width]
    rows, tokens = np.divmod(best, vocabulary)
    totals, ends = candidates[rows, tokens], np.isin(tokens, settings.ends)
    ended = [
        Finished(
            totals[rank] / made**settings.length_penalty,
            np.append(sequences[rows[rank]], tokens[rank]),
            origins[rows[rank]],
        )
        for rank in np.flatnonzero(ends[:width])
    ]
    going = np.flatnonzero(~ends)[:width]
    return Beams(rows[going], tokens[going], totals[going]), ended


def _is_done(finished: list[Finished], best: float, made: int, settings: Settings) -> bool:
    """Whether no running beam can still beat the ended ones (or, with early stopping, whether enough have ended)."""
    if len(finished) < settings.num_beams:
        return False
    return settings.early_stopping or finished[-1].score >= best / made**settings.length_penalty


def _select_best(
    finished: list[list[Finished]], settings: Settings, scores: tuple[np.ndarray, ...], dtype: np.dtype
) -> GenerateOutput:
    """Return the best sequences of each prompt, padded to one length."""
    count = settings.num_return_sequences
    best = [one for group in finished for one in sorted(group, key=lambda one: -one.score)[:count]]
    length = max(len(one.tokens) for one in best)
    sequences = np.full((len(best), length), settings.pad_token_id, dtype)
    origins = np.full((len(best), max(len(one.origins) for one in best)), -1)
    for row, one in enumerate(best):
        sequences[row, : len(one.tokens)] = one.tokens
        origins[row, : len(one.origins)] = one.origins
    return GenerateOutput(
        sequences=sequences,
        sequences_scores=np.array([one.score for one in best], np.float32),
        scores=scores if settings.output_scores else None,
        beam_indices=origins,
    )
