"""From texts to the columns of a batch: split, truncate, pad, collect.

Shapes: B rows of a batch, S their common length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from roberta_core.tokenization.batch_encoding import BatchEncoding, to_array, to_tensor
from roberta_core.tokenization.call_arguments import Options, Samples
from roberta_core.tokenization.rows import COLUMNS, NOWHERE, Frame, Pieces, Row, truncate_pair

# (texts or lists of words, options, with_spans) -> their pieces
Split = Callable[..., list[Pieces]]


def encode(samples: Samples, options: Options, frame: Frame, split: Split, tokens: Callable) -> BatchEncoding:
    """Encode texts into the requested columns; `split` gives the pieces of texts, `tokens` the tokens of ids."""
    rows = build_rows(samples, options, frame, split, with_spans=options.with_spans)

    def trace() -> tuple[list[Row], list[list[str]]]:
        traced = rows if options.with_spans else build_rows(samples, options, frame, split, with_spans=True)
        if [row.join_ids() for row in traced] != [row.join_ids() for row in rows]:
            raise ValueError("the tokenizer gives other tokens than when this text was encoded: encode it again")
        return traced, [tokens(row.input_ids()) for row in traced]

    kind = options.tensors
    if kind:
        columns: dict[str, Any] = dict(build_arrays(rows, options.columns))
    else:
        columns = {name: [COLUMNS[name](row) for row in rows] for name in options.columns}
    if options.overflow:
        mapping = [row.sample for row in rows]
        columns["overflow_to_sample_mapping"] = to_array("overflow_to_sample_mapping", mapping) if kind else mapping
    if kind:
        columns = {name: to_tensor(column, kind) for name, column in columns.items()}
    elif not samples.batch and not options.overflow:
        # As published, `length` is a list of one for a single text too.
        columns = {name: column if name == "length" else column[0] for name, column in columns.items()}
    return BatchEncoding(columns, trace)


def build_rows(samples: Samples, options: Options, frame: Frame, split: Split, *, with_spans: bool) -> list[Row]:
    """Build the rows of a batch: tokenised, truncated and padded."""
    pairs = [text for text in samples.second if text is not None]
    pieces = split([*samples.first, *pairs] if pairs else samples.first, options, with_spans=with_spans)
    seconds = iter(pieces[len(samples.first) :])
    rows = []
    for sample, (first, text) in enumerate(zip(pieces, samples.second, strict=False)):
        second = None if text is None else next(seconds)
        if options.truncation is None:
            rows.append(Row(sample, first, second, frame, options.add_special))
        else:
            texts = truncate_to_fit((first, second), options, frame)
            rows += [Row(sample, first, second, frame, options.add_special) for first, second in texts]
    return pad_batch(rows, options)


def truncate_to_fit(
    texts: tuple[Pieces, Pieces | None], options: Options, frame: Frame
) -> list[tuple[Pieces, Pieces | None]]:
    """Truncate one or two texts so that they fit with their special tokens; return what was cut off if requested."""
    assert options.truncation is not None
    assert options.length is not None
    special = frame.count_special(texts[1] is not None) if options.add_special else 0
    room = options.length - special
    if room < 0:
        raise ValueError(f"max_length {options.length} has no room for {special} special tokens")
    left = options.truncation_side == "left"
    return truncate_pair(texts, options.truncation, room, options.stride, left=left, overflow=options.overflow)


# Column -> its padding value; None stands for the pad token's id.
FILLS: dict[str, Any] = {
    "input_ids": None,
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": NOWHERE,
}


def compute_length(sizes: list[int], padding: str | None, length: int | None, multiple: int) -> int:
    """Return the length that rows of these sizes are padded to, 0 for no padding."""
    if padding is None or not sizes:
        return 0
    wanted = length or 0 if padding == "max_length" else max(sizes)
    return -(-wanted // multiple) * multiple


def pad_batch(rows: list[Row], options: Options) -> list[Row]:
    """Pad the rows on the side that the options request; a longer row stays unchanged."""
    if options.padding is None:
        return rows
    sizes = [len(row) for row in rows]
    wanted = compute_length(sizes, options.padding, options.length, options.multiple)
    for row, size in zip(rows, sizes, strict=True):
        if size < wanted:
            setattr(row, options.padding_side, wanted - size)
    return rows


def pad_columns(
    encoded: Any, pad_id: int | None, padding: str | None, length: int | None, multiple: int, side: str, *, masked: bool
) -> dict[str, Any]:
    """Pad columns to one length, and add an attention mask if `masked`.

    Raises:
        ValueError: If the columns differ in length, or there is no pad token.
    """
    columns = collect_columns(encoded)
    ids = to_lists(columns["input_ids"])
    single = not ids or not isinstance(ids[0], list)
    rows = [ids] if single else ids
    sizes = [len(row) for row in rows]
    wanted = compute_length(sizes, padding, length, multiple)
    if pad_id is None and any(size < wanted for size in sizes):
        raise ValueError("there is no pad token to pad with; set one with add_special_tokens({'pad_token': ...})")
    if masked and "attention_mask" not in columns:
        columns["attention_mask"] = [1] * len(ids) if single else [[1] * size for size in sizes]
    for name in FILLS.keys() & columns.keys():
        values = to_lists(columns[name])
        values = [values] if single else values
        if [len(row) for row in values] != sizes:
            raise ValueError(f"{name} does not have the lengths of input_ids: {[len(row) for row in values]}, {sizes}")
        fill = pad_id if name == "input_ids" else FILLS[name]
        filled = [fill_row(row, wanted, fill, side) for row in values]
        columns[name] = filled[0] if single else filled
    return columns


def fill_row(row: list, wanted: int, fill: Any, side: str) -> list:
    """Return a row with padding on one side."""
    padding_values = [fill] * (wanted - len(row))
    return padding_values + row if side == "left" else row + padding_values


def collect_columns(encoded: Any) -> dict[str, Any]:
    """Return one dictionary of columns, from one or from a list of rows."""
    if isinstance(encoded, list | tuple) and encoded and all(isinstance(row, Mapping) for row in encoded):
        if any(row.keys() != encoded[0].keys() for row in encoded):
            raise ValueError(
                f"the rows do not have the same columns: {sorted({key for row in encoded for key in row})}"
            )
        encoded = {name: [row[name] for row in encoded] for name in encoded[0]}
    if not isinstance(encoded, Mapping) or "input_ids" not in encoded:
        raise ValueError("pad() needs encoded texts: a dictionary with input_ids, or a list of them")
    return dict(encoded)


def to_lists(values: Any) -> list:
    """Return rows as lists, from lists, arrays or tensors."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if hasattr(values, "numpy"):
        return values.numpy().tolist()
    return [to_lists(value) if hasattr(value, "tolist") or hasattr(value, "numpy") else value for value in values]


