"""Filling rows up to one length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roberta_core.tokenization.options import Options
from roberta_core.tokenization.rows import NOWHERE, Row

# A tokenizer's columns -> what fills them up; None stands for the pad token's id.
FILLS: dict[str, Any] = {
    "input_ids": None,
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": NOWHERE,
}


def target(sizes: list[int], padding: str | None, length: int | None, multiple: int) -> int:
    """The length that rows of these sizes are padded to: 0 for none."""
    if padding is None or not sizes:
        return 0
    wanted = length or 0 if padding == "max_length" else max(sizes)
    return -(-wanted // multiple) * multiple


def pad_batch(rows: list[Row], options: Options) -> list[Row]:
    """The rows with padding on the side that the options ask for; a longer row stays as it is."""
    if options.padding is None:
        return rows
    sizes = [len(row) for row in rows]
    wanted = target(sizes, options.padding, options.length, options.multiple)
    for row, size in zip(rows, sizes, strict=True):
        if size < wanted:
            setattr(row, options.padding_side, wanted - size)
    return rows


def pad_columns(
    encoded: Any, pad_id: int, padding: str | None, length: int | None, multiple: int, side: str, *, masked: bool
) -> dict[str, Any]:
    """Columns filled up to one length, with an attention mask if `masked`. Raises ValueError if they do not fit."""
    columns = columns_of(encoded)
    ids = as_lists(columns["input_ids"])
    single = not ids or not isinstance(ids[0], list)
    rows = [ids] if single else ids
    sizes = [len(row) for row in rows]
    wanted = target(sizes, padding, length, multiple)
    if masked and "attention_mask" not in columns:
        columns["attention_mask"] = [1] * len(ids) if single else [[1] * size for size in sizes]
    for name in FILLS.keys() & columns.keys():
        values = as_lists(columns[name])
        values = [values] if single else values
        if [len(row) for row in values] != sizes:
            raise ValueError(f"{name} does not have the lengths of input_ids: {[len(row) for row in values]}, {sizes}")
        fill = pad_id if name == "input_ids" else FILLS[name]
        filled = [fill_row(row, wanted, fill, side) for row in values]
        columns[name] = filled[0] if single else filled
    return columns


def fill_row(row: list, wanted: int, fill: Any, side: str) -> list:
    """A row with the filling put on one side."""
    filling = [fill] * (wanted - len(row))
    return filling + row if side == "left" else row + filling


def columns_of(encoded: Any) -> dict[str, Any]:
    """One dictionary of columns from one or from a list of rows."""
    if isinstance(encoded, list | tuple) and encoded and all(isinstance(row, Mapping) for row in encoded):
        if any(row.keys() != encoded[0].keys() for row in encoded):
            raise ValueError(
                f"the rows do not have the same columns: {sorted({key for row in encoded for key in row})}"
            )
        encoded = {name: [row[name] for row in encoded] for name in encoded[0]}
    if not isinstance(encoded, Mapping) or "input_ids" not in encoded:
        raise ValueError("pad() needs encoded texts: a dictionary with input_ids, or a list of them")
    return dict(encoded)


def as_lists(values: Any) -> list:
    """Rows as lists, from lists, arrays or tensors."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if hasattr(values, "numpy"):
        return values.numpy().tolist()
    return [as_lists(value) if hasattr(value, "tolist") or hasattr(value, "numpy") else value for value in values]
