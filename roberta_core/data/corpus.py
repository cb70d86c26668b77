"""A corpus as token ids on disk: made once, part by part, and mapped afterwards.

Three arrays: `tokens` holds all ids one after the other, each document ending with the separator; `sentences` says
where each sentence begins, and `documents` with which sentence each document begins; both end with the total. A
manifest states which files they were made of, and the checksums of the arrays.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints.atomic import transaction
from roberta_core.data.corpus_parts import (
    ARRAYS,
    HASH,
    HASHES,
    Growing,
    Part,
    PartBuilder,
    PartSettings,
    Split,
    plan_parts,
    split_in_sentences,
)
from roberta_core.data.records import Skipped
from roberta_core.data.sources import File
from roberta_core.safe_files import hold_lock
from roberta_core.worker_pool import WorkerPool

MANIFEST = "manifest.json"
PARTS = "parts"
LOCK = ".lock"
UNNAMED = ""  # the corpus of texts that are given without a name
CHUNK = 1 << 20  # numbers that are copied at a time

Progress = Callable[[int, int], None]  # called with the bytes that are done, and their total
Files = Mapping[str, Sequence[File]]  # of each corpus, by its name


@dataclass(frozen=True)
class Corpus:
    """Token ids with where sentences and documents begin.

    Args:
        tokens: the ids.
        sentences: where each sentence begins and, last, the number of tokens.
        documents: with which sentence each document begins and, last, the number of sentences.
        manifest: what the arrays were made of. `corpora` has the files, documents, tokens and duplicates of each
            corpus; the corpora follow each other in the arrays.
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def list_corpora(self) -> list[tuple[str, np.ndarray]]:
        """Return the name of each corpus, and its part of `documents`."""
        counts = {name: facts["documents"] for name, facts in self.manifest["corpora"].items()}
        ends = list(itertools.accumulate(counts.values(), initial=0))
        return [(name, self.documents[ends[n] : ends[n + 1] + 1]) for n, name in enumerate(counts)]


def build(
    folder: Path,
    files: Sequence[File] | Files,
    tokenizer: Path,
    separator: int,
    split: Split = split_in_sentences,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
    *,
    processes: int = 1,
    deduplicate: bool = False,
) -> Corpus:
    """Tokenise files into `folder`, or open the corpus that is there if it is of the same files and settings.

    A run that was stopped continues with the parts that are missing. Memory does not grow with the corpus, except that
    a `split` of the caller's is given a document at a time, and that `deduplicate` takes 80 bytes for each document.

    Args:
        folder: where the corpus is written. While it is made, it takes twice its space.
        files: the files, or those of each corpus by its name.
        tokenizer: a folder with a tokenizer.json.
        separator: the id that ends a document.
        split: called with a text and its file's number, and returns its sentences.
        progress: called with the bytes done and their total.
        skipped: counts lines and rows that cannot be used, and files without text, which are skipped.
        processes: the number of processes that tokenise.
        deduplicate: whether only the first of several documents with the same text, except for its whitespace, is kept.

    Raises:
        ValueError: the files hold no text; another process makes this corpus; or (a `DataError`) something is skipped
            where `skipped` is strict.
    """
    skipped = Skipped() if skipped is None else skipped
    corpora = dict(files) if isinstance(files, Mapping) else {UNNAMED: files}
    settings = PartSettings(tokenizer, separator, split, skipped.strict, deduplicate)
    plan, first = dict[str, list[Part]](), 0
    for name, own in corpora.items():
        plan[name] = plan_parts(folder / PARTS, own, settings, first)
        first += len(own)
    fingerprint = _compute_fingerprint(plan)
    if (found := _open(folder, fingerprint, skipped.strict)) is None:
        with _hold(folder):
            found = _open(folder, fingerprint, skipped.strict)  # another process may have made it
            if found is None:
                _save(folder, plan, _build_parts(plan, settings, processes, progress), fingerprint)
                found = _open(folder, fingerprint, skipped.strict)
            shutil.rmtree(folder / PARTS, ignore_errors=True)
        if found is None:
            raise ValueError(f"the corpus in {folder} was damaged while it was made: look at the disk, and run again")
    elif (folder / PARTS).exists():  # the process was killed before it could remove them
        with suppress(ValueError), _hold(folder):
            shutil.rmtree(folder / PARTS, ignore_errors=True)
    skipped.merge(Skipped.from_dict(found.manifest["skipped"]))
    return found


