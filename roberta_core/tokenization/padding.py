"""Filling rows up to one length."""

from __future__ import annotations

from dataclasses import replace

from roberta_core.tokenization.options import Options
from roberta_core.tokenization.rows import Row


def target(sizes: list[int], padding: str | None, length: int | None, multiple: int) -> int:
    """The length that rows of these sizes are padded to: 0 for none."""
    if padding is None or not sizes:
        return 0
    wanted = length or 0 if padding == "max_length" else max(sizes)
    return -(-wanted // multiple) * multiple


def pad_batch(rows: list[Row], options: Options) -> list[Row]:
    """The rows with padding on the side that the options ask for; a longer row stays as it is."""
    sizes = [len(row) for row in rows] if options.padding else []
    wanted = target(sizes, options.padding, options.length, options.multiple)
    if not wanted:
        return rows
    side = options.padding_side
    return [
        replace(row, **{side: wanted - size}) if size < wanted else row for row, size in zip(rows, sizes, strict=True)
    ]
