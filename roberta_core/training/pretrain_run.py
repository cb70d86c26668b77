"""A pretraining run, from texts, a tokenizer and a recipe to a checkpoint: `roberta pretrain` without the terminal."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from roberta_core import checkpoints
from roberta_core.checkpoints import hub, resolve
from roberta_core.config import RobertaConfig
from roberta_core.data import corpus, texts
from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import find_word_starts
from roberta_core.data.packing import build_blocks
from roberta_core.data.records import Skipped
from roberta_core.parameters import draw
from roberta_core.training.pretrain_loop import Pretraining
from roberta_core.training.processes import find_processes
from roberta_core.training.recipe import Data, MaskingRates, Recipe
from roberta_core.training.run_log import Report

TOKENIZER_FILES = (
    "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"
)  # fmt: skip
EVALUATION_SEED = 0
ARCHITECTURE = "ForMaskedLM"
DTYPES = {"float32": np.float32, "float16": np.float16}

Progress = Callable[[int, int], None]
Splits = tuple[corpus.Split, corpus.Split]  # of documents to train on, and of those held out
SENTENCES: Splits = (corpus.split_in_sentences, corpus.split_in_sentences)


@dataclass(frozen=True)
class Vocabulary:
    """The vocabulary of a tokenizer: its folder, its size and its special ids."""

    folder: Path
    size: int
    first: int
    pad: int
    last: int
    mask: int

    @property
    def special(self) -> tuple[int, ...]:
        """The ids of special tokens."""
        return self.first, self.pad, self.last, self.mask

    def starts(self) -> np.ndarray:
        """Return which tokens begin a word [V]."""
        tokenizer = Tokenizer.from_file(str(self.folder / corpus.TOKENIZER))
        return find_word_starts(tokenizer.get_vocab(), self.size)

    @classmethod
    def from_pretrained(cls, source: str) -> "Vocabulary":
        """Return the vocabulary of a folder, of a built-in model, or of a model on the Hub."""
        return cls.from_folder(resolve(source, ("config", "tokenizer")))

    @classmethod
    def from_folder(cls, folder: Path) -> "Vocabulary":
        """Return the vocabulary of a folder; raise `ValueError` if it lacks a tokenizer or its special tokens."""
        path = folder / corpus.TOKENIZER
        if not path.is_file():
            raise ValueError(f"{folder} has no {corpus.TOKENIZER}; `roberta tokenizer train` writes one from texts")
        tokenizer = Tokenizer.from_file(str(path))
        found = {token: tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<mask>")}
        ids = [number for number in found.values() if number is not None]
        if len(ids) < len(found):
            lacking = [token for token, number in found.items() if number is None]
            raise ValueError(f"the tokenizer in {folder} lacks {', '.join(lacking)}")
        return cls(folder, tokenizer.get_vocab_size(), *ids)


def split_documents(
    recipe: Recipe, patterns: Iterable[str], held_out: Iterable[str] = ()
) -> tuple[list[Path], list[Path]]:
    """Split documents into those to train on, and those held out by the recipe or by the patterns `held_out`.

    Raises:
        ValueError: no document is left to train on, or the recipe holds out documents that are not there.
    """
    found, kept = texts.find(patterns), texts.find(held_out)
    names = set(recipe.data.held_out)
    lacking = sorted(names - {path.name for path in [*found, *kept]})
    if lacking:
        raise ValueError(f"the recipe holds out documents that are not among the texts: {', '.join(lacking)}")
    aside = {path.resolve() for path in kept} | {path.resolve() for path in found if path.name in names}
    train = [path for path in found if path.resolve() not in aside]
    if not train:
        raise ValueError("all documents are held out: nothing is left to train on")
    return train, sorted(aside)


def build_masked_blocks(
    files: list[Path],
    folder: Path,
    vocabulary: Vocabulary,
    data: Data,
    rates: MaskingRates,
    seed: int,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
    split: corpus.Split = corpus.split_in_sentences,
) -> MaskedBlocks:
    """Tokenise documents into `folder`, and pack them into blocks to be masked; `skipped` counts skipped lines."""
    found = corpus.build(folder, files, vocabulary.folder, vocabulary.last, split, progress, skipped)
    blocks = build_blocks(
        found.tokens, found.sentences, found.documents, data.sequence_length, vocabulary.last, data.format, seed
    )
    masking = rates.of(vocabulary.size, vocabulary.mask, vocabulary.starts() if rates.whole_words else None)
    special: dict[str, Any] = {"first": vocabulary.first, "last": vocabulary.last, "pad": vocabulary.pad}
    return MaskedBlocks(found.tokens, blocks, masking, data.sequence_length, seed, **special)


def prepare_corpus(
    recipe: Recipe,
    vocabulary: Vocabulary,
    train: list[Path],
    held_out: list[Path],
    output: Path,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
    splits: Splits = SENTENCES,
) -> tuple[MaskedBlocks, MaskedBlocks | None]:
    """Tokenise into `output/corpus`; return the blocks to train on, and those held out (None without documents)."""
    if not train:
        raise ValueError("no documents to train on")
    sets = (
        ("train", train, recipe.run.seed, splits[0]),
        ("held-out", held_out, EVALUATION_SEED, splits[1]),
    )
    found = [
        build_masked_blocks(
            files, output / "corpus" / name, vocabulary, recipe.data, recipe.masking, seed, progress, skipped, split
        )
        for name, files, seed, split in sets
        if files
    ]
    return found[0], found[1] if held_out else None


def prepare(
    backend: Any,
    recipe: Recipe,
    vocabulary: Vocabulary,
    train: list[Path],
    held_out: list[Path],
    output: Path,
    report: Report,
    progress: Progress | None = None,
    source: str | None = None,
    skipped: Skipped | None = None,
    splits: Splits = SENTENCES,
) -> tuple[Pretraining, Any]:
    """Prepare a run; the corpus is tokenised into `output/corpus`.

    Args:
        backend: the framework.
        recipe: the settings.
        vocabulary: the tokenizer's.
        train: documents to train on.
        held_out: documents to evaluate on.
        output: the folder of the run.
        report: called with each line of the log.
        progress: called with the bytes that are tokenised, and their total.
        source: a checkpoint to continue from; the recipe's table `[model]` then overrides its configuration.
        skipped: counts the lines that are skipped.
        splits: how documents are split into sentences, those to train on and those held out.

    Returns:
        The run, and its model.
    """
    if not hasattr(backend, "trainer"):
        raise ValueError(f"{backend.title} cannot train; use another framework")
    if source is None:
        config = recipe.config(vocabulary.size)
    else:
        config = RobertaConfig.from_pretrained(checkpoints.resolve(source), **recipe.model)
    if recipe.data.sequence_length > config.max_sequence_length:
        most = config.max_sequence_length
        raise ValueError(
            f"sequence_length is {recipe.data.sequence_length}, but {source} accepts at most {most} tokens"
        )
    processes = find_processes(backend)
    processes.check_batch_size(recipe.optimizer.batch_size)
    with processes.first_before_others():  # the others open what process 0 has written
        blocks, kept = prepare_corpus(recipe, vocabulary, train, held_out, output, progress, skipped, splits)
    blocks = dataclasses.replace(blocks, shard=processes.shard)
    if note := blocks.describe_masking_rate():
        report({"note": note})
    if source is None:
        model = backend.from_tensors(ARCHITECTURE, config, dict(draw(config, ARCHITECTURE, recipe.run.seed)))
    else:
        model = backend.from_pretrained(ARCHITECTURE, source, seed=recipe.run.seed, **recipe.model)
    run = Pretraining(
        trainer=backend.trainer(model, recipe), recipe=recipe, config=config.to_diff_dict(), data=blocks,
        folder=output, held_out=kept, report=report, processes=processes,
    )  # fmt: skip
    return run, model


def export(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    config: RobertaConfig,
    vocabulary: Vocabulary,
    recipe: Recipe,
    dtype: str = "float32",
) -> None:
    """Write a trained model as a checkpoint, with the tokenizer's files and the recipe."""
    stored = {name: array.astype(DTYPES[dtype]) for name, array in tensors.items()}
    config = RobertaConfig.from_dict({**config.to_dict(), "dtype": dtype})
    carried = hub.read_inside(vocabulary.folder, TOKENIZER_FILES)
    carried["recipe.json"] = (json.dumps(recipe.to_dict(), indent=1) + "\n").encode()
    checkpoints.save(folder, config, ARCHITECTURE, stored, carried=carried)
