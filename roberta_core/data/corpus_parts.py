"""A part of a corpus: the token ids of some files, which one process makes.

A part is a folder with the arrays of `corpus.Corpus`, of these files alone, and a note that is written last: without it
the part is made again. Its name is a hash of everything that it depends on, so that a part that is there is the right
one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from tokenizers import Tokenizer

from roberta_core.checkpoints.atomic import transaction
from roberta_core.data import texts
from roberta_core.data.documents import read_chunks
from roberta_core.data.records import Skipped
from roberta_core.data.sources import (
    NO_MEMORY,
    File,
    FileState,
    find_compression,
    find_suffix,
    is_modified,
    name_memory_errors,
    read_state,
)
from roberta_core.safe_files import create_file

TOKENIZER = "tokenizer.json"
ARRAYS = ("tokens", "sentences", "documents")
HASHES = "hashes"
NOTE = "part.json"
READING = 2  # increased when the same files and settings give other tokens, so that stored corpora are made again
BATCH = 20_000  # sentences encoded at a time
THREADS = 2  # while one chunk is encoded, which needs no Python, the next is cut into sentences
PART = 1 << 26  # bytes of text: a process that is stopped loses no more
SHARES = 64  # parts of a corpus of small files, for as many processes as a machine has
SMALLEST = 1 << 18  # bytes of a part: making its files takes as long as tokenising fewer
HASH = 16  # bytes of a document's hash

Progress = Callable[[int], None]  # called with the number of bytes that are done since the last call
Split = Callable[[str, int], list[str]]


def split_in_sentences(text: str, document: int) -> list[str]:
    """Split a text where sentences and paragraphs end, whatever its document's number is."""
    return texts.split_sentences(text)


@dataclass(frozen=True)
class PartSettings:
    """What parts depend on besides their files.

    Args:
        tokenizer: a folder with a tokenizer.json.
        separator: the id that ends a document.
        split: called with a text and the number of its file, and returns its sentences.
        strict: whether what cannot be read raises `DataError`.
        deduplicate: whether documents get hashes.
    """

    tokenizer: Path
    separator: int
    split: Split = split_in_sentences
    strict: bool = False
    deduplicate: bool = False

    def compute_digest(self) -> str:
        """Return a hash of the settings that change a part."""
        tokenizer = hashlib.sha256((self.tokenizer / TOKENIZER).read_bytes()).hexdigest()
        split = f"{self.split.__module__}.{self.split.__qualname__}"
        return _hash(READING, tokenizer, self.separator, split, self.deduplicate)


