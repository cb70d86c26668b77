"""Reading the files of torch.save, zip archives and the streams used before 2020, with NumPy alone.

Both hold a pickle, whose tensors refer to storages, and the bytes of the storages: records of the zip archive, or one
after another behind the pickles of the stream. The pickle is read as plain data (see `plain_pickle`), the bytes are
mapped.
"""

import math
import struct
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from roberta_core.checkpoints import plain_pickle
from roberta_core.checkpoints.errors import CheckpointError, shorten
from roberta_core.checkpoints.mapped import MAX_SIZE, is_valid_shape, map_file
from roberta_core.checkpoints.plain_pickle import MAX_NAME, Global, PickleError, build_dict
from roberta_core.checkpoints.zip_file import LOCAL, find_records

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

# The storage classes of torch and their dtypes.
STORAGES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclass
class Storage:
    """Contiguous numbers of one dtype; `data` are their bytes in the mapped file, set when they are found."""

    dtype: np.dtype[Any]
    count: int
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor that has not been read: a part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Return the values, mapped; not aligned in streams of before 2020."""
        assert self.storage.data is not None
        row = self.storage.data.view(self.storage.dtype)
        strides = [stride * row.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(row[self.offset :], self.shape, strides)


def read(path: Path, more: dict[str, Callable[..., Any] | None] | None = None) -> Any:
    """Return what was saved, as dicts, lists, tuples, strings, numbers and `Tensor`s.

    Args:
        path: The file.
        more: Names that the pickle may use besides those of tensors (see `plain_pickle.read`).

    Raises:
        CheckpointError: The file is broken or uses anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        file = map_file(path)
        names = ChainMap(dict(NAMES), more or {})
        return _read_zip(file, names) if bytes(file[:4]) == LOCAL else _read_legacy(file, names)
    except (OSError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is not a readable PyTorch file: {shorten(str(error))}") from None


def select_tensors(value: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, without other values such as version numbers."""
    if type(value) is not dict:
        raise CheckpointError(f"expected a state dict, got a {type(value).__name__}")
    return {name: tensor for name, tensor in value.items() if isinstance(tensor, Tensor) and type(name) is str}


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """Replace `torch._utils._rebuild_tensor_v2`, whose further arguments concern gradients."""
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise PickleError("a tensor in it has no storage")
    itemsize = storage.dtype.itemsize
    if len(shape) != len(strides) or not all(is_valid_shape(one, itemsize) for one in (shape, (offset,))):
        raise PickleError("a tensor in it has no valid shape")
    if any(type(stride) is not int or not 0 <= stride <= MAX_SIZE for stride in strides):
        raise PickleError("a tensor in it has no valid strides")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count) or offset > storage.count:
        raise PickleError("a tensor in it is larger than its storage")
    return Tensor(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Any:
    """Replace `torch._utils._rebuild_parameter`: return its tensor."""
    return data


NAMES: dict[str, Callable[..., Any] | None] = {
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": build_dict,
    **{f"torch.{name}": None for name in STORAGES},
}


def _describe_storage(value: Any) -> tuple[np.dtype[Any], str, int, Any]:
    """Return dtype, key, count and view of a storage that a pickle refers to."""
    if type(value) is not tuple or len(value) not in (5, 6) or value[0] != "storage":
        raise PickleError("it refers to something other than a storage")
    _, kind, key, _, count = value[:5]
    dtype = STORAGES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None
    if dtype is None or type(key) is not str or len(key) > MAX_NAME or type(count) is not int or count < 0:
        raise PickleError("it refers to an invalid storage")
    return dtype, key, count, value[5] if len(value) == 6 else None


def _read_zip(file: np.ndarray, names: Mapping[str, Any]) -> Any:
    found = find_records(file)
    stems = [name.removesuffix("data.pkl") for name in found if name.endswith("/data.pkl")]
    if len(stems) != 1:
        raise ValueError("it has no data.pkl, or more than one")
    stem = stems[0]
    order = found.get(f"{stem}byteorder")
    if order and bytes(file[order.begin : order.end]) != b"little":
        raise ValueError("its numbers are big-endian")
    storages: dict[str, Storage] = {}

    def persistent(value: Any) -> Storage:
        dtype, key, count, _ = _describe_storage(value)
        record = found.get(f"{stem}data/{key}")
        if record is None or record.end - record.begin < count * dtype.itemsize:
            raise PickleError("the record of a storage is missing or too short")
        data = file[record.begin : record.begin + count * dtype.itemsize]
        storage = storages.setdefault(key, Storage(dtype, count, data))
        if (storage.dtype, storage.count) != (dtype, count):
            raise PickleError("it describes one storage in two ways")
        return storage

    pickle = found[f"{stem}data.pkl"]
    return plain_pickle.read(file.data[: pickle.end], pickle.begin, names, persistent)[0]


def _read_legacy(file: np.ndarray, names: Mapping[str, Any]) -> Any:
    view = file.data

    def outside(_: Any) -> Any:
        raise PickleError("it refers to a storage where none is allowed")

    magic, at = plain_pickle.read(view, 0, {}, outside)
    if type(magic) is not int or magic != LEGACY_MAGIC:
        raise ValueError("it was not written by torch.save")
    version, at = plain_pickle.read(view, at, {}, outside)
    system, at = plain_pickle.read(view, at, {}, outside)
    if version != LEGACY_VERSION or type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine or by an unknown version of torch")
    storages: dict[str, Storage] = {}

    def persistent(value: Any) -> Storage:
        dtype, key, count, part = _describe_storage(value)
        if part is not None:
            raise PickleError("it refers to a view of a storage")
        if count * dtype.itemsize > len(file):
            raise PickleError("a storage in it is larger than the file")
        storage = storages.setdefault(key, Storage(dtype, count))
        if (storage.dtype, storage.count) != (dtype, count):
            raise PickleError("it describes one storage in two ways")
        return storage

    value, at = plain_pickle.read(view, at, names, persistent)
    keys, at = plain_pickle.read(view, at, {}, outside)
    if type(keys) is not list or len(keys) != len(storages) or {*map(type, keys)} - {str} or set(keys) != set(storages):
        raise ValueError("its list of storages does not match its tensors")
    for key in keys:
        at = _place(storages[key], file, at)
    return value


def _place(storage: Storage, file: np.ndarray, at: int) -> int:
    """Find the bytes of a storage after its count at `at`; return where the next one begins."""
    end = at + 8 + storage.count * storage.dtype.itemsize
    if end > len(file):
        raise ValueError("it is truncated")
    if struct.unpack_from("<q", file.data, at)[0] != storage.count:
        raise ValueError("the size of a storage differs from the size that it states")
    storage.data = file[at + 8 : end]
    return end
