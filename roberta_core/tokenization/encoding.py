"""The way of a text through a tokenizer: into pieces, cut, framed, padded, and into columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roberta_core.tokenization.arrays import as_array, as_tensor, rows_as_arrays
from roberta_core.tokenization.batch_encoding import BatchEncoding
from roberta_core.tokenization.inputs import Samples
from roberta_core.tokenization.options import Options
from roberta_core.tokenization.padding import pad_batch
from roberta_core.tokenization.rows import COLUMNS, Frame, Pieces, Row
from roberta_core.tokenization.truncation import cut

# texts (or lists of words), whether their origin is wanted -> their pieces
Split = Callable[..., list[Pieces]]


def encode(samples: Samples, options: Options, frame: Frame, split: Split, tokens: Callable) -> BatchEncoding:
    """The columns that the options ask for; `split` gives the pieces of texts, `tokens` the tokens of ids."""
    rows = rows_of(samples, options, frame, split, traced=options.traced)

    def trace() -> tuple[list[Row], list[list[str]]]:
        traced = rows if options.traced else rows_of(samples, options, frame, split, traced=True)
        return traced, [tokens(row.ids()) for row in traced]

    kind = options.tensors
    if kind:
        columns: dict[str, Any] = dict(rows_as_arrays(rows, options.columns))
    else:
        columns = {name: [COLUMNS[name](row) for row in rows] for name in options.columns}
    if options.overflow:
        mapping = [row.sample for row in rows]
        columns["overflow_to_sample_mapping"] = as_array("overflow_to_sample_mapping", mapping) if kind else mapping
    if kind:
        columns = {name: as_tensor(column, kind) for name, column in columns.items()}
    elif not samples.batch and not options.overflow:
        columns = {name: column[0] for name, column in columns.items()}
    return BatchEncoding(columns, trace)


def rows_of(samples: Samples, options: Options, frame: Frame, split: Split, *, traced: bool) -> list[Row]:
    """The rows of a batch: tokenised, cut and padded."""
    pairs = [text for text in samples.second if text is not None]
    pieces = split([*samples.first, *pairs] if pairs else samples.first, options, traced=traced)
    seconds = iter(pieces[len(samples.first) :])
    rows = []
    for sample, (first, text) in enumerate(zip(pieces, samples.second, strict=False)):
        second = None if text is None else next(seconds)
        if options.truncation is None:
            rows.append(Row(sample, first, second, frame, options.framed))
        else:
            texts = cut_to_fit((first, second), options, frame)
            rows += [Row(sample, first, second, frame, options.framed) for first, second in texts]
    return pad_batch(rows, options)


def cut_to_fit(
    texts: tuple[Pieces, Pieces | None], options: Options, frame: Frame
) -> list[tuple[Pieces, Pieces | None]]:
    """One or two texts cut so that they and their special tokens fit, and what was cut off if that is wanted."""
    assert options.truncation is not None
    assert options.length is not None
    framing = frame.size(texts[1] is not None) if options.framed else 0
    room = options.length - framing
    if room < 0:
        raise ValueError(f"max_length {options.length} has no room for {framing} special tokens")
    left = options.truncation_side == "left"
    return cut(texts, options.truncation, room, options.stride, left=left, overflow=options.overflow)