@dataclass(frozen=True)
class Part:
    """The files of a part.

    Args:
        folder: where it is written; the name is a hash of its content.
        files: the files.
        states: of the files, when the corpus was planned.
        first: the number of the first file in the corpus.
    """

    folder: Path
    files: tuple[File, ...]
    states: tuple[FileState, ...]
    first: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(state.size for state in self.states)

    def read_note(self) -> dict[str, Any] | None:
        """Return the note of a part that is finished; None if it has to be made."""
        try:
            found = json.loads((self.folder / NOTE).read_bytes())
            sizes = {name: (self.folder / name).stat().st_size for name in found["sizes"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if sizes == found["sizes"] else None


def plan_parts(folder: Path, files: Sequence[File], settings: PartSettings, first: int = 0) -> list[Part]:
    """Return the parts of a corpus: some files each, in order, as `_divide` groups them.

    Every byte of the texts is read to see whether a part is finished.

    Args:
        folder: the folder of all parts.
        files: the files.
        settings: the settings.
        first: the number of the first file.
    """
    digest, states = settings.compute_digest(), list(map(read_state, files))
    parts = list[Part]()
    for begin, end in itertools.pairwise(_divide([state.size for state in states])):
        own, versions = tuple(files[begin:end]), tuple(state.version for state in states[begin:end])
        place = 0 if settings.split is split_in_sentences else first + begin
        kinds = [(find_suffix(file), find_compression(file)) for file in own]
        name = _hash(digest, place, versions, kinds)[:32]
        parts.append(Part(folder / name, own, tuple(states[begin:end]), first + begin))
    return parts


def _divide(sizes: Sequence[int]) -> list[int]:
    """Return the first file of each part and, last, the number of files.

    Parts depend on the files alone, so that a stopped run can continue with another number of processes. A part ends at
    `PART` bytes, or already at one of `SHARES` equal shares of all bytes, but not below `SMALLEST`. Files without a
    known size are divided by their number.
    """
    least = min(PART, max(SMALLEST, sum(sizes) // SHARES))
    most = -(-sizes.count(0) // SHARES)
    edges, held, unknown = [0], 0, 0
    for end, size in enumerate(sizes, 1):
        held, unknown = held + size, unknown + (size == 0)
        if held >= least or (most and unknown >= most):
            edges.append(end)
            held = unknown = 0
    return edges if edges[-1] == len(sizes) else [*edges, len(sizes)]


def _hash(*values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


@dataclass(frozen=True)
class _Piece:
    """The ids and lengths of a chunk's sentences, whether a document ends with it, its hash, and its file's number."""

    ids: Sequence[np.ndarray]
    lengths: np.ndarray
    ends: bool
    hash: bytes
    file: int


class PartBuilder:
    """Makes parts of a corpus."""

    def __init__(self, settings: PartSettings):
        self.settings = settings
        self.tokenizer = Tokenizer.from_file(str(settings.tokenizer / TOKENIZER))
        self.dtype = np.dtype(np.uint16 if self.tokenizer.get_vocab_size() <= 1 << 16 else np.uint32)

    def build(self, part: Part, progress: Progress = lambda size: None) -> dict[str, Any]:
        """Tokenise the files of a part, and return its note.

        Raises:
            ValueError: a file cannot be read, or (a `DataError`) something is skipped where the settings are strict.
            OSError: an array cannot be written, such as on a full disk.
            MemoryError: memory is exhausted; the message names the file or the files.
        """
        skipped = Skipped(self.settings.strict)
        part.folder.mkdir(parents=True, exist_ok=True)
        (part.folder / NOTE).unlink(missing_ok=True)
        names = " to ".join(map(str, dict.fromkeys((part.files[0], part.files[-1]))))
        with name_memory_errors(f"{names}: {NO_MEMORY} to tokenise the text"):
            counts = self._write(part, self._tokenise(part, skipped, progress))
        for file, state in zip(part.files, part.states, strict=True):
            if is_modified(file, state):  # the name of the part states another content
                raise ValueError(f"{file} was changed while it was tokenised: run the command again")
        note = {
            "files": [{"documents": documents, "tokens": tokens} for documents, tokens in counts.tolist()],
            "skipped": skipped.to_dict(),
            "sizes": {path.name: path.stat().st_size for path in part.folder.glob("*.npy")},
        }
        with transaction(part.folder) as files:
            files.write(NOTE, json.dumps(note).encode())
        return note

    def _tokenise(self, part: Part, skipped: Skipped, progress: Progress) -> Iterator[_Piece]:
        """Yield the pieces of all documents in order; a few of them at a time are being worked on."""
        waiting: deque[tuple[Future[Any], bool, bytes, int]] = deque()
        whole = self.settings.split is not split_in_sentences
        with ThreadPoolExecutor(THREADS) as pool:
            for number, file in enumerate(part.files):
                digest, left = hashlib.blake2b(digest_size=HASH), part.states[number].size
                for text, ends in read_chunks(file, skipped, whole):
                    if self.settings.deduplicate:
                        digest.update((" ".join(text.split()) + " ").encode())
                    future = pool.submit(self._encode, text, part.first + number)
                    waiting.append((future, ends, digest.digest(), number))
                    digest = hashlib.blake2b(digest_size=HASH) if ends else digest
                    while len(waiting) > 2 * THREADS or (waiting and waiting[0][0].done()):
                        yield _finish(*waiting.popleft())
                    advanced = min(left, len(text))  # characters: at most as many as bytes
                    left -= advanced
                    progress(advanced)
                progress(left)
            while waiting:
                yield _finish(*waiting.popleft())

    def _encode(self, text: str, file: int) -> tuple[list[np.ndarray], np.ndarray]:
        sentences = self.settings.split(text, file)
        ids, lengths = [], []
        for start in range(0, len(sentences), BATCH):
            rows = [row for row in encode(self.tokenizer, sentences[start : start + BATCH]) if row]
            lengths += map(len, rows)
            count = sum(map(len, rows))
            ids.append(np.fromiter(itertools.chain.from_iterable(rows), np.uint32, count))
        return ids, np.array(lengths, np.int64)

    def _write(self, part: Part, pieces: Iterable[_Piece]) -> np.ndarray:
        """Write the arrays as the pieces come; return the numbers of documents and tokens of each file [F, 2]."""
        counts = np.zeros((len(part.files), 2), int)
        with (
            Growing(part.folder / "tokens.npy", self.dtype) as tokens,
            Growing(part.folder / "sentences.npy", np.dtype(np.int64)) as sentences,
            Growing(part.folder / "documents.npy", np.dtype(np.int64)) as documents,
            Growing(part.folder / f"{HASHES}.npy", np.dtype(np.uint8)) as hashes,
        ):
            sentences.add(np.zeros(1, np.int64))
            documents.add(np.zeros(1, np.int64))
            for piece in pieces:
                before = tokens.count
                for ids in piece.ids:
                    tokens.add(ids)
                starts = before + np.cumsum(piece.lengths)
                if piece.ends:  # the separator belongs to the last sentence
                    tokens.add(np.array([self.settings.separator]))
                    starts[-1:] += 1
                sentences.add(starts)
                if piece.ends:
                    documents.add(np.array([sentences.count - 1]))
                    hashes.add(np.frombuffer(piece.hash if self.settings.deduplicate else b"", np.uint8))
                counts[piece.file] += (piece.ends, tokens.count - before)
        return counts


def _finish(future: Future[Any], ends: bool, digest: bytes, file: int) -> _Piece:
    ids, lengths = future.result()
    return _Piece(ids, lengths, ends, digest, file)


class Growing:
    """A .npy file of numbers that are added as they come: its header is written again at the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any]):
        self.path, self.dtype, self.count = path, dtype, 0
        self.digest = hashlib.sha256()  # of the numbers
        self.stream: IO[bytes]

    def __enter__(self) -> Growing:
        self.stream = create_file(self.path)
        self._header()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # what is buffered may not fit on the disk either: the first error is raised
            with suppress(OSError):
                self.stream.close()
            return
        with self.stream:
            self.stream.seek(0)
            self._header()  # as long as the first one: the format leaves room for the shape to grow
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def add(self, numbers: np.ndarray) -> None:
        """Append numbers."""
        content = numbers.astype(self.dtype).tobytes()
        self.stream.write(content)
        self.digest.update(content)
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
