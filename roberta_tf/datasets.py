"""Tokenised rows as a `tf.data.Dataset` for `fit`.

Shapes: B batch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from roberta_core.data.collators import DataCollatorWithPadding
from roberta_tf.fitting import LABELS

RENAMED = {"label": "labels", "label_ids": "labels"}
Rows = Sequence[Mapping[str, Any]]


def build_dataset(
    model: Any,
    rows: Rows,
    *,
    tokenizer: Any,
    collate_fn: Callable[..., Mapping[str, Any]] | None,
    collate_fn_args: Mapping[str, Any],
    batch_size: int,
    shuffle: bool,
    drop_remainder: bool,
    prefetch: bool,
) -> tf.data.Dataset:
    """Return the batches of rows: (columns, labels), or columns alone without labels; one column is not in a dict."""
    if not len(rows):
        raise ValueError("the dataset has no rows, so there is nothing to train on")
    accepted = {*model._call_signature.parameters, *RENAMED}
    collate = collate_fn or (
        stack_rows if tokenizer is None else DataCollatorWithPadding(tokenizer, return_tensors="np")
    )

    def load(numbers: Any) -> dict[str, np.ndarray]:
        given = [{name: value for name, value in rows[int(one)].items() if name in accepted} for one in numbers]
        batch = {RENAMED.get(name, name): value for name, value in collate(given, **collate_fn_args).items()}
        return {name: to_column(value) for name, value in batch.items() if name in model._call_signature.parameters}

    first = load(range(min(len(rows), batch_size)))
    labels = [name for name in first if name in LABELS]
    columns = [name for name in first if name not in LABELS]
    if not columns:
        raise ValueError(f"the rows have the columns {', '.join(rows[0])}; the model accepts none of them")

    def read(numbers: tf.Tensor) -> Any:
        types = [tf.as_dtype(column.dtype) for column in first.values()]
        found = tf.numpy_function(lambda given: [load(given)[name] for name in first], [numbers], types)
        batch = dict(zip(first, found, strict=True))
        for name, column in first.items():
            batch[name].set_shape([batch_size if drop_remainder else None, *[None] * (column.ndim - 1)])
        made = select(batch, columns)
        return (made, select(batch, labels)) if labels else made

    data = tf.data.Dataset.range(len(rows))
    data = data.shuffle(len(rows)) if shuffle else data
    data = data.batch(batch_size, drop_remainder=drop_remainder).map(read)
    return data.prefetch(tf.data.AUTOTUNE) if prefetch else data


def stack_rows(rows: Rows) -> dict[str, Any]:
    """Return the columns of rows of one length; raise `ValueError` if they have several."""
    columns = {name: [row[name] for row in rows] for name in rows[0] if not isinstance(rows[0][name], str)}
    for name, values in columns.items():
        sizes = {np.shape(value) for value in values}
        if len(sizes) > 1:
            raise ValueError(f"the rows of {name} have the shapes {sorted(sizes)}: pass the tokenizer, which pads them")
    return columns


def to_column(value: Any) -> np.ndarray:
    """Return a column as int64 or float32, as `datasets.Dataset.to_tf_dataset` does."""
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def select(batch: Mapping[str, tf.Tensor], names: list[str]) -> Any:
    """Return columns by name, or the only one."""
    return batch[names[0]] if len(names) == 1 else {name: batch[name] for name in names}