def summarize(folder: Path) -> dict[str, dict[str, int]]:
    """Return the numbers of documents, duplicates and tokens of each corpus in a folder; empty if it has none."""
    try:
        corpora = json.loads((folder / MANIFEST).read_bytes())["corpora"]
    except FileNotFoundError:
        return {}
    return {name: {key: facts[key] for key in ("documents", "duplicates", "tokens")} for name, facts in corpora.items()}


def _compute_fingerprint(plan: Mapping[str, Sequence[Part]]) -> str:
    """Return a hash of what the corpus depends on: every byte of the texts and the tokenizer, and the settings."""
    names = [(name, [part.folder.name for part in parts]) for name, parts in plan.items()]
    return hashlib.sha256(repr(names).encode()).hexdigest()


def _open(folder: Path, fingerprint: str, strict: bool) -> Corpus | None:
    """Return the corpus in a folder if it is complete, undamaged and the right one; None if it has to be made."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["fingerprint"] != fingerprint or (strict and manifest["skipped"]["count"]):
            return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        same = all(_compute_checksum(array) == manifest["sha256"][name] for name, array in arrays.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Corpus(**arrays, manifest=manifest) if same else None


def _compute_checksum(array: np.ndarray) -> str:
    """Return the SHA-256 of the numbers of an array."""
    digest = hashlib.sha256()
    for start in range(0, len(array), CHUNK):
        digest.update(array[start : start + CHUNK].tobytes())
    return digest.hexdigest()


def _save(
    folder: Path, plan: Mapping[str, Sequence[Part]], notes: Mapping[Path, dict[str, Any]], fingerprint: str
) -> None:
    """Join the parts, and put the arrays and then their manifest in the place of the old ones."""
    manifest = {"fingerprint": fingerprint, **_join(folder / PARTS, plan, notes)}
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in ARRAYS:
        os.replace(folder / PARTS / f"{name}.npy", folder / f"{name}.npy")
    with transaction(folder) as saved:  # last: without it the arrays are made again
        saved.write(MANIFEST, json.dumps(manifest, indent=1).encode())


@contextmanager
def _hold(folder: Path) -> Any:
    """Let no other process make this corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a") as stream:
        hold_lock(
            stream, f"another command prepares the corpus in {folder}: wait until it ends, or choose another folder"
        )
        yield


