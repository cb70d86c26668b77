"""Writers of predictions: a table, TSV, JSON lines or Parquet; `error` is why a row could not be used."""

import csv
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from roberta_core.cli.predict_inputs import TaskFields
from roberta_core.cli.terminal import escape_controls, make_console
from roberta_core.data.sources import File, RemoteFile, upload
from roberta_core.safe_files import create_text

Row = tuple[str, Any, Any]  # the place of a row, its input and its result; a `RowError` stands for both


def is_error(result: Any) -> bool:
    """Whether a row has no result, but the reason why."""
    return hasattr(result, "reason")


@contextmanager
def open_output(output: File | None) -> Iterator[TextIO]:
    """Open the output; that of an object store is a file of this machine until it is complete."""
    if output is None:
        yield sys.stdout
    elif isinstance(output, Path):
        with create_text(output, newline="") as stream:
            yield stream
    else:
        with _open_remote(output) as stream:
            yield stream


@contextmanager
def _open_remote(output: RemoteFile) -> Iterator[TextIO]:
    descriptor, name = tempfile.mkstemp(suffix=f"-{output.name}")
    os.close(descriptor)
    try:
        with create_text(name, newline="") as stream:
            yield stream
    except BaseException:
        os.unlink(name)
        raise
    try:
        upload(Path(name), output)
    except ValueError as error:
        raise ValueError(f"{error}; the results are in {name}") from None
    os.unlink(name)


@contextmanager
def show_progress(output: File | None) -> Iterator[Callable[[], None]]:
    """Show the number of rows that are done, if stderr is a terminal and the results go to a file.

    Yields:
        A function to call for each row.
    """
    if output is None or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.completed:,} rows"), TimeElapsedColumn(), console=make_console(file=sys.stderr),
        transient=True, redirect_stdout=False, redirect_stderr=False,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None)
        yield lambda: bar.advance(task)


def write_jsonl(task: TaskFields, rows: Iterable[Row], stream: TextIO) -> None:
    """Write a JSON object per row."""
    for place, item, result in rows:
        value = {"error": result.reason} if is_error(result) else task.to_json(item, result)
        print(json.dumps({"place": place, **value}, ensure_ascii=False), file=stream)


def write_tsv(task: TaskFields, rows: Iterable[Row], stream: TextIO) -> None:
    """Write a header, then the lines of each row."""
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(["place", *task.columns, "error"])
    for line in _flatten(task, rows):
        writer.writerow(escape_controls(cell) if stream.isatty() else cell for cell in line)


def write_table(task: TaskFields, rows: Iterable[Row], stream: TextIO) -> None:
    """Write a table, once all rows are done."""
    from rich.table import Table

    lines = list(_flatten(task, rows))
    failed = any(line[-1] for line in lines)
    table = Table("place", *task.columns, *(["error"] if failed else []))
    for line in lines:
        table.add_row(*(line if failed else line[:-1]))
    make_console(file=stream).print(table)


def write_lines(task: TaskFields, rows: Iterable[Row], stream: TextIO) -> None:
    """Write the cells of each row alone, separated by tabs; an error stands after them."""
    for place, item, result in rows:
        lines = [["", "", place, result.reason]] if is_error(result) else _list_cells(task, item, result)
        for cells in lines:
            line = "\t".join(cells)
            print(escape_controls(line) if stream.isatty() else line, file=stream)


def _flatten(task: TaskFields, rows: Iterable[Row]) -> Iterator[list[str]]:
    """Yield the lines of a table; errors stand in the last column."""
    for place, item, result in rows:
        if is_error(result):
            yield [place, *[""] * len(task.columns), result.reason]
            continue
        for cells in _list_cells(task, item, result):
            yield [place, *cells, ""]


def _list_cells(task: TaskFields, item: Any, result: Any) -> Iterator[list[str]]:
    for line in task.to_rows(item, result) or [{}]:
        yield [_show(line.get(name, "")) for name in task.columns]


def _show(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def write_parquet(task: TaskFields, rows: Iterable[Row], stream: TextIO) -> None:
    """Write a Parquet file; its library is imported on request."""
    from roberta_core.cli import predict_parquet

    predict_parquet.write_parquet(task, rows, stream)


WRITERS: dict[str, Callable[[TaskFields, Iterable[Row], TextIO], None]] = {
    "jsonl": write_jsonl,
    "tsv": write_tsv,
    "table": write_table,
    "lines": write_lines,
    "parquet": write_parquet,
}
