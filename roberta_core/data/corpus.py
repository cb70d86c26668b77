"""A corpus as token ids on disk, made in one pass and mapped afterwards.

Three arrays: `tokens` holds all ids one after the other, each document ending with the separator; `sentences` says
where each sentence begins, and `documents` with which sentence each document begins; both end with the total.
"""

import hashlib
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from tokenizers import Tokenizer

from roberta_core.data import texts
from roberta_core.data.records import Skipped, lines

TOKENIZER = "tokenizer.json"
ARRAYS = ("tokens", "sentences", "documents")
NOTE = "corpus.json"
BATCH = 20_000  # sentences encoded at a time
CHUNK = 1 << 20  # characters of a document that are tokenised at a time
THREADS = 2  # while one chunk is encoded, which needs no Python, the next is cut into sentences

Progress = Callable[[int, int], None]
Split = Callable[[str, int], list[str]]


def split_in_sentences(text: str, document: int) -> list[str]:
    """Split a text where sentences and paragraphs end, whatever its document's number is."""
    return texts.split_sentences(text)


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
    split: Split = split_in_sentences,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
) -> Corpus:
    """Tokenise files into `folder`, or open the corpus that is there if it is of the same files and settings.

    Memory does not grow with the corpus, except that a `split` of the caller's is given a document at a time.

    Args:
        folder: where the corpus is written.
        files: the documents.
        tokenizer: a folder with a tokenizer.json.
        separator: the id that ends a document.
        split: called with a text and its document's number, and returns its sentences.
        progress: called with the bytes done and their total.
        skipped: counts lines that are not UTF-8 or absurdly long, and files without text, which are skipped.

    Raises:
        ValueError: the files hold no text, or (a `DataError`) something is skipped where `skipped` is strict.
    """
    skipped = Skipped() if skipped is None else skipped
    note: dict[str, Any] = {
        "fingerprint": _fingerprint(files, tokenizer, (separator, f"{split.__module__}.{split.__qualname__}")),
        "files": len(files),
    }  # fmt: skip
    found = _note(folder)
    if {name: found.get(name) for name in note} == note and not (skipped.strict and found.get("skipped")):
        skipped.count += found.get("skipped", 0)
        skipped.reasons += found.get("reasons", [])
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NOTE).unlink(missing_ok=True)
        dropped = Skipped(skipped.strict)
        reader = Tokenizer.from_file(str(tokenizer / TOKENIZER))
        documents = _tokenise(files, reader, split, progress, dropped)
        dtype = np.uint16 if reader.get_vocab_size() <= 1 << 16 else np.uint32
        _write(folder, documents, separator, np.dtype(dtype), f"{len(files)} files hold no text", dropped)
        note |= {"skipped": dropped.count, "reasons": dropped.reasons}
        (folder / NOTE).write_text(json.dumps(note))  # last: without it the arrays are made again
        skipped.count += dropped.count
        skipped.reasons += dropped.reasons
    return Corpus(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS))


