"""The writer of predictions as a Parquet file, with the fields of JSON lines as columns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from roberta_core.cli.predict_inputs import TaskFields
from roberta_core.pipelines import base


def require_pyarrow() -> None:
    """Raise `ValueError` if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ValueError("--format parquet needs pyarrow: pip install 'triberta[train]'") from None


def write_parquet(task: TaskFields, rows: Iterable[tuple[str, Any, Any]], stream: TextIO) -> None:
    """Write a Parquet file.

    The types of the columns are known when all rows are: until then tables of a few thousand rows are in a temporary
    folder.

    Raises:
        ValueError: a column has values of several types, such as a text in one row and a pair of texts in another.
    """
    import pyarrow as pa

    try:
        _write(task, iter(rows), stream)
    except pa.ArrowException as error:
        raise ValueError(f"the results have no common type in Parquet ({error}): use --format jsonl") from None


def _write(task: TaskFields, source: Iterator[tuple[str, Any, Any]], stream: TextIO) -> None:
    import pyarrow as pa
    from pyarrow import feather, parquet

    schema = pa.schema([("place", pa.string()), ("error", pa.string())])
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []
        while held := list(islice(source, base.WINDOW)):
            table = _build_table([_build_row(task, *row) for row in held])
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
            files.append(Path(folder) / f"{len(files)}.arrow")
            feather.write_feather(table, str(files[-1]), compression="lz4")
        names = [name for name in schema.names if name != "error"]
        schema = pa.schema([schema.field(name) for name in (*names, "error")])
        with parquet.ParquetWriter(stream.buffer, schema) as writer:
            for table in _read_tables(files, schema):
                writer.write_table(table)


def _read_tables(files: Iterable[Path], schema: Any) -> Iterator[Any]:
    """Yield the tables of files with the columns and types of the schema."""
    import pyarrow as pa
    from pyarrow import feather

    for file in files:
        table = feather.read_table(str(file), memory_map=False)
        yield pa.concat_tables([schema.empty_table(), table], promote_options="permissive")


def _build_row(task: TaskFields, place: str, item: Any, result: Any) -> dict[str, Any]:
    if hasattr(result, "reason"):
        return {"place": place, "error": result.reason}
    return {"place": place, **({"results": result} if hasattr(result, "tolist") else task.to_json(item, result))}


def _build_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})
