"""Examples as files hold them: JSON lines, JSON, CSV, TSV, CoNLL columns, SQuAD, Parquet, or any sequence of mappings.

Each comes as a `Record`, a mapping with the place that it was read from. What cannot be read is told to a `Skipped`,
which counts it, or refuses it where the caller wants everything to be right.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST = 500_000  # characters of a line or a text; no example of any task is that long, and broken files are
TOLD = 5  # reasons that are told in full

Columns = Mapping[str, str]  # a field's name here -> the column that holds it


class DataError(ValueError):
    """Data that cannot be used: the file, the line and why."""


@dataclass
class Skipped:
    """What was left out, and why; with `strict` nothing is, and the first reason is a `DataError`."""

    strict: bool = False
    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, place: str, reason: str) -> None:
        """Count something that is left out."""
        if self.strict:
            raise DataError(f"{place}: {reason}")
        self.count += 1
        if len(self.reasons) < TOLD:
            self.reasons.append(f"{place}: {reason}")

    def sentence(self) -> str:
        """What was left out, the first reasons in full; empty if nothing was."""
        if not self.count:
            return ""
        more = f"; and {self.count - len(self.reasons)} more" if self.count > len(self.reasons) else ""
        return f"skipped {self.count}: {'; '.join(self.reasons)}{more}"


@dataclass(frozen=True)
class Record:
    """An example's fields by name, and where they were read."""

    fields: Mapping[str, Any]
    place: str


def read(
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
    skipped: Skipped,
    *,
    format: str | None = None,
    header: Sequence[str] = (),
) -> Iterator[Record]:
    """The records of a file, or of a dataset: any iterable of mappings, such as that of the `datasets` library.

    `format` is one of `FORMATS`, else the file's name says it; `header` names the columns of a CSV or TSV file that
    does not begin with their names. `DataError` for a format that is not known, or a file that cannot be read at all.
    """
    if not isinstance(source, str | os.PathLike):
        yield from _mappings(source, skipped)
        return
    path = Path(source)
    kind = format or SUFFIXES.get(path.suffix.lower())
    if kind not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"{path}: its format is not known from its name; it may be {known}")
    count = skipped.count
    empty = True
    for record in FORMATS[kind](path, skipped, header):
        empty = False
        yield record
    if empty and skipped.count == count:
        skipped.add(str(path), "holds no record")


def lines(path: Path, skipped: Skipped) -> Iterator[tuple[int, str]]:
    """The numbered lines of a text file without their ends; those that are too long or not UTF-8 are left out."""
    with open(path, "rb") as stream:
        number = 0
        while raw := stream.readline(4 * LONGEST):
            number, size = number + 1, len(raw)
            while not raw.endswith(b"\n") and (more := stream.readline(4 * LONGEST)):
                size += len(more)
                raw = raw[:LONGEST] + more[-1:]
            place = f"{path}, line {number}"
            if size > 4 * LONGEST or (len(raw) > LONGEST and len(raw.decode("utf-8", "ignore")) > LONGEST):
                skipped.add(place, f"{size:,} bytes on one line; at most {LONGEST:,} characters are read")
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                skipped.add(place, f"not UTF-8, {error.reason} at byte {error.start}")
                continue
            yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")