def _note(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(files: Sequence[Path], tokenizer: Path, settings: tuple[int | str, ...]) -> str:
    """Return a hash of what the corpus depends on: every byte of the texts and the tokenizer, and the settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in [tokenizer / TOKENIZER, *files]:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


# The ids and lengths of a chunk's sentences, and whether a document ends here.
Piece = tuple[Sequence[np.ndarray], np.ndarray, bool]


def _tokenise(
    files: Sequence[Path],
    tokenizer: Tokenizer,
    split: Split,
    progress: Progress | None,
    skipped: Skipped,
) -> Iterator[Piece]:
    """Yield the pieces of all documents in order; a few of them at a time are being worked on."""
    total, done = sum(os.path.getsize(path) for path in files), 0

    def work(text: str, document: int) -> tuple[list[np.ndarray], np.ndarray]:
        sentences = split(text, document)
        ids, lengths = [], []
        for start in range(0, len(sentences), BATCH):
            rows = [row for row in encode(tokenizer, sentences[start : start + BATCH]) if row]
            lengths += map(len, rows)
            count = sum(map(len, rows))
            ids.append(np.fromiter(itertools.chain.from_iterable(rows), np.uint32, count))
        return ids, np.array(lengths, np.int64)

    waiting: deque[tuple[Future[Any], bool, int]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for number, path in enumerate(files):
            for text, ends in _chunks(path, skipped, whole=split is not split_in_sentences):
                waiting.append((pool.submit(work, text, number), ends, os.path.getsize(path) if ends else 0))
                while len(waiting) > 2 * THREADS or (waiting and waiting[0][0].done()):
                    done += waiting[0][2]
                    yield _finish(waiting.popleft())
                    if progress is not None:
                        progress(done, total)
        while waiting:
            yield _finish(waiting.popleft())
    if progress is not None:
        progress(total, total)


def _finish(piece: tuple[Future[Any], bool, int]) -> Piece:
    ids, lengths = piece[0].result()
    return ids, lengths, piece[1]


def _chunks(path: Path, skipped: Skipped, whole: bool) -> Iterator[tuple[str, bool]]:
    """Yield a document in chunks that end where paragraphs do, each with whether it is the last.

    A paragraph that is longer than several chunks is split between lines.
    """
    held: list[str] = []
    pending, size, before = "", 0, skipped.count
    for _, line in lines(path, skipped):
        line = line.replace("\r", "\n")
        full = size > CHUNK and not whole and held[-1].strip()
        if full and (not line.strip() or size > 8 * CHUNK):
            if pending:
                yield pending, False
            # The line break belongs to what follows, like all whitespace before a sentence.
            pending, held, size = "\n".join(held), [""], 0
        held.append(line)
        size += len(line) + 1
    text = "\n".join([*held, ""] if _ends_a_line(path) else held)
    if pending and text.strip():
        yield pending, False
        pending = ""
    text = pending + text
    if text.strip():
        yield text, True
    elif skipped.count == before:
        skipped.add(str(path), "holds no text")


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - 1, 0))
        return stream.read(1) in (b"\n", b"\r")


def _write(
    folder: Path, pieces: Iterable[Piece], separator: int, dtype: np.dtype[Any], complaint: str, skipped: Skipped
) -> None:
    """Write the three arrays as the pieces come."""
    with (
        Growing(folder / "tokens.npy", dtype) as tokens,
        Growing(folder / "sentences.npy", np.dtype(np.int64)) as sentences,
        Growing(folder / "documents.npy", np.dtype(np.int64)) as documents,
    ):
        sentences.add(np.zeros(1, np.int64))
        documents.add(np.zeros(1, np.int64))
        for ids, lengths, ends in pieces:
            for part in ids:
                tokens.add(part)
            starts = tokens.count - int(lengths.sum()) + np.cumsum(lengths)
            if ends:  # the separator belongs to the last sentence
                tokens.add(np.array([separator]))
                starts[-1:] += 1
            sentences.add(starts)
            if ends:
                documents.add(np.array([sentences.count - 1]))
        if documents.count == 1:
            raise ValueError(f"{complaint}{'; ' if skipped.count else ''}{skipped.sentence()}")


class Growing:
    """A .npy file of numbers that are added as they come: its header is written again at the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]):
        self.path, self.dtype, self.count = path, dtype, 0
        self.stream: IO[bytes]

    def __enter__(self) -> "Growing":
        self.stream = open(self.path, "wb")
        self._header()
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.seek(0)
        self._header()  # as long as the first one: the format leaves room for the shape to grow
        self.stream.close()

    def add(self, numbers: np.ndarray) -> None:
        """Append numbers."""
        self.stream.write(numbers.astype(self.dtype).tobytes())
        self.count += len(numbers)

    def _header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self.stream, header)


def encode(tokenizer: Tokenizer, sentences: Iterable[str]) -> Iterator[list[int]]:
    """Yield the ids of each sentence that has any, without special tokens."""
    sentences = list(sentences)
    for start in range(0, len(sentences), BATCH):
        for encoding in tokenizer.encode_batch_fast(sentences[start : start + BATCH], add_special_tokens=False):
            if ids := encoding.ids:  # read once: each time a new list is made
                yield ids
