"""Examples as files hold them: JSON lines, JSON, CSV, TSV, CoNLL columns, SQuAD, Parquet, or any sequence of mappings.

Each becomes a `Record`, a mapping with the place where it was read. What cannot be read is counted in a `Skipped`, or
raises `DataError` if the `Skipped` is strict.
"""

import csv
import itertools
import json
import os
import re
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roberta_core.data.sources import (
    NO_MEMORY,
    File,
    RemoteFile,
    exists,
    find_compression,
    find_suffix,
    locate,
    name_memory_errors,
    open_file,
    read_bytes,
)  # fmt: skip
from roberta_core.interface import choose_advice

LONGEST = 500_000  # characters of a line or a text; no example of any task is that long, and broken files are
ROWS = 1000  # of a Parquet file that are held at a time
REPORTED = 5  # reasons that are reported in full
LABEL = re.compile(r"O|_|[BIESLUM]-.+|[A-Z]+[$]?|[^\w\s]+")  # of an entity scheme, a part of speech, a punctuation mark
TOKEN_ID = re.compile(r"\d+(?:-\d+|\.\d+)?$")  # CoNLL-U's first column
CONLLU = 10  # columns of CoNLL-U
SURROGATE = re.compile(r"[\ud800-\udfff]")

Columns = Mapping[str, str]  # a field's name here -> the column that holds it


class DataError(ValueError):
    """Data that cannot be used: the file, the line and why."""


@dataclass
class Skipped:
    """What was skipped, and why; with `strict` the first reason raises `DataError` instead."""

    strict: bool = False
    count: int = 0
    reasons: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)  # the first place of each reason in `counts`
    counts: Counter[str] = field(default_factory=Counter)  # of the first different reasons

    def add(self, place: str, reason: str) -> None:
        """Count something that is skipped."""
        if self.strict:
            raise DataError(f"{place}: {reason}")
        self.count += 1
        if len(self.reasons) < REPORTED:
            self.reasons.append(f"{place}: {reason}")
        if reason in self.counts or len(self.counts) < REPORTED:
            self.places.setdefault(reason, place)
            self.counts[reason] += 1

    def merge(self, other: "Skipped") -> None:
        """Add what another reader has skipped."""
        self.count += other.count
        self.reasons += other.reasons[: REPORTED - len(self.reasons)]
        for reason, number in other.counts.items():
            if reason in self.counts or len(self.counts) < REPORTED:
                self.places.setdefault(reason, other.places[reason])
                self.counts[reason] += number

    def to_dict(self) -> dict[str, Any]:
        """Return what was skipped as JSON can hold it."""
        return {name: getattr(self, name) for name in ("count", "reasons", "places", "counts")}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Skipped":
        """Return what `to_dict` has returned."""
        return cls(False, facts["count"], list(facts["reasons"]), dict(facts["places"]), Counter(facts["counts"]))

    def sentence(self) -> str:
        """Return what was skipped, the first different reasons in full; empty if nothing was."""
        if not self.count:
            return ""
        same = {reason: f" (and {count - 1} more)" if count > 1 else "" for reason, count in self.counts.items()}
        parts = [f"{place}{same[reason]}: {reason}" for reason, place in self.places.items()]
        more = self.count - self.counts.total()
        return f"skipped {self.count}: {'; '.join(parts)}{f'; and {more} more' if more else ''}"


def is_unicode(value: Any) -> bool:
    """Whether all texts in a value, lists and mappings included, can be encoded: none has half of a surrogate pair."""
    if isinstance(value, str):
        return value.isascii() or not SURROGATE.search(value)
    if isinstance(value, Mapping):
        return all(is_unicode(key) and is_unicode(item) for key, item in value.items())
    return not isinstance(value, list) or all(map(is_unicode, value))


@dataclass(frozen=True)
class Record:
    """An example's fields by name, and the place where they were read."""

    fields: Mapping[str, Any]
    place: str


