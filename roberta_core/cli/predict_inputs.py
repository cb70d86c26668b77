"""What each prediction command reads from a row and prints of a result."""

from __future__ import annotations

import codecs
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import typer

from roberta_core.data.columns import NO_COLUMN, PAIRS, SINGLES, describe_missing
from roberta_core.data.records import SUFFIXES, DataError, Record, Skipped, read
from roberta_core.data.sources import NO_MEMORY, find_suffix, locate, open_file

STDIN = "-"


@dataclass(frozen=True)
class TaskFields:
    """A prediction command.

    Args:
        pipeline: the pipeline's task.
        fields: the fields of a row, each with the columns that hold it by default.
        build: the pipeline's input from a row's fields.
        split: a row's fields from the parts of a line of text.
        columns: what a table shows of a result.
        to_rows: the lines of a table from the input of a row and its result.
        together: columns for several fields that are used before others if a row has all of them.
        task: the task of `roberta finetune` that reads the fields of a row, instead of `build`.
    """

    pipeline: str
    fields: Mapping[str, Sequence[str]]
    build: Callable[[Mapping[str, Any]], Any]
    split: Callable[[list[str]], dict[str, Any]]
    columns: Sequence[str]
    to_rows: Callable[[Any, Any], list[dict[str, Any]]]
    together: Sequence[Mapping[str, str]] = ()
    task: str = ""

    def read(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Any:
        """Return the pipeline's input from the columns of a row, those that `names` gives by field before others.

        Raises:
            ValueError: a field is missing or has a wrong value; the message names its columns.
        """
        if self.task:
            from roberta_core import tasks

            return tasks.TASKS[self.task](None, 0, columns=names).read_inputs(Record(row, ""))
        for group in self.together:
            if not set(group) & set(names) and all(row.get(column) is not None for column in group.values()):
                names = {**names, **group}
        known = {field: (names[field],) if field in names else self.fields[field] for field in self.fields}
        try:
            return self.build({field: _find(row, known[field]) for field in self.fields})
        except MissingFieldError as error:
            missing = describe_missing(error.field, known[error.field], row)
            advice = f": pass --columns {error.field}=COLUMN" if missing.startswith(NO_COLUMN) else ""
            raise ValueError(missing + advice) from None

    def to_json(self, item: Any, result: Any) -> dict[str, Any]:
        """Return a result as a mapping for a line of JSON."""
        if isinstance(result, dict):
            return result
        return {"results": result.tolist() if hasattr(result, "tolist") else result}


class MissingFieldError(ValueError):
    """A row lacks a field."""

    def __init__(self, field: str):
        super().__init__(f"no {field}")
        self.field = field


def _need(fields: Mapping[str, Any], *names: str) -> list[Any]:
    for name in names:
        if fields.get(name) is None:
            raise MissingFieldError(name)
    return [fields[name] for name in names]


def _get_text(fields: Mapping[str, Any]) -> str:
    (text,) = _need(fields, "text")
    return text


def _get_text_or_words(fields: Mapping[str, Any]) -> Any:
    tokens = fields.get("tokens")
    return " ".join(map(str, tokens)) if isinstance(tokens, list) and fields.get("text") is None else _get_text(fields)


def _get_pair(fields: Mapping[str, Any]) -> Any:
    (text,) = _need(fields, "text")
    return text if fields.get("text_pair") is None else {"text": text, "text_pair": fields["text_pair"]}


def _get_query(fields: Mapping[str, Any]) -> dict[str, Any]:
    query, documents = _need(fields, "query", "documents")
    return {"query": query, "documents": documents}


def _get_question(fields: Mapping[str, Any]) -> dict[str, Any]:
    question, context = _need(fields, "question", "context")
    return {"question": question, "context": context}


def _get_choices(fields: Mapping[str, Any]) -> dict[str, Any]:
    context, choices = _need(fields, "context", "choices")
    return {"context": context, "question": fields.get("question"), "choices": choices}


def _split_text(parts: list[str]) -> dict[str, Any]:
    return {"text": "\t".join(parts)}


def _split_pair(parts: list[str]) -> dict[str, Any]:
    if len(parts) != 2:
        raise ValueError(f"{len(parts) - 1} tabs; --pairs needs exactly one")
    return {"text": parts[0], "text_pair": parts[1]}


def _split_question(parts: list[str]) -> dict[str, Any]:
    return {
        "question": parts[0],
        **({"context": "\t".join(parts[1:])} if parts[1:] else {}),
    }  # tabs of the context stay


def _as_list(item: Any, result: Any) -> list[dict[str, Any]]:
    return [result] if isinstance(result, dict) else list(result)


def _list_entities(item: Any, found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**one, "entity": one.get("entity_group", one.get("entity")), "text": item[one["start"] : one["end"]].strip()}
        for one in found
    ]


