"""Fill-mask: what stands behind each `<mask>` of a text.

Shapes: B batch, S sequence, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.config import RobertaConfig

ARCHITECTURE = "ForMaskedLM"
BATCH = 16  # texts a call
SHOWN = 60  # characters of a text that an error shows


@dataclass(frozen=True)
class Candidate:
    """A token for a mask: its id, its text (with the blank before it, if any), its probability, the text with it."""

    token_id: int
    token: str
    probability: float
    sequence: str


@dataclass(frozen=True)
class Filled:
    """A mask of a text: the text's number, the mask's place among its tokens, and the candidates, likeliest first."""

    text: int
    position: int
    candidates: tuple[Candidate, ...]


def fill_mask(backend: Backend, model: Any, tokenizer: Any, texts: Sequence[str], top_k: int = 5) -> list[Filled]:
    """The likeliest tokens of every mask in the texts, in reading order.

    Args:
        backend: the framework.
        model: the framework's own masked language model, such as `backend.from_pretrained("ForMaskedLM", ...)`.
        tokenizer: a `RobertaTokenizerFast`.
        texts: each with at least one mask token. Several masks of a text are filled independently of each other.
        top_k: how many candidates a mask gets.

    Raises:
        ValueError: a text without a mask or longer than the model takes, or a `top_k` that the vocabulary cannot give.
    """
    check(tokenizer, texts, model.config, top_k)
    filled: list[Filled] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        inputs = tokenizer(batch, padding=True, return_attention_mask=True, return_tensors="np")
        logits = backend.run(model, dict(inputs)).logits  # [B, S, V]
        if not np.isfinite(logits).all():
            raise ValueError("the model's scores are not finite numbers: its weights are broken")
        for row, real in enumerate(inputs["attention_mask"] == 1):
            ids, scores = inputs["input_ids"][row][real], logits[row][real]
            for position in np.flatnonzero(ids == tokenizer.mask_token_id).tolist():
                candidates = tuple(_candidates(tokenizer, ids.tolist(), position, scores[position], top_k))
                filled.append(Filled(start + row, position, candidates))
    return filled


def check(tokenizer: Any, texts: Sequence[str], config: RobertaConfig, top_k: int) -> None:
    """Raise `ValueError` for what `fill_mask` cannot do; needs no framework."""
    choices = min(len(tokenizer), config.vocab_size)
    if not 1 <= top_k <= choices:
        raise ValueError(f"top_k is {top_k}; the vocabulary has {choices} tokens to choose from")
    for text in texts:
        shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
        ids = tokenizer(text)["input_ids"]
        if tokenizer.mask_token_id not in ids:
            raise ValueError(f"there is no {tokenizer.mask_token} in {shown}")
        if len(ids) > config.max_sequence_length:
            raise ValueError(f"{shown} has {len(ids)} tokens; the model takes {config.max_sequence_length}")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [..., V] in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def _candidates(tokenizer: Any, ids: list[int], position: int, scores: np.ndarray, top_k: int) -> Iterator[Candidate]:
    probabilities = softmax(scores)
    known = probabilities[: len(tokenizer)]  # a model may have rows to spare
    for token_id in np.argsort(-known, kind="stable")[:top_k].tolist():  # of equals the lower id first
        sequence = [*ids[:position], token_id, *ids[position + 1 :]]
        token, text = tokenizer.decode([token_id]), tokenizer.decode(sequence[1:-1])  # without <s> and </s>
        yield Candidate(token_id, token, float(probabilities[token_id]), text)