def read(
    source: str | os.PathLike[str] | RemoteFile | Iterable[Mapping[str, Any]],
    skipped: Skipped,
    *,
    format: str | None = None,
    header: Sequence[str] = (),
) -> Iterator[Record]:
    """Yield the records of a file or a dataset.

    Args:
        source: a file of this machine or of an object store (`s3://bucket/a.jsonl`), compressed or not, or any
            iterable of mappings, such as a dataset of the `datasets` library.
        skipped: counts what cannot be read.
        format: one of `FORMATS`; by default the file's suffix decides.
        header: names of the columns of a CSV or TSV file that does not begin with them.

    Raises:
        DataError: the format is unknown, or the file cannot be read at all.
        MemoryError: memory is exhausted; the message names the file.
    """
    if not isinstance(source, str | os.PathLike | RemoteFile):
        yield from _mappings(source, skipped)
        return
    path = locate(source)
    if isinstance(path, Path) and path.is_dir():
        raise DataError(f"{path} is a folder: specify the files in it, such as {path}/*.jsonl")
    kind = format or SUFFIXES.get(find_suffix(path))
    if kind not in FORMATS:
        known = ", ".join(FORMATS)
        advice = choose_advice(
            python=f"give its name a suffix that does, such as .csv, or specify format, one of {known}",
            command=f"specify it with --input-format, one of {known}",
        )
        raise DataError(f"{path}: its suffix does not tell its format; {advice}")
    if not exists(path):
        raise DataError(f"{path}: there is no such file")
    count = skipped.count
    empty = True
    with name_memory_errors(f"{path}: {NO_MEMORY} to read it"):
        for record in FORMATS[kind](path, skipped, header):
            empty = False
            yield record
    if empty and skipped.count == count:
        skipped.add(str(path), "holds no record")


