"""Masked-token evaluation of a checkpoint on texts, in any framework.

Shapes: B batch, S sequence, M masked positions that are scored, V vocabulary.
"""

import dataclasses
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.backend import Backend
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import Batch, MaskedBlocks
from roberta_core.data.corpus_parts import Split, split_in_sentences
from roberta_core.data.sources import File
from roberta_core.data.texts import find
from roberta_core.tasks.heads import require_head
from roberta_core.tasks.metrics import Predictor, Score, score
from roberta_core.training.pretrain_run import Vocabulary, build_masked_blocks
from roberta_core.training.recipe import PRETRAINING, Data, MaskingRates, Recipe

BATCH = 32  # sequences


def model_predictor(backend: Backend, model: Any) -> Predictor:
    """Return the predictor of a masked language model, run by its framework; the softmax is computed in float64."""

    def predict(batch: Batch, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = np.asarray(backend.run(model, inputs).logits)[rows, columns].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    return predict


class Evaluation:
    """Texts that are masked once, so that every predictor sees the same inputs.

    Args:
        model: a checkpoint, whose tokenizer is used.
        texts: names of documents, as `texts.find` takes them.
        recipe: how texts are packed and masked; by default as long as the model accepts, at the published rates.
        only_held_out: score only the documents that the recipe holds out.
        seed: which tokens are masked.
        blocks: the most blocks to score.
        split: how documents are split into sentences.

    Raises:
        ValueError: nothing is left to score.
    """

    def __init__(
        self,
        model: str,
        texts: Iterable[str],
        recipe: str | None = None,
        only_held_out: bool = False,
        seed: int = 0,
        blocks: int | None = None,
        split: Split = split_in_sentences,
    ):
        self.model = model
        require_head(model, "ForMaskedLM")
        folder = resolve(model)
        self.vocabulary = Vocabulary.from_pretrained(model)
        longest = RobertaConfig.from_pretrained(folder).max_sequence_length
        plan = Recipe.load(recipe, purpose=PRETRAINING) if recipe else None
        data = plan.data if plan else Data(sequence_length=min(longest, 512))
        self.data = dataclasses.replace(data, sequence_length=min(data.sequence_length, longest))
        self.rates, self.seed = plan.masking if plan else MaskingRates(), seed
        found = find(texts)
        self.files = [path for path in found if path.name in data.held_out] if only_held_out else found
        if not self.files:
            raise ValueError("none of the texts is held out by the recipe")
        masked = self.mask(self.files, split)
        self.count = min(len(masked), blocks or len(masked))
        self.batches = list(masked.iterate(BATCH, blocks))

    def of_model(self, backend: Backend) -> Score:
        """Return the model's score when this framework runs it."""
        model = backend.from_pretrained("ForMaskedLM", self.model)
        return self._score(model_predictor(backend, model))

    def mask(self, files: Sequence[File], split: Split = split_in_sentences) -> MaskedBlocks:
        """Tokenise and pack documents into blocks that are masked with the evaluation's seed."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return build_masked_blocks(
                files, Path(folder), self.vocabulary, self.data, self.rates, self.seed, split=split
            )

    def _score(self, predict: Predictor) -> Score:
        return score(predict, self.batches, self.vocabulary.special)