def build_arrays(rows: list[Row], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the columns of rows as int64 [B, S] (offsets [B, S, 2], lengths [B])."""
    sizes = [len(row) for row in rows]
    padded = {row.left + size + row.right for row, size in zip(rows, sizes, strict=True)}
    if len(padded) != 1:
        return {name: to_array(name, [COLUMNS[name](row) for row in rows]) for name in names}
    shape = len(rows), padded.pop()
    return {
        name: FAST[name](rows, sizes, shape) if name in FAST else to_array(name, [COLUMNS[name](row) for row in rows])
        for name in names
    }


def build_id_array(rows: list[Row], sizes: list[int], shape: tuple[int, int]) -> np.ndarray:
    """Return token ids [B, S]."""
    array = np.full(shape, rows[0].frame.pad, np.int64)
    for line, row, size in zip(array, rows, sizes, strict=True):
        line[row.left : row.left + size] = row.join_ids()
    return array


def build_mask_array(rows: list[Row], sizes: list[int], shape: tuple[int, int]) -> np.ndarray:
    """Return 1 for tokens, 0 for padding [B, S]."""
    start = np.array([row.left for row in rows], np.int64)[:, None]
    place = np.arange(shape[1])
    return ((place >= start) & (place < start + np.array(sizes, np.int64)[:, None])).astype(np.int64)


# Columns that are built without lists.
FAST: dict[str, Callable[[list[Row], list[int], tuple[int, int]], np.ndarray]] = {
    "input_ids": build_id_array,
    "attention_mask": build_mask_array,
}
