"""Reading and writing `model.safetensors`, single or sharded.

A file is 8 bytes (the header's length, little-endian), the header (JSON: name -> dtype, shape, [begin, end)) and the
tensors. Reading maps it into memory: a tensor is a view of the file that is loaded where it is touched, may be
written to, and never changes the file.
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
from roberta_core.checkpoints.errors import CheckpointError, clipped, listed
from roberta_core.checkpoints.mapped import Content, Span, Tensors, in_rows

FILE = "model.safetensors"
LARGEST_HEADER = 16 << 20  # bytes; roberta-large's takes 45,000
CHUNK = 16 << 20  # bytes written at a time

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
    """The tensors of a folder's `model.safetensors`, or of the shards that its index names.

    The arrays of files that were written before 2023 may not be aligned (`array.flags.aligned`).
    `CheckpointError` if a file is broken or an index does not fit its shards.
    """
    return Tensors(shards.gathered(Path(folder), FILE, lambda path: _map(path)[0]))


def metadata(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The texts beside the tensors, such as {"format": "pt"}; of the first shard where there are several."""
    folder = Path(folder)
    path = folder / FILE
    if not path.exists():
        path = folder / min(shards.read_index(folder / shards.index_name(FILE)).values())
    return _map(path)[1]


def write(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str = "5GB",
) -> None:
    """Save tensors into a folder, in one file or, above `max_shard_size`, in several with an index.

    Old files stay until the new ones are whole. Values are taken from `tensors` twice each and one at a time, so it
    may make them as they are asked for. `CheckpointError` if it fails, `ValueError` for a wrong size.
    """
    limit = shards.bytes_of(max_shard_size)
    with transaction(folder) as save:
        _stage(save, tensors, limit, metadata or {})


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Put the files of a checkpoint into a save that is going on.

    Second names (`content.same`) are left out: the format would store their tensors twice, and readers know them.
    """
    _stage(save, content.tensors, limit, content.metadata)


def _stage(save: Transaction, tensors: Mapping[str, np.ndarray], limit: int, metadata: Mapping[str, str]) -> None:
    entries = {name: _described(name, tensors[name]) for name in sorted(tensors)}

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        _write_file(stream, tensors, {name: entries[name] for name in names}, metadata)

    shards.stage(save, FILE, {name: size for name, (_, _, size) in entries.items()}, limit, write_one)


def _map(path: Path) -> tuple[dict[str, Span], dict[str, str]]:
    """The entries and the metadata of one file, judged by the library first, then read by us."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            length = int.from_bytes(stream.read(8), "little")
            if length > min(LARGEST_HEADER, size - 8):
                raise CheckpointError(
                    f"{path} is cut off or no safetensors file: its header would have {length:,} bytes"
                )
            with safe_open(path, framework="numpy"):
                pass
            header = json.loads(stream.read(length), object_pairs_hook=shards.without_repeats)
            texts = header.pop("__metadata__", None) or {}
            file = np.asarray(np.memmap(stream, np.uint8, "c"))
            return {name: _span(file, 8 + length, entry) for name, entry in header.items()}, texts
    except CheckpointError:
        raise
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {clipped(str(error))}") from None


def _span(file: np.ndarray, base: int, described: dict[str, Any]) -> Span:
    """Where a tensor of the header is. `ValueError` unless it lies inside the file.

    The library checked that too; once more, for the file that it saw may have been replaced since.
    """
    dtype = DTYPES.get(described["dtype"])
    if dtype is None:
        raise ValueError(f"tensors of type {described['dtype']} are not read")
    begin, end = (base + offset for offset in described["data_offsets"])
    shape = tuple(described["shape"])
    if not base <= begin <= end <= len(file) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor does not lie inside it")
    return Span(file, dtype, shape, begin, end)


def _described(name: str, array: np.ndarray) -> tuple[str, tuple[int, ...], int]:
    """A tensor's dtype code, shape and size in bytes."""
    code = CODES.get(array.dtype.newbyteorder("<")) or CODES.get(array.dtype)
    if code is None:
        raise CheckpointError(f"{name} is of type {array.dtype}, which safetensors cannot hold")
    return code, array.shape, array.size * array.dtype.itemsize


def _write_file(
    stream: BinaryIO,
    tensors: Mapping[str, np.ndarray],
    entries: Mapping[str, tuple[str, tuple[int, ...], int]],
    metadata: Mapping[str, str],
) -> None:
    """Write header and tensors.

    Not by the library's own function: that one wants all tensors in memory at once (its older versions a second copy
    of them), and leaves the file unsynced.
    """
    order = sorted(entries, key=lambda name: (-DTYPES[entries[name][0]].itemsize, name))  # wide first: all aligned
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
            raise CheckpointError(f"{name} changed its shape while it was saved: {listed([shape, array.shape])}")
        values = in_rows(array, DTYPES[code]).reshape(-1).view(np.uint8)
        for start in range(0, len(values), CHUNK):
            stream.write(values[start : start + CHUNK].data)