def _build_parts(
    plan: Mapping[str, Sequence[Part]], settings: PartSettings, processes: int, progress: Progress | None
) -> dict[Path, dict[str, Any]]:
    """Make the parts that are not finished; return the notes of all of them by their folder."""
    parts = {part.folder: part for parts in plan.values() for part in parts}
    notes = {folder: part.read_note() for folder, part in parts.items()}
    if settings.strict:
        notes = {folder: note if note and not note["skipped"]["count"] else None for folder, note in notes.items()}
    missing = [parts[folder] for folder, note in notes.items() if note is None]
    total = sum(part.size for part in parts.values())
    done = total - sum(part.size for part in missing)

    def advance(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    advance(0)
    if min(processes, len(missing)) > 1:
        pool = WorkerPool(
            "roberta_core.data.corpus_parts:PartBuilder", settings, min(processes, len(missing)), _describe_death
        )
        try:
            futures = {pool.call("build", part): part for part in missing}
            for future in as_completed(futures):
                notes[futures[future].folder] = future.result()
                advance(futures[future].size)
        finally:
            pool.close()
    else:
        builder = PartBuilder(settings)
        for part in missing:
            notes[part.folder] = builder.build(part, advance)
    return {folder: note for folder, note in notes.items() if note is not None}


def _describe_death(method: str, reason: str) -> str:
    return (
        f"two processes in a row ended while they tokenised the same files ({reason}); if the memory is full, lower "
        "--processes. Run the command again to continue"
    )


def _join(folder: Path, plan: Mapping[str, Sequence[Part]], notes: Mapping[Path, dict[str, Any]]) -> dict[str, Any]:
    """Write the arrays of all parts into a folder one after the other, without duplicates; return the manifest."""
    skipped, corpora = Skipped(), dict[str, Any]()
    order = [part for parts in plan.values() for part in parts]
    for part in order:
        skipped.merge(Skipped.from_dict(notes[part.folder]["skipped"]))
    if not sum(file["documents"] for note in notes.values() for file in note["files"]):
        count = sum(len(part.files) for part in order)
        raise ValueError(f"{count} files hold no text{'; ' if skipped.count else ''}{skipped.sentence()}")
    kept = iter(_find_first([part.folder for part in order]))
    dtype = np.load(order[0].folder / "tokens.npy", mmap_mode="r").dtype
    with (
        Growing(folder / "tokens.npy", dtype) as tokens,
        Growing(folder / "sentences.npy", np.dtype(np.int64)) as sentences,
        Growing(folder / "documents.npy", np.dtype(np.int64)) as documents,
    ):
        sentences.add(np.zeros(1, np.int64))
        documents.add(np.zeros(1, np.int64))
        for name, parts in plan.items():
            before = documents.count, tokens.count
            for part in parts:
                _append(part.folder, next(kept), tokens, sentences, documents)
            found = [
                {"file": str(file), "version": state.version, **counts}
                for part in parts
                for file, state, counts in zip(part.files, part.states, notes[part.folder]["files"], strict=True)
            ]
            count = documents.count - before[0]
            corpora[name] = {
                "documents": count,
                "tokens": tokens.count - before[1],
                "duplicates": sum(file["documents"] for file in found) - count,
                "files": found,
            }
        digests = {array.path.stem: array.digest.hexdigest() for array in (tokens, sentences, documents)}
    return {"corpora": corpora, "skipped": skipped.to_dict(), "sha256": digests}


def _find_first(folders: Sequence[Path]) -> list[np.ndarray]:
    """Return which documents of each part are kept: the first of each hash, or all where they have none."""
    counts = [len(np.load(folder / "documents.npy", mmap_mode="r")) - 1 for folder in folders]
    hashes = np.concatenate([np.load(folder / f"{HASHES}.npy") for folder in folders])
    if len(hashes) != HASH * sum(counts):
        kept = np.ones(sum(counts), bool)
    else:
        kept = np.zeros(sum(counts), bool)
        kept[np.unique(hashes.view(f"V{HASH}"), return_index=True)[1]] = True
    return np.split(kept, np.cumsum(counts)[:-1])


def _append(part: Path, kept: np.ndarray, tokens: Growing, sentences: Growing, documents: Growing) -> None:
    """Append the documents of a part that are kept, in runs of documents that follow each other."""
    ids, starts, firsts = (np.load(part / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    for begin, end in edges.reshape(-1, 2):
        a, b = int(firsts[begin]), int(firsts[end])
        offset, base = tokens.count - int(starts[a]), sentences.count - 1
        for place in range(int(starts[a]), int(starts[b]), CHUNK):
            tokens.add(ids[place : min(place + CHUNK, int(starts[b]))])
        for place in range(a + 1, b + 1, CHUNK):
            sentences.add(starts[place : min(place + CHUNK, b + 1)] + offset)
        documents.add(firsts[begin + 1 : end + 1] - a + base)
