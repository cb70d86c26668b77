"""Read and write vocab.json (token -> id) and merges.txt (one pair a line, best first), with limits on what is read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from roberta_core.safe_files import read_bytes

Merge = tuple[str, str]
FilePath = str | os.PathLike[str]
MERGES_HEADER = "#version: 0.2"

MAX_FILE_SIZE = 100 << 20  # bytes; the largest published tokenizer.json has 33 MB
# The `tokenizers` library allocates memory up to the highest id, and aborts the process above 2**31.
MAX_TOKENS = 1 << 22
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_vocab(path: FilePath) -> dict[str, int]:
    """Read a vocab.json: token -> id.

    Raises:
        ValueError: If the file is not a JSON object whose values are distinct ids from 0 to `MAX_TOKENS` - 1.
    """
    vocab = read_json(path)
    check_vocab(vocab, os.fspath(path))
    return vocab


def check_vocab(vocab: Mapping[Any, Any], name: str) -> None:
    """Raise ValueError unless a vocabulary maps tokens to distinct ids below `MAX_TOKENS`."""
    for token in vocab:
        if type(token) is not str:
            raise ValueError(f"{name}: every token must be a string, not {token!r:.60}")
    check_ids(vocab, name)
    if len(set(vocab.values())) != len(vocab):
        raise ValueError(f"{name}: two tokens share one id")


def check_ids(vocab: Mapping[str, Any], name: str) -> None:
    """Raise ValueError unless every id of a vocabulary is an integer from 0 to `MAX_TOKENS` - 1."""
    ids = vocab.values()
    if {*map(type, ids)} <= {int} and min(ids, default=0) >= 0 and max(ids, default=0) < MAX_TOKENS:
        return
    for token, index in vocab.items():
        check_id(token, index, name)


def check_id(token: str, index: Any, name: str) -> None:
    """Raise ValueError unless a token's id is an integer from 0 to `MAX_TOKENS` - 1."""
    if type(index) is not int or not 0 <= index < MAX_TOKENS:
        raise ValueError(
            f"{name}: every id must be an integer from 0 to {MAX_TOKENS - 1}; {token!r:.60} has {index!r:.40}"
        )


def read_merges(path: FilePath) -> list[Merge]:
    """Read a merges.txt: the pairs in order of rank.

    Raises:
        ValueError: If a line is not a pair of tokens; the message has the number of the first such line.
    """
    merges = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        pair = line.split()
        if len(pair) != 2:
            raise ValueError(f"{path}: line {number} is {line[:40]!r}, expected two tokens")
        merges.append((pair[0], pair[1]))
    return merges


def check_merges(vocab: Mapping[str, int], merges: Iterable[Any]) -> list[Merge]:
    """Return the merges as pairs.

    Raises:
        ValueError: If an entry is not a pair of tokens, or one of its tokens or their concatenation is not in the
            vocabulary.
    """
    checked = []
    for pair in merges:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            raise ValueError(f"every merge must be a pair of tokens, not {pair!r:.60}")
        left, right = pair
        for token in (left, right, left + right):
            if token not in vocab:
                raise ValueError(f"the merges do not fit the vocabulary: it has no token {token!r:.60}")
        checked.append((left, right))
    return checked


def format_vocab(vocab: Mapping[str, int]) -> str:
    """Return compact JSON in id order, as the published fast tokenizer writes it."""
    in_order = dict(sorted(vocab.items(), key=lambda entry: entry[1]))
    return json.dumps(in_order, ensure_ascii=False, separators=(",", ":"))


def format_merges(merges: Iterable[Merge]) -> str:
    """Return the content of merges.txt."""
    return "\n".join([MERGES_HEADER, *(f"{left} {right}" for left, right in merges)]) + "\n"


def read_text(path: FilePath) -> str:
    """Read a UTF-8 text file with LF line ends.

    Raises:
        ValueError: If the path is not a regular file, the file is larger than `MAX_FILE_SIZE`, or it is not UTF-8.
    """
    try:
        text = read_bytes(path, MAX_FILE_SIZE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_json(text: str, path: FilePath) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError with the path if the text is anything else."""
    try:
        content = json.loads(text)
        if ESCAPED_SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError(f"{path}: not JSON (nested too deeply)") from None
    except UnicodeEncodeError:
        raise ValueError(f"{path}: a string has a lone surrogate, which is not a character") from None
    except ValueError as error:  # also of a number with thousands of digits
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object was expected, not {type(content).__name__}")
    return content


def read_json(path: FilePath) -> dict[str, Any]:
    """Read a JSON object. Raises ValueError with the path if the file holds anything else."""
    return parse_json(read_text(path), path)


def format_json(content: Mapping[str, object]) -> str:
    """Return indented JSON with a final line end, non-ASCII characters kept."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