def _json_lines(path: Path, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    for number, line in lines(path, skipped):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            skipped.add(place, f"no JSON, {error}")
            continue
        if isinstance(fields, dict):
            yield Record(fields, place)
        else:
            skipped.add(place, f"a JSON {type(fields).__name__}, where an object is wanted")


def _json(path: Path, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    """A JSON document: SQuAD's form, a list of objects, or an object with the list in `data`."""
    try:
        document = json.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8, {error.reason}") from None
    except ValueError as error:
        raise DataError(f"{path}: no JSON, {error}") from None
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise DataError(f"{path}: no list of examples, nor an object with such a list in `data`")
    for number, row in enumerate(rows):
        place = f"{path}, data[{number}]"
        if not isinstance(row, dict):
            skipped.add(place, "no object")
        elif "paragraphs" in row:
            yield from _article(row, place, skipped)
        else:
            yield Record(row, place)


def _article(article: Mapping[str, Any], place: str, skipped: Skipped) -> Iterator[Record]:
    """The questions of an article of SQuAD, each with its paragraph as `context`."""
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
                skipped.add(f"{where}.qas[{rank}]", "no object")


def _table(delimiter: str, quoting: Any) -> Callable[[Path, Skipped, Sequence[str]], Iterator[Record]]:
    def rows(path: Path, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
        names, taken = list(header), []

        def feed() -> Iterator[str]:
            for number, line in lines(path, skipped):
                taken.append(number)
                yield line + "\n"

        reader = csv.reader(feed(), delimiter=delimiter, quoting=quoting)
        while True:
            taken.clear()
            try:
                row = next(reader, None)
            except csv.Error as error:
                skipped.add(f"{path}, line {taken[0]}", f"no row of a table, {error}")
                continue
            if row is None:
                return
            if not row or row == [""]:
                continue
            place = f"{path}, line {taken[0]}"
            if not names:
                names = row
            elif len(row) != len(names):
                skipped.add(place, f"{len(row)} columns, where {len(names)} are named ({', '.join(names)})")
            else:
                yield Record(dict(zip(names, row, strict=True)), place)

    return rows


def _conll(path: Path, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    """Sentences of lines `word ... label`, a blank line after each; lines `-DOCSTART-` and comments are no words.

    A sentence with a line of another number of columns is left out.
    """
    words: list[list[str]] = []
    begin, width, fault = 0, 0, ""

    def sentence() -> Iterator[Record]:
        if fault:
            skipped.add(f"{path}, line {begin}", fault)
        elif words:
            fields = {"tokens": [word[0] for word in words], "labels": [word[-1] for word in words]}
            yield Record(fields, f"{path}, line {begin}")

    for number, line in lines(path, skipped):
        if not line.strip():
            yield from sentence()
            words, fault = [], ""
            continue
        columns = line.rstrip().split("\t") if "\t" in line else line.split()
        if columns[0] == "-DOCSTART-" or (line.startswith("#") and len(columns) == 1):
            continue
        begin = begin if words or fault else number
        width = width or len(columns)
        if (len(columns) != width or width < 2) and not fault:
            fault = f"the sentence has {len(columns)} columns in line {number}; wanted are {max(width, 2)}"
        words.append(columns)
    yield from sentence()


def _parquet(path: Path, skipped: Skipped, header: Sequence[str]) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{path}: Parquet files need pyarrow: pip install 'triberta[train]'") from None
    try:
        number = 0
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                yield Record(row, f"{path}, row {number}")
                number += 1
    except ArrowException as error:
        raise DataError(f"{path}: no Parquet file, {error}") from None


def _mappings(rows: Iterable[Any], skipped: Skipped) -> Iterator[Record]:
    """The rows of a dataset; labels that its `features` name come by their names."""
    named = {}
    for column, feature in (getattr(rows, "features", None) or {}).items():
        inner = getattr(feature, "feature", feature)  # of a sequence's elements
        if hasattr(inner, "names"):
            named[column] = inner.names
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            skipped.add(f"row {number}", f"a {type(row).__name__}, where a mapping is wanted")
            continue
        yield Record({name: _named(value, named.get(name)) for name, value in row.items()}, f"row {number}")


def _named(value: Any, names: Sequence[str] | None) -> Any:
    if names is None:
        return value
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else value
    return [_named(item, names) for item in value] if isinstance(value, list) else value


FORMATS: dict[str, Callable[[Path, Skipped, Sequence[str]], Iterator[Record]]] = {
    "jsonl": _json_lines,
    "json": _json,
    "csv": _table(",", csv.QUOTE_MINIMAL),
    "tsv": _table("\t", csv.QUOTE_NONE),  # as those of GLUE: a quotation mark is a character like any other
    "conll": _conll,
    "parquet": _parquet,
}
SUFFIXES = {f".{name}": name for name in FORMATS} | {".ndjson": "jsonl", ".bio": "conll", ".iob": "conll"}
