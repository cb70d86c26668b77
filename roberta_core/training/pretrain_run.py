"""A pretraining run, from texts, a tokenizer and a recipe to a checkpoint: `roberta pretrain` without the terminal."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from roberta_core.data.corpus_parts import TOKENIZER, Split, split_in_sentences
from roberta_core.data.masking import find_word_starts
from roberta_core.data.mixing import Mixture
from roberta_core.data.packing import DOC, FULL, build_blocks
from roberta_core.data.records import Skipped
from roberta_core.data.sources import File
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
Splits = tuple[Split, Split]  # of documents to train on, and of those held out
SENTENCES: Splits = (split_in_sentences, split_in_sentences)


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
        tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER))
        return find_word_starts(tokenizer.get_vocab(), self.size)

    @classmethod
    def from_pretrained(cls, source: str) -> "Vocabulary":
        """Return the vocabulary of a folder, of a built-in model, or of a model on the Hub."""
        return cls.from_folder(resolve(source, ("config", "tokenizer")))

    @classmethod
    def from_folder(cls, folder: Path) -> "Vocabulary":
        """Return the vocabulary of a folder; raise `ValueError` if it lacks a tokenizer or its special tokens."""
        path = folder / TOKENIZER
        if not path.is_file():
            raise ValueError(f"{folder} has no {TOKENIZER}; `roberta tokenizer train` writes one from texts")
        tokenizer = Tokenizer.from_file(str(path))
        found = {token: tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<mask>")}
        ids = [number for number in found.values() if number is not None]
        if len(ids) < len(found):
            lacking = [token for token, number in found.items() if number is None]
            raise ValueError(f"the tokenizer in {folder} lacks {', '.join(lacking)}")
        return cls(folder, tokenizer.get_vocab_size(), *ids)


def split_documents(
    recipe: Recipe, patterns: Iterable[str], held_out: Iterable[str] = ()
) -> tuple[dict[str, list[File]], list[File]]:
    """Split documents into those to train on, and those held out by the recipe or by the patterns `held_out`.

    Args:
        recipe: the recipe.
        patterns: documents, as `texts.find_corpora` takes them.
        held_out: documents to hold out, as `texts.find` takes them.

    Returns:
        The files to train on of each corpus by its name, and the files that are held out.

    Raises:
        ValueError: no document is left to train on, or the recipe holds out documents, or weighs a corpus, that are not
            there.
    """
    found, kept = texts.find_corpora(patterns), texts.find(held_out)
    files = [file for own in found.values() for file in own]
    names = set(recipe.data.held_out)
    lacking = sorted(names - {file.name for file in [*files, *kept]})
    if lacking:
        raise ValueError(f"the recipe holds out documents that are not among the texts: {', '.join(lacking)}")
    if unknown := sorted(set(recipe.data.weights) - set(found)):
        raise ValueError(
            f"the recipe has a weight for {', '.join(unknown)}, but no texts have that name: name them with "
            f"--texts {unknown[0]}=FILES"
        )
    aside = {file.resolve() for file in kept} | {file.resolve() for file in files if file.name in names}
    train = {name: [file for file in own if file.resolve() not in aside] for name, own in found.items()}
    if empty := [name for name, own in train.items() if name and not own]:
        raise ValueError(f"all documents of {empty[0]} are held out: nothing of it is left to train on")
    if not any(train.values()):
        raise ValueError("all documents are held out: nothing is left to train on")
    return {name: own for name, own in train.items() if own}, texts.sort(aside)


def build_masked_blocks(
    files: Sequence[File] | corpus.Files,
    folder: Path,
    vocabulary: Vocabulary,
    data: Data,
    rates: MaskingRates,
    seed: int,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
    split: Split = split_in_sentences,
    processes: int = 1,
) -> MaskedBlocks:
    """Tokenise documents into `folder`, and pack them into blocks to be masked; `skipped` counts skipped lines."""
    found = corpus.build(
        folder, files, vocabulary.folder, vocabulary.last, split, progress, skipped,
        processes=processes, deduplicate=data.deduplicate,
    )  # fmt: skip
    parts, weights = list[np.ndarray](), list[float]()
    for name, documents in found.list_corpora():
        weights.append(data.weights.get(name, 1.0))
        parts.append(_build_corpus_blocks(found, name, documents, data, vocabulary.last, seed))
        if name in data.weights and not len(parts[-1]):
            raise ValueError(
                f"the corpus {name} has a weight, but fills no block: its files hold no text, or only duplicates"
            )
    mixture = Mixture([*map(len, parts)], weights, seed) if set(weights) != {1.0} else None
    masking = rates.of(vocabulary.size, vocabulary.mask, vocabulary.starts() if rates.whole_words else None)
    special: dict[str, Any] = {"first": vocabulary.first, "last": vocabulary.last, "pad": vocabulary.pad}
    return MaskedBlocks(
        found.tokens, np.concatenate(parts), masking, data.sequence_length, seed, **special, mixture=mixture
    )


def _build_corpus_blocks(
    found: corpus.Corpus, name: str, documents: np.ndarray, data: Data, separator: int, seed: int
) -> np.ndarray:
    """Return the blocks of the documents of one corpus."""
    if len(documents) < 2:  # all are duplicates
        return np.empty((0, 2 if data.format in (FULL, DOC) else 5), np.int64)
    try:
        return build_blocks(
            found.tokens, found.sentences, documents, data.sequence_length, separator, data.format, seed
        )
    except ValueError as error:
        raise ValueError(f"the corpus {name}: {error}" if name else str(error)) from None


def prepare_corpus(
    recipe: Recipe,
    vocabulary: Vocabulary,
    train: corpus.Files | Sequence[File],
    held_out: Sequence[File],
    output: Path,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
    splits: Splits = SENTENCES,
    processes: int = 1,
) -> tuple[MaskedBlocks, MaskedBlocks | None]:
    """Tokenise into `output/corpus`; return the blocks to train on, and those held out (None without documents)."""
    corpora = train if isinstance(train, Mapping) else {corpus.UNNAMED: train}
    if not any(corpora.values()):
        raise ValueError("no documents to train on")
    whole = dataclasses.replace(recipe.data, weights={})  # each held-out block counts once
    sets = (
        ("train", corpora, recipe.data, recipe.run.seed, splits[0]),
        ("held-out", held_out, whole, EVALUATION_SEED, splits[1]),
    )
    found = [
        build_masked_blocks(
            files, output / "corpus" / name, vocabulary, data, recipe.masking, seed, progress, skipped, split, processes
        )
        for name, files, data, seed, split in sets
        if files
    ]
    return found[0], found[1] if held_out else None


def prepare(
    backend: Any,
    recipe: Recipe,
    vocabulary: Vocabulary,
    train: corpus.Files | Sequence[File],
    held_out: Sequence[File],
    output: Path,
    report: Report,
    progress: Progress | None = None,
    source: str | None = None,
    skipped: Skipped | None = None,
    splits: Splits = SENTENCES,
    workers: int = 1,
) -> tuple[Pretraining, Any]:
    """Prepare a run; the corpus is tokenised into `output/corpus`.

    Args:
        backend: the framework.
        recipe: the settings.
        vocabulary: the tokenizer's.
        train: the files to train on, or those of each corpus by its name.
        held_out: files to evaluate on.
        output: the folder of the run.
        report: called with each line of the log.
        progress: called with the bytes that are tokenised, and their total.
        source: a checkpoint to continue from; the recipe's table `[model]` then overrides its configuration.
        skipped: counts the lines that are skipped.
        splits: how documents are split into sentences, those to train on and those held out.
        workers: the number of processes that tokenise.

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
        blocks, kept = prepare_corpus(recipe, vocabulary, train, held_out, output, progress, skipped, splits, workers)
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
