"""The documents of text files, in chunks.

A row of JSON lines or Parquet is a document, the text in its field `text`; any other file is one document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from roberta_core.data.records import SUFFIXES, Record, Skipped, number_lines, read_json_lines, read_parquet
from roberta_core.data.sources import NO_MEMORY, CountedStream, File, find_suffix, name_memory_errors, open_file

CHUNK = 1 << 20  # characters of a document that are tokenised at a time
LONGEST = 1 << 26  # characters of a row: a book fits, a broken file does not take all memory
TEXT = "text"
# The formats whose rows are documents, and their readers.
ROWS: dict[str, Callable[[File, Skipped], Iterator[Record]]] = {
    "jsonl": lambda file, skipped: read_json_lines(file, skipped, longest=LONGEST),
    "parquet": lambda file, skipped: read_parquet(file, skipped, columns=[TEXT]),
}

Chunk = tuple[str, bool]  # a text, and whether its document ends with it


def read_chunks(file: File, skipped: Skipped, whole: bool = False) -> Iterator[Chunk]:
    """Yield the documents of a file in chunks that end where paragraphs do, each with whether it is the last.

    A paragraph that is longer than several chunks is split between lines.

    Args:
        file: the file.
        skipped: counts lines and rows that cannot be used, and files without text.
        whole: whether each document is one chunk.
    """
    before, empty = skipped.count, True
    with name_memory_errors(f"{file}: {NO_MEMORY} to read it"):
        for lines in _read_documents(file, skipped):
            for chunk in _cut(lines, whole):
                empty = False
                yield chunk
    if empty and skipped.count == before:
        skipped.add(str(file), "holds no text")


def _read_documents(file: File, skipped: Skipped) -> Iterator[Iterable[str]]:
    """Yield each document as its lines without line ends, the last of which is empty if the text ends a line."""
    kind = SUFFIXES.get(find_suffix(file))
    if kind in ROWS:
        for record in ROWS[kind](file, skipped):
            text = record.fields.get(TEXT)
            if not isinstance(text, str):
                skipped.add(record.place, _describe_wrong(record))
            elif len(text) > LONGEST:
                skipped.add(record.place, f"{len(text):,} characters; at most {LONGEST:,} are read")
            elif not text.strip():
                skipped.add(record.place, "holds no text")
            else:
                yield text.replace("\r\n", "\n").split("\n")
    else:
        yield _read_lines(file, skipped)


def _describe_wrong(record: Record) -> str:
    if TEXT in record.fields:
        return f"its field `{TEXT}` is of type {type(record.fields[TEXT]).__name__}, not a text"
    names = ", ".join(f"`{name}`" for name in list(record.fields)[:5])
    return f"it has no field `{TEXT}`{f', only {names}' if names else ''}"


def _read_lines(file: File, skipped: Skipped) -> Iterator[str]:
    with open_file(file) as opened:
        stream = CountedStream(opened)
        for _, line in number_lines(stream, file, skipped):
            yield line
        if stream.last in (b"\n", b"\r"):
            yield ""


def _cut(lines: Iterable[str], whole: bool) -> Iterator[Chunk]:
    held: list[str] = []
    pending, size = "", 0
    for line in lines:
        line = line.replace("\r", "\n")
        full = size > CHUNK and not whole and held[-1].strip()
        if full and (not line.strip() or size > 8 * CHUNK):
            if pending:
                yield pending, False
            # The line break belongs to what follows, like all whitespace before a sentence.
            pending, held, size = "\n".join(held), [""], 0
        held.append(line)
        size += len(line) + 1
    text = "\n".join(held)
    if pending and text.strip():
        yield pending, False
        pending = ""
    text = pending + text
    if text.strip():
        yield text, True
