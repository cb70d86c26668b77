"""Columns as arrays, and as tensors of a framework.

Shapes: B rows of a batch, S their common length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from roberta_core.tokenization.rows import COLUMNS, Row

# What return_tensors says -> the backend that makes the tensors, and the published width of their whole numbers.
BACKENDS = {"pt": ("pt", np.int64), "tf": ("tf", np.int32), "jax": ("flax", np.int32)}


def rows_as_arrays(rows: list[Row], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The columns of rows as int64 [B, S] (offsets [B, S, 2], lengths [B])."""
    sizes = [len(row) for row in rows]
    padded = {row.left + size + row.right for row, size in zip(rows, sizes, strict=True)}
    if len(padded) != 1:
        return {name: as_array(name, [COLUMNS[name](row) for row in rows]) for name in names}
    shape = len(rows), padded.pop()
    return {
        name: FAST[name](rows, sizes, shape) if name in FAST else as_array(name, [COLUMNS[name](row) for row in rows])
        for name in names
    }


def ids_array(rows: list[Row], sizes: list[int], shape: tuple[int, int]) -> np.ndarray:
    """Token ids [B, S]."""
    array = np.full(shape, rows[0].frame.pad, np.int64)
    for line, row, size in zip(array, rows, sizes, strict=True):
        line[row.left : row.left + size] = row.body()
    return array


def attention_array(rows: list[Row], sizes: list[int], shape: tuple[int, int]) -> np.ndarray:
    """1 for tokens, 0 for padding [B, S]."""
    start = np.array([row.left for row in rows], np.int64)[:, None]
    place = np.arange(shape[1])
    return ((place >= start) & (place < start + np.array(sizes, np.int64)[:, None])).astype(np.int64)


# Columns that need no lists on the way.
FAST: dict[str, Callable[[list[Row], list[int], tuple[int, int]], np.ndarray]] = {
    "input_ids": ids_array,
    "attention_mask": attention_array,
}


def as_array(name: str, column: list) -> np.ndarray:
    """A column as int64 [B, S] (offsets [B, S, 2]). Raises ValueError when its rows differ in length."""
    sizes = {len(row) for row in column if isinstance(row, list)}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} cannot become one array: its rows have {min(sizes)} to {max(sizes)} tokens; "
            "ask for padding=True, and truncation=True for a common limit"
        )
    return np.array(column, dtype=np.int64) if column else np.zeros((0, 0), np.int64)


def as_tensor(array: np.ndarray, kind: str) -> Any:
    """The array as a tensor of the framework that `kind` names, whole numbers in its width; NumPy's stays as it is.

    Raises `BackendError` (a ValueError) if the framework is not installed.
    """
    if kind == "np":
        return array
    from roberta_core import backend

    name, width = BACKENDS[kind]
    return backend.load(name).tensor(array.astype(width, copy=False) if array.dtype == np.int64 else array)