def lines(path: File, skipped: Skipped) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a text file without line ends, skipping those that are too long or not UTF-8."""
    with open_file(path) as stream:
        yield from number_lines(stream, path, skipped)


def number_lines(stream: Any, path: File, skipped: Skipped, longest: int = LONGEST) -> Iterator[tuple[int, str]]:
    """Yield the lines of an open file, as `lines` does, of at most `longest` characters.

    Raises:
        DataError: the file is damaged, such as a compressed one that was truncated, or the connection is lost.
        MemoryError: memory is exhausted.
    """

    def read_line() -> bytes:
        try:
            return stream.readline(4 * longest)
        except MemoryError:
            raise MemoryError(f"{path}: {NO_MEMORY} to read the line after line {number}") from None
        except Exception as error:  # of the packages behind compressed and remote files
            reason = str(error) or type(error).__name__
            raise DataError(f"{path}: cannot be read after line {number}: {reason}") from None

    number = 0
    while raw := read_line():
        number, size = number + 1, len(raw)
        while not raw.endswith(b"\n") and (more := read_line()):
            size += len(more)
            raw = raw[:longest] + more[-1:]
        place = f"{path}, line {number}"
        if size > 4 * longest or (len(raw) > longest and len(raw.decode("utf-8", "ignore")) > longest):
            skipped.add(place, f"{size:,} bytes on one line; at most {longest:,} characters are read")
            continue
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            skipped.add(place, f"not UTF-8, {error.reason} at byte {error.start}")
            continue
        yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")


def read_json_lines(
    path: File, skipped: Skipped, header: Sequence[str] = (), longest: int = LONGEST
) -> Iterator[Record]:
    """Yield the objects of a file with one on each line, of at most `longest` characters."""
    with open_file(path) as stream:
        for number, line in number_lines(stream, path, skipped, longest):
            if line.strip():
                yield from _parse_line(line, f"{path}, line {number}", skipped)


def _parse_line(line: str, place: str, skipped: Skipped) -> Iterator[Record]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        skipped.add(place, f"not JSON that can be read: {error}")
        return
    if not isinstance(fields, dict):
        skipped.add(place, f"a JSON {type(fields).__name__}, not an object")
    elif "\\u" in line and not is_unicode(fields):
        skipped.add(place, "it has half of a surrogate pair (such as \\ud800), which is not a character")
    else:
        yield Record(fields, place)


def _json(path: File, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    """Yield the objects of a JSON document: SQuAD's form, a list of objects, or an object with the list in `data`."""
    try:
        content = read_bytes(path)
    except MemoryError:
        raise
    except Exception as error:  # of the packages behind compressed and remote files
        raise DataError(f"{path}: cannot be read: {str(error) or type(error).__name__}") from None
    try:
        document = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8, {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON that can be read: {error}") from None
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise DataError(f"{path}: it is neither a list of examples nor an object with such a list in `data`")
    for number, row in enumerate(rows):
        place = f"{path}, data[{number}]"
        if not isinstance(row, dict):
            skipped.add(place, "not an object")
        elif isinstance(row.get("paragraphs"), list):
            yield from _article(row, place, skipped)
        else:
            yield Record(row, place)


def _article(article: Mapping[str, Any], place: str, skipped: Skipped) -> Iterator[Record]:
    """Yield the questions of an article of SQuAD, each with its paragraph as `context`."""
    for number, paragraph in enumerate(article["paragraphs"]):
        where = f"{place}.paragraphs[{number}]"
        if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
            skipped.add(where, "has no questions in `qas`")
            continue
        for rank, question in enumerate(paragraph["qas"]):
            if isinstance(question, dict):
                context = {"context": paragraph.get("context"), "title": article.get("title", "")}
                yield Record({**question, **context}, f"{where}.qas[{rank}]")
            else:
                skipped.add(f"{where}.qas[{rank}]", "not an object")


def _table(delimiter: str, quoting: Any) -> Callable[[File, Skipped, Sequence[str]], Iterator[Record]]:
    """Return the reader of a table whose first row names the columns, unless `header` does."""

    def read_rows(path: File, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
        names, before = list(header), skipped.count
        for number, row in _split_rows(path, skipped, delimiter, quoting):
            if not names:
                if skipped.count > before:
                    raise DataError(f"{path}: its first line, with the names of the columns, cannot be read")
                names = _check_names(row, f"{path}, line {number}")
            elif len(row) != len(names):
                place = f"{path}, line {number}"
                skipped.add(
                    place,
                    f"{_count_columns(row)}, but {len(names)} are named ({', '.join(names)})",
                )
            else:
                yield Record(dict(zip(names, row, strict=True)), f"{path}, line {number}")

    return read_rows


def _count_columns(row: Sequence[Any]) -> str:
    return f"{len(row)} column{'' if len(row) == 1 else 's'}"


def _check_names(names: list[str], place: str) -> list[str]:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{place}: several columns are named {', '.join(map(repr, twice))}")
    return names


def _split_rows(path: File, skipped: Skipped, delimiter: str, quoting: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table, each with the number of its first line; empty lines are no rows.

    A row whose quotation marks are wrong is skipped with its first line alone: the lines after it are read again.
    """
    source, again = lines(path, skipped), deque[tuple[int, str]]()
    taken: list[tuple[int, str]] = []

    def feed() -> Iterator[str]:
        while (line := again.popleft() if again else next(source, None)) is not None:
            taken.append(line)
            yield line[1] + "\n"

    reader = csv.reader(feed(), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        taken.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = "a quotation mark is not closed" if len(taken) > 1 else str(error)
            skipped.add(f"{path}, line {taken[0][0]}", f"not a row of a table: {reason}")
            again.extendleft(reversed(taken[1:]))
            reader = csv.reader(feed(), delimiter=delimiter, quoting=quoting, strict=True)
            continue
        if row is None:
            return
        if row and row != [""]:
            yield taken[0][0], row


def _conll(path: File, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    """Yield sentences of lines `word ... label` with an empty line after each, or of CoNLL-U's ten columns.

    Lines `-DOCSTART-` and comments are no words. A sentence whose lines differ in their number of columns is skipped.
    """
    width, held = 0, list[tuple[int, list[str], str]]()
    for number, line in itertools.chain(lines(path, skipped), [(0, "")]):
        if line.strip():
            columns = line.rstrip().split("\t") if "\t" in line else line.split()
            if columns[0] != "-DOCSTART-":
                held.append((number, columns, line))
            continue
        words = _drop_comments(held, width)
        held = []
        if not words:
            continue
        width = width or len(words[0][1])
        wrong = next((found for found in words if len(found[1]) != width or width < 2), None)
        place = f"{path}, line {words[0][0]}"
        if wrong is not None:
            expected = f"expected are {max(width, 2)}"
            skipped.add(
                place,
                f"the sentence has {_count_columns(wrong[1])} in line {wrong[0]}; {expected}",
            )
        else:
            yield Record(_sentence([columns for _, columns, _ in words]), place)


def _drop_comments(held: list[tuple[int, list[str], str]], width: int) -> list[tuple[int, list[str], str]]:
    """Return the lines of a sentence without those before its first word that are comments.

    A line with `#` is a comment unless it is split as the others are and its last column looks like a label.
    """
    rest = [(columns, "\t" in line) for _, columns, line in held if not line.startswith("#")]
    width, tabs = width or (len(rest[0][0]) if rest else 0), any(tab for _, tab in rest)
    begin = 0
    for _, columns, line in held:
        split = len(columns) == width and len(columns) > 1 and ("\t" in line or not tabs)
        if not line.startswith("#") or (split and LABEL.fullmatch(columns[-1])):
            break
        begin += 1
    return [found for found in held[begin:] if not (found[2].startswith("#") and len(found[1]) == 1)]


def _sentence(rows: list[list[str]]) -> dict[str, Any]:
    """Return the words and labels of a sentence: first and last column, or of CoNLL-U the forms and parts of speech."""
    if len(rows[0]) == CONLLU and all(TOKEN_ID.match(row[0]) for row in rows):
        words = [row for row in rows if row[0].isdecimal()]  # not ranges (1-2) and empty nodes (1.1)
        return {"tokens": [row[1] for row in words], "labels": [row[3] for row in words], "xpos": [r[4] for r in words]}
    return {"tokens": [row[0] for row in rows], "labels": [row[-1] for row in rows]}


def read_parquet(
    path: File, skipped: Skipped, header: Sequence[str] = (), columns: Sequence[str] | None = None
) -> Iterator[Record]:
    """Yield the rows of a Parquet file, with all columns or some of them.

    Raises:
        DataError: pyarrow is not installed, the file is damaged, or it lacks one of the columns.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: Parquet files need pyarrow: pip install 'triberta[train]'") from None
    plain, number = isinstance(path, Path) and not find_compression(path), 0
    with nullcontext() if plain else open_file(path) as stream:
        try:
            with _make_seekable(stream) if stream else nullcontext(path) as source, parquet.ParquetFile(source) as file:
                present = file.schema_arrow.names
                if missing := [name for name in columns or () if name not in present]:
                    known = ", ".join(present)
                    raise DataError(f"{path}: it has no column {', '.join(missing)}; its columns are {known}")
                named = _read_label_names(file.schema_arrow.metadata or {})
                for batch in file.iter_batches(ROWS, columns=columns):
                    for row in batch.to_pylist():
                        fields = {name: _named(value, named.get(name)) for name, value in row.items()}
                        yield Record(fields, f"{path}, row {number}")
                        number += 1
        except DataError:
            raise
        except Exception as error:  # of pyarrow, and of the packages behind compressed and remote files
            where = f", row {number}" if number else ""
            if isinstance(error, MemoryError):  # also pyarrow's own type
                raise MemoryError(f"{path}{where}: {NO_MEMORY} to read it") from None
            raise DataError(f"{path}{where}: not a Parquet file that can be read: {error}") from None


@contextmanager
def _make_seekable(stream: Any) -> Iterator[Any]:
    """Yield a stream in which one can move: where a decompressor only reads on, a temporary copy."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copied:
        shutil.copyfileobj(stream, copied)
        copied.seek(0)
        yield copied


def _read_label_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Return the names of labels by column that `datasets` stores in a Parquet file."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    inner = {name: feature.get("feature", feature) if isinstance(feature, dict) else {} for name, feature in features}
    found = {name: one.get("names") for name, one in inner.items() if isinstance(one, dict)}
    return {name: names for name, names in found.items() if isinstance(names, list)}


def _mappings(rows: Iterable[Any], skipped: Skipped) -> Iterator[Record]:
    """Yield the rows of a dataset; labels that its `features` name get their names."""
    named = {}
    for column, feature in (getattr(rows, "features", None) or {}).items():
        inner = getattr(feature, "feature", feature)  # of a sequence's elements
        if hasattr(inner, "names"):
            named[column] = inner.names
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            skipped.add(f"row {number}", f"a {type(row).__name__}, not a mapping")
            continue
        yield Record({name: _named(value, named.get(name)) for name, value in row.items()}, f"row {number}")


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None:
        return value
    if isinstance(value, int):  # -1 is the library's sign for a missing label
        return names[value] if 0 <= value < len(names) else None
    return [_named(item, names) for item in value] if isinstance(value, list) else value


FORMATS: dict[str, Callable[[File, Skipped, Sequence[str]], Iterator[Record]]] = {
    "jsonl": read_json_lines,
    "json": _json,
    "csv": _table(",", csv.QUOTE_MINIMAL),
    "tsv": _table("\t", csv.QUOTE_NONE),  # as those of GLUE: a quotation mark is a character like any other
    "conll": _conll,
    "parquet": read_parquet,
}
SUFFIXES = {f".{name}": name for name in FORMATS}
SUFFIXES |= {".ndjson": "jsonl", ".bio": "conll", ".iob": "conll", ".conllu": "conll"}
