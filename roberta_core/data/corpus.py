"""A corpus as token ids on disk, made in one pass and mapped afterwards.

Three arrays: `tokens` holds all ids one after the other, each document ending with the separator; `sentences` says
where each sentence begins, and `documents` with which sentence each document begins; both end with the total.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from roberta_core.data import texts

TOKENIZER = "tokenizer.json"
ARRAYS = ("tokens", "sentences", "documents")
NOTE = "corpus.json"
BATCH = 20_000  # sentences encoded at a time
PAGE = 32  # sentences

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Corpus:
    """Token ids with where sentences and documents begin."""

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray


def build(
    folder: Path,
    files: Sequence[Path],
    tokenizer: Path,
    separator: int,
    unwrap: bool = True,
    spaced_every: int = 0,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of these files, tokenised into `folder`, or taken from there if it is of the same files.

    `tokenizer` is a folder with a tokenizer.json; `separator` the id that ends a document; `unwrap` joins wrapped
    lines; of every `spaced_every` pages (0: none) one gets its punctuation set apart. `progress` is told the bytes
    done and their total. `ValueError` for files that hold no text.
    """
    note = {"fingerprint": _fingerprint(files, tokenizer, (separator, unwrap, spaced_every)), "files": len(files)}
    if not _is_there(folder, note):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NOTE).unlink(missing_ok=True)
        reader = Tokenizer.from_file(str(tokenizer / TOKENIZER))
        arrays = _tokenised(files, reader, separator, unwrap, spaced_every, progress)
        for name, array in zip(ARRAYS, arrays, strict=True):
            np.save(folder / f"{name}.npy", array)
        (folder / NOTE).write_text(json.dumps(note))  # last: without it the arrays are made anew
    return Corpus(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS))


def _is_there(folder: Path, note: dict[str, object]) -> bool:
    try:
        return json.loads((folder / NOTE).read_text()) == note
    except (OSError, ValueError):
        return False


def _fingerprint(files: Sequence[Path], tokenizer: Path, settings: tuple[int, ...]) -> str:
    """What the corpus depends on, as a hash: every byte of the texts and the tokenizer, and the settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in [tokenizer / TOKENIZER, *files]:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _tokenised(
    files: Sequence[Path],
    tokenizer: Tokenizer,
    separator: int,
    unwrap: bool,
    spaced_every: int,
    progress: Progress | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    pieces, lengths, documents = [], [], []
    sizes = [os.path.getsize(path) for path in files]
    for count, path in enumerate(files):
        text = texts.read(path)
        sentences = texts.sentences(texts.unwrap(text) if unwrap else text)
        if spaced_every:
            sentences = list(_spaced(sentences, spaced_every, count))
        for ids in encode(tokenizer, sentences):
            pieces.append(np.asarray(ids, dtype))
            lengths.append(len(ids))
        if len(lengths) == (documents[-1][1] if documents else 0):
            continue  # an empty file is no document
        pieces.append(np.asarray([separator], dtype))
        lengths[-1] += 1
        documents.append((documents[-1][1] if documents else 0, len(lengths)))
        if progress is not None:
            progress(sum(sizes[: count + 1]), sum(sizes))
    if not documents:
        raise ValueError(f"{len(files)} files hold no text")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return np.concatenate(pieces), starts, np.array([0, *(end for _, end in documents)])


def _spaced(sentences: Sequence[str], every: int, first: int) -> Iterator[str]:
    """The sentences, one page of `every` with its punctuation set apart; `first` says which pages these are."""
    for number, sentence in enumerate(sentences):
        chosen = (number // PAGE + first) % every == 0
        yield texts.set_apart(sentence) if chosen else sentence


def encode(tokenizer: Tokenizer, sentences: Iterable[str]) -> Iterator[list[int]]:
    """The ids of each sentence that has any, without special tokens."""
    sentences = list(sentences)
    for start in range(0, len(sentences), BATCH):
        for encoding in tokenizer.encode_batch_fast(sentences[start : start + BATCH], add_special_tokens=False):
            if encoding.ids:
                yield encoding.ids
