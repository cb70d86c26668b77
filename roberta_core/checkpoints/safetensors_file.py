"""Reading and writing `model.safetensors`, single or sharded.

A file is 8 bytes (the header's length, little-endian), the header (JSON: name -> dtype, shape, [begin, end)) and the
tensors. Reading maps it into memory: a tensor is a view of the file whose pages load on access; writing to it changes
only memory, never the file.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from roberta_core.checkpoints import shards
from roberta_core.checkpoints.atomic import Transaction, transaction
from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten
from roberta_core.checkpoints.mapped import Content, Span, Tensors, is_valid_shape, to_row_major

FILE = "model.safetensors"
MAX_HEADER = 16 << 20  # bytes; roberta-large's has 45,000
CHUNK = 16 << 20  # bytes per write

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


def read(folder: str | os.PathLike[str]) -> Tensors:
    """Return the tensors of a folder's `model.safetensors`, or of its shards.

    The arrays of files that were written before 2023 may not be aligned (`array.flags.aligned`).

    Raises:
        CheckpointError: A file is broken, or an index does not match its shards.
    """
    return Tensors(shards.read_shards(Path(folder), FILE, lambda path: _map_file(path)[0]))


def metadata(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata, such as {"format": "pt"}; of the first shard if there are several."""
    folder = Path(folder)
    path = folder / FILE
    if not path.exists():
        path = folder / min(shards.read_index(folder / shards.index_name(FILE)).values())
    return _map_file(path)[1]


def write(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str = "5GB",
) -> None:
    """Save tensors into a folder, in one file or, above `max_shard_size`, in several with an index.

    Old files stay until the new ones are complete. Each value is taken from `tensors` twice and one at a time, so a
    mapping may create values on access.

    Raises:
        CheckpointError: A file cannot be written.
        ValueError: `max_shard_size` is not a size.
    """
    limit = shards.parse_size(max_shard_size)
    with transaction(folder) as save:
        _stage(save, tensors, limit, metadata or {})


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Add the files of a checkpoint to a save.

    Second names (`content.same`) are omitted: the format would store their tensors twice, and readers know them.
    """
    _stage(save, content.tensors, limit, content.metadata)


def _stage(save: Transaction, tensors: Mapping[str, np.ndarray], limit: int, metadata: Mapping[str, str]) -> None:
    entries = {name: _describe(name, tensors[name]) for name in sorted(tensors)}

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        _write_file(stream, tensors, {name: entries[name] for name in names}, metadata)

    shards.stage(save, FILE, {name: size for name, (_, _, size) in entries.items()}, limit, write_one)


def _map_file(path: Path) -> tuple[dict[str, Span], dict[str, str]]:
    """Return the tensors and the metadata of one file; the library checks it before we read it."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if length > min(MAX_HEADER, size - 8):
                raise CheckpointError(
                    f"{path} is truncated or not a safetensors file: its header would have {length:,} bytes"
                )
            with safe_open(path, framework="numpy"):
                pass
            header = json.loads(stream.read(length), object_pairs_hook=shards.reject_repeated_keys)
            texts = header.pop("__metadata__", None) or {}
            file = np.asarray(np.memmap(stream, np.uint8, "c"))
            return {name: _span(file, 8 + length, entry) for name, entry in header.items()}, texts
    except CheckpointError:
        raise
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {shorten(str(error))}") from None


def _span(file: np.ndarray, base: int, described: dict[str, Any]) -> Span:
    """Return the span of a tensor in the header; raise `ValueError` unless it is inside the file.

    The library checked that too, but the file may have been replaced since.
    """
    dtype = DTYPES.get(described["dtype"])
    if dtype is None:
        raise ValueError(f"tensors of type {described['dtype']} are not supported")
    begin, end = (base + offset for offset in described["data_offsets"])
    shape = tuple(described["shape"])
    inside = base <= begin <= end <= len(file) and is_valid_shape(shape, dtype.itemsize)
    if not inside or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor is outside of the file")
    return Span(file, dtype, shape, begin, end)


def _describe(name: str, array: np.ndarray) -> tuple[str, tuple[int, ...], int]:
    """Return a tensor's dtype code, shape and size in bytes."""
    code = CODES.get(array.dtype.newbyteorder("<")) or CODES.get(array.dtype)
    if code is None:
        raise CheckpointError(f"{name} has dtype {array.dtype}, which safetensors cannot store")
    return code, array.shape, array.size * array.dtype.itemsize


def _write_file(
    stream: BinaryIO,
    tensors: Mapping[str, np.ndarray],
    entries: Mapping[str, tuple[str, tuple[int, ...], int]],
    metadata: Mapping[str, str],
) -> None:
    """Write header and tensors.

    The library's own function needs all tensors in memory at once (older versions a second copy of them), and does not
    sync the file.
    """
    order = sorted(
        entries, key=lambda name: (-DTYPES[entries[name][0]].itemsize, name)
    )  # wide dtypes first, so that all are aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        code, shape, size = entries[name]
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        array = tensors[name]
        code, shape, _ = entries[name]
        if array.shape != shape:
            raise CheckpointError(f"the shape of {name} changed while it was saved: {join_names([shape, array.shape])}")
        values = to_row_major(array, DTYPES[code]).reshape(-1).view(np.uint8)
        for start in range(0, len(values), CHUNK):
            stream.write(values[start : start + CHUNK].data)
