"""The files of a byte-level BPE vocabulary: vocab.json (token -> id) and merges.txt (one pair a line, best first)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

Merge = tuple[str, str]
FilePath = str | os.PathLike[str]
MERGES_HEADER = "#version: 0.2"


def read_vocab(path: FilePath) -> dict[str, int]:
    """Token -> id. Raises ValueError unless the file is a JSON object of distinct ids from 0 upwards."""
    vocab = read_json(path)
    if not all(type(index) is int and index >= 0 for index in vocab.values()):
        raise ValueError(f"{path}: every id must be a whole number from 0 upwards")
    if len(set(vocab.values())) != len(vocab):
        raise ValueError(f"{path}: two tokens share one id")
    return vocab


def read_merges(path: FilePath) -> list[Merge]:
    """The pairs in order of rank. Raises ValueError naming the first line that is not a pair."""
    merges = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split()
        if len(pair) != 2:
            raise ValueError(f"{path}: line {number} is {line[:40]!r}, expected two tokens")
        merges.append((pair[0], pair[1]))
    return merges


def check_merges(vocab: Mapping[str, int], merges: Iterable[Merge]) -> None:
    """ValueError unless both tokens of each merge and what they become are in the vocabulary."""
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in vocab:
                raise ValueError(f"the merges do not fit the vocabulary: Token `{token}` out of vocabulary")


def format_vocab(vocab: Mapping[str, int]) -> str:
    """Compact JSON in id order, as the published fast tokenizer writes it."""
    in_order = dict(sorted(vocab.items(), key=lambda entry: entry[1]))
    return json.dumps(in_order, ensure_ascii=False, separators=(",", ":"))


def format_merges(merges: Iterable[Merge]) -> str:
    """The lines of merges.txt."""
    return "\n".join([MERGES_HEADER, *(f"{left} {right}" for left, right in merges)]) + "\n"


def read_text(path: FilePath) -> str:
    """A UTF-8 text file, lines ending in LF."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None


def read_json(path: FilePath) -> dict:
    """A JSON object. Raises ValueError naming the file when it is something else."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object was expected, not {type(content).__name__}")
    return content


def format_json(content: Mapping[str, object]) -> str:
    """Indented JSON with a final line end, non-ASCII kept."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
