"""Documents for pretraining: found by name, read, and split into sentences."""

import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from roberta_core.data.sources import File, find_files, is_remote, locate, read_bytes

# A sentence ends at its mark and closing quotes, before whitespace and a new beginning, or at an empty line. The
# whitespace belongs to the sentence that follows, so tokenising sentence by sentence gives the tokens of the whole.
OPENING, CLOSING = "[\"'“‘(\\[]", "[\"'”’)\\]]"  # noqa: RUF001  # the quotes of printed English
MARK = re.compile(rf"[.!?…]{CLOSING}{{0,2}}(?=\s+{OPENING}*[A-Z0-9])")
NAME = re.compile(r"([A-Za-z][\w.-]*)=(.+)")  # of a corpus, before its pattern
EMPTY_LINE = re.compile(r"\n\s*\n")


def find(patterns: Iterable[str]) -> list[File]:
    """Return the files that patterns name, sorted, each once.

    Args:
        patterns: a file, a glob (`**` matches folders in between), or `@FILE`, a list of names with one per line. Files
            and globs may be of an object store, such as `s3://bucket/texts/*.jsonl.gz`.

    Raises:
        ValueError: a pattern finds nothing.
    """
    return _list_once(file for pattern in patterns for file in _find_pattern(pattern))


def _find_pattern(pattern: str) -> list[File]:
    if pattern.startswith("@"):
        return list(_listed(Path(pattern[1:])))
    if not (files := find_files(pattern)):
        if Path(pattern).is_dir():
            raise ValueError(f"{pattern} is a folder: name the files in it, such as '{Path(pattern, '*.txt')}'")
        raise ValueError(f"no file is called {pattern}")
    return files


def _list_once(files: Iterable[File]) -> list[File]:
    """Return files in their order, each once: a relative and an absolute path, or a link, can name the same file."""
    first = dict[File, File]()
    for file in sort(files):
        first.setdefault(file.resolve(), file)
    return list(first.values())


def sort(files: Iterable[File]) -> list[File]:
    """Return files in their order: those of this machine first."""
    return sorted(files, key=lambda file: (is_remote(str(file)), file))


def find_corpora(patterns: Iterable[str]) -> dict[str, list[File]]:
    """Return the files of each corpus by its name: those of `NAME=PATTERN`, and with an empty name those of others.

    Args:
        patterns: patterns as `find` takes them, with or without a name before them.

    Raises:
        ValueError: a pattern finds nothing, or a file is in two corpora.
    """
    found: dict[str, set[File]] = {}
    for pattern in patterns:
        match = NAME.fullmatch(pattern)
        if match is None or Path(pattern).is_dir():
            found.setdefault("", set()).update(_find_pattern(pattern))
            continue
        if files := find_files(pattern):  # a file or a folder in its path may have `=` in its name
            found.setdefault("", set()).update(files)
            continue
        try:
            found.setdefault(match[1], set()).update(_find_pattern(match[2]))
        except ValueError as error:
            raise ValueError(f"{error} (in {pattern}; {match[1]} is taken as the name of a corpus)") from None
    corpora, owners = {name: _list_once(found[name]) for name in sorted(found)}, dict[File, str]()
    for name, files in corpora.items():
        for file in files:
            if (owner := owners.setdefault(file.resolve(), name)) != name:
                raise ValueError(f"{file} is in two corpora, {owner or 'that without a name'} and {name}")
    return corpora


def _listed(path: Path) -> Iterator[File]:
    """Yield the files of a list; names are relative to the list's own folder."""
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ValueError(f"the list {path} cannot be read: {error.strerror}") from None
    for name in filter(None, map(str.strip, names)):
        if is_remote(name):
            yield locate(name)
        elif (path.parent / name).is_file():
            yield path.parent / name
        else:
            raise ValueError(f"{path} lists {name}, which is not a file")


def read(path: File) -> str:
    """Return a document's text; raise `ValueError` if it is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8").replace("\r\n", "\n").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def split_sentences(text: str) -> list[str]:
    """Split a text where sentences and paragraphs end: nothing is lost, the pieces joined are the text."""
    return split_at(text, find_sentence_ends(text))


def find_sentence_ends(text: str) -> list[int]:
    """Return where sentences and paragraphs end."""
    return sorted({found.end() for found in MARK.finditer(text)} | set(_paragraph_ends(text)))


def split_at(text: str, ends: Iterable[int]) -> list[str]:
    """Split a text at these places; pieces of whitespace alone are dropped."""
    cuts = [0, *ends, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts) if text[start:end].strip()]


def _paragraph_ends(text: str) -> Iterator[int]:
    """Yield where paragraphs end: before the whitespace that the empty line is part of."""
    for found in EMPTY_LINE.finditer(text):
        cut = found.start()
        while cut and text[cut - 1].isspace():
            cut -= 1
        if cut:
            yield cut