def _list_candidates(item: Any, found: Any) -> list[dict[str, Any]]:
    masks = [found] if isinstance(found[0], dict) else found
    return [
        {**one, "mask": number, "token": one["token_str"]}
        for number, candidates in enumerate(masks, 1)
        for one in candidates
    ]


def _list_labels(item: Any, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = [found["text"]] if isinstance(found["text"], str) else found["text"]
    label = ", ".join(found["labels"]) if "labels" in found else found["label"]
    return [{**found, "label": label, "text": "\t".join(text)}]


CLASSIFY = TaskFields(
    "text-classification",
    {"text": SINGLES, "text_pair": ("text_pair",)}, _get_pair, _split_text, ("label", "score", "text"), _list_labels,
    [{"text": first, "text_pair": second} for first, second in PAIRS],
)  # fmt: skip
TEXT = {"text": SINGLES}
TASKS = {
    "classify": CLASSIFY,
    "pairs": replace(CLASSIFY, split=_split_pair),
    "fill-mask": TaskFields(
        "fill-mask", TEXT, _get_text, _split_text, ("mask", "token", "score", "sequence"), _list_candidates,
    ),
    "tag": TaskFields(
        "token-classification", {**TEXT, "tokens": ("tokens", "words")}, _get_text_or_words, _split_text,
        ("entity", "text", "start", "end", "score"), _list_entities,
    ),
    "answer": TaskFields(
        "question-answering", {"question": ("question",), "context": ("context",)}, _get_question,
        _split_question,
        ("answer", "start", "end", "score"), _as_list,
    ),
    "choose": TaskFields(
        "multiple-choice",
        {"context": ("context", "premise", "prompt"), "question": ("question",), "choices": ("choices", "endings")},
        _get_choices, lambda parts: {"context": parts[0], "choices": parts[1:]},
        ("label", "choice", "score"), _as_list, task="multiple-choice",
    ),
    "embed": TaskFields(
        "sentence-embedding", TEXT, _get_text, _split_text, ("vector",),
        lambda item, vector: [{"vector": " ".join(f"{value:.6g}" for value in vector.tolist())}],
    ),
    "rank": TaskFields(
        "text-ranking", {"query": ("query", "question"), "documents": ("documents", "texts")}, _get_query,
        lambda parts: {"query": parts[0], "documents": parts[1:]}, ("index", "text", "score"), _as_list,
    ),
    "zero-shot": TaskFields(
        "zero-shot-classification", TEXT, _get_text, _split_text, ("label", "score"),
        lambda item, found: [
            {"label": label, "score": score} for label, score in zip(found["labels"], found["scores"], strict=True)
        ],
    ),
    "generate": TaskFields(
        "text-generation", TEXT, _get_text, _split_text, ("text",),
        lambda item, found: [{"text": one["generated_text"]} for one in found],
    ),
}  # fmt: skip


def parse_columns(task: TaskFields, given: Sequence[str]) -> dict[str, str]:
    """Return the columns by field that the options name.

    Raises:
        typer.BadParameter: an option is not FIELD=NAME, or the task has no such field.
    """
    names = {}
    for option in given:
        for part in option.split(","):
            field, found, name = part.partition("=")
            if not found or not name or field not in task.fields:
                known = ", ".join(task.fields)
                reason = f"this task has no field {field!r}" if found and name else "write FIELD=COLUMN"
                raise typer.BadParameter(f"--columns {part}: {reason}; the fields of this task are {known}")
            names[field] = name
    return names


def read_rows(
    task: TaskFields,
    files: Iterable[str],
    names: Mapping[str, str],
    kind: str | None = None,
    header: Sequence[str] = (),
) -> Iterator[tuple[str, Any]]:
    """Yield the place and the pipeline's input of each row; a row that cannot be used gives a `RowError`.

    Args:
        task: the command.
        files: names of files; `-` is standard input.
        names: columns by field.
        kind: the format of all files, "lines" or one of `records.FORMATS`; by default their suffixes tell it.
        header: names of the columns of CSV and TSV files that do not begin with them.
    """
    for file in files:
        if has_lines(file, kind):
            yield from _read_lines(task, file)
        elif file == STDIN:
            with tempfile.NamedTemporaryFile() as copy:  # readers need a file
                shutil.copyfileobj(sys.stdin.buffer, copy)
                copy.flush()
                for place, item in _read_records(task, copy.name, names, kind, header):
                    yield place.replace(copy.name, "standard input"), item
        else:
            yield from _read_records(task, file, names, kind, header)


def _read_records(
    task: TaskFields, file: str, names: Mapping[str, str], kind: str | None, header: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    from roberta_core.pipelines.base import RowError

    skipped = _Reported()
    try:
        for record in read(file, skipped, format=kind, header=header):
            yield from skipped.drain()
            yield record.place, _read_row(task, record, names)
    except DataError as error:  # of the whole file: the others are still read
        yield file, RowError(str(error))
    yield from skipped.drain()


def _read_row(task: TaskFields, record: Record, names: Mapping[str, str]) -> Any:
    from roberta_core.pipelines.base import RowError

    try:
        return task.read(record.fields, names)
    except ValueError as error:
        return RowError(str(error))


def _find(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    return next((row[column] for column in columns if row.get(column) is not None), None)


def has_lines(file: str, kind: str | None = None) -> bool:
    """Whether a file has lines of text: by its format, or else standard input and all other suffixes than records'."""
    if kind is not None:
        return kind == "lines"
    return file == STDIN or find_suffix(locate(file)) not in SUFFIXES


def _read_lines(task: TaskFields, file: str) -> Iterator[tuple[str, Any]]:
    from roberta_core.pipelines.base import RowError

    shown, number = "standard input" if file == STDIN else file, 0
    with nullcontext(sys.stdin.buffer) if file == STDIN else open_file(locate(file)) as source:
        while raw := _try_line(source, f"{shown}: {NO_MEMORY} to read the line after line {number}"):
            if isinstance(raw, Exception):  # of the whole file, such as a compressed one that was truncated
                yield shown, RowError(f"cannot be read after line {number}: {str(raw) or type(raw).__name__}")
                return
            number += 1
            line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
            yield f"{shown}, line {number}", _parse_line(task, line)


def _try_line(source: Any, exhausted: str) -> bytes | Exception:
    """Return the next line, or the error; those of compressed and remote files have many types.

    Raises:
        MemoryError: memory is exhausted, which is no error of the file; its message is `exhausted`.
    """
    try:
        return source.readline()
    except MemoryError:
        raise MemoryError(exhausted) from None
    except Exception as error:
        return error


def _parse_line(task: TaskFields, raw: bytes) -> Any:
    from roberta_core.pipelines.base import RowError

    try:
        return task.build(task.split(raw.decode("utf-8").rstrip("\r\n").split("\t")))
    except UnicodeDecodeError as error:
        return RowError(f"not UTF-8, {error.reason} at byte {error.start}")
    except ValueError as error:
        return RowError(str(error))


class _Reported(Skipped):
    """Holds what a reader skips, so that it is printed at its place among the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[str, Any]] = []

    def add(self, place: str, reason: str) -> None:
        """Hold a row that is skipped."""
        from roberta_core.pipelines.base import RowError

        self.count += 1
        self.held.append((place, RowError(reason)))

    def drain(self) -> list[tuple[str, Any]]:
        """Return the rows that were held since the last call."""
        held, self.held = self.held, []
        return held
