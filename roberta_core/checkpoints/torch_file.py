"""Reading what torch.save writes, the zip file of today and the stream of before 2020, with NumPy alone.

Both hold a pickle, whose tensors name storages, and the bytes of the storages: records of the zip file, or behind one
another after the pickles of the stream. The pickle is read as plain data (see `plain_pickle`), the bytes are mapped.
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
from roberta_core.checkpoints.errors import CheckpointError, clipped
from roberta_core.checkpoints.mapped import bytes_of
from roberta_core.checkpoints.plain_pickle import Global, PickleError, ordered
from roberta_core.checkpoints.zip_file import LOCAL, records

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001

# The storage classes of torch and the numbers that they hold.
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
    """Numbers of one kind in a row; `data` are their bytes in the mapped file, known once it has been walked."""

    dtype: np.dtype[Any]
    count: int
    data: np.ndarray | None = None


@dataclass(frozen=True)
class Tensor:
    """A tensor that is not read yet: a part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Its values, mapped, and maybe not aligned: streams of before 2020 put them anywhere."""
        assert self.storage.data is not None
        row = self.storage.data.view(self.storage.dtype)
        strides = [stride * row.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(row[self.offset :], self.shape, strides)


def read(path: Path, more: dict[str, Callable[..., Any] | None] | None = None) -> Any:
    """What was saved, as dicts, lists, tuples, texts, numbers and `Tensor`s.

    `more` are names that the pickle may use besides those of tensors (see `plain_pickle.read`). `CheckpointError` if
    the file is broken or wants anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        file = bytes_of(path)
        names = ChainMap(dict(NAMES), more or {})
        return _zipped(file, names) if bytes(file[:4]) == LOCAL else _legacy(file, names)
    except (OSError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path} is not a readable PyTorch file: {clipped(str(error))}") from None


def tensors_of(value: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; what else it holds, such as version numbers, is no weight."""
    if type(value) is not dict:
        raise CheckpointError(f"a state dict was expected, not a {type(value).__name__}")
    return {name: tensor for name, tensor in value.items() if isinstance(tensor, Tensor) and type(name) is str}


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """For `torch._utils._rebuild_tensor_v2`, whose further arguments say how gradients are taken."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple:
        raise PickleError("a tensor in it has no storage")
    if len(shape) != len(strides) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in numbers):
        raise PickleError("a tensor in it has no shape")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count) or offset > storage.count:
        raise PickleError("a tensor in it is larger than its storage")
    return Tensor(storage, offset, shape, strides)


def _parameter(data: Any, *_: Any) -> Any:
    """For `torch._utils._rebuild_parameter`: the tensor in it."""
    return data


NAMES: dict[str, Callable[..., Any] | None] = {
    "torch._utils._rebuild_tensor_v2": _rebuild,
    "torch._utils._rebuild_tensor": _rebuild,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": ordered,
    **{f"torch.{name}": None for name in STORAGES},
}


def _described(value: Any) -> tuple[np.dtype[Any], str, int, Any]:
    """The dtype, key, count and view of a storage that a pickle names."""
    if type(value) is not tuple or len(value) not in (5, 6) or value[0] != "storage":
        raise PickleError("it keeps something else than storages outside")
    _, kind, key, _, count = value[:5]
    dtype = STORAGES.get(kind.name.removeprefix("torch.")) if isinstance(kind, Global) else None
    if dtype is None or type(key) is not str or type(count) is not int or count < 0:
        raise PickleError("it names a storage that is none")
    return dtype, key, count, value[5] if len(value) == 6 else None


def _zipped(file: np.ndarray, names: Mapping[str, Any]) -> Any:
    found = records(file)
    stems = [name.removesuffix("data.pkl") for name in found if name.endswith("/data.pkl")]
    if len(stems) != 1:
        raise ValueError("it has no data.pkl, or several")
    stem = stems[0]
    order = found.get(f"{stem}byteorder")
    if order and bytes(file[order.begin : order.end]) != b"little":
        raise ValueError("its numbers are big-endian")
    storages: dict[str, Storage] = {}

    def persistent(value: Any) -> Storage:
        dtype, key, count, _ = _described(value)
        record = found.get(f"{stem}data/{key}")
        if record is None or record.end - record.begin < count * dtype.itemsize:
            raise PickleError("the record of a storage is missing or too short")
        data = file[record.begin : record.begin + count * dtype.itemsize]
        storage = storages.setdefault(key, Storage(dtype, count, data))
        if (storage.dtype, storage.count) != (dtype, count):
            raise PickleError("it names one storage in two ways")
        return storage

    pickle = found[f"{stem}data.pkl"]
    return plain_pickle.read(file.data[: pickle.end], pickle.begin, names, persistent)[0]


def _legacy(file: np.ndarray, names: Mapping[str, Any]) -> Any:
    view = file.data

    def outside(_: Any) -> Any:
        raise PickleError("it keeps values outside where none belong")

    magic, at = plain_pickle.read(view, 0, {}, outside)
    if type(magic) is not int or magic != LEGACY_MAGIC:
        raise ValueError("it was not written by torch.save")
    version, at = plain_pickle.read(view, at, {}, outside)
    system, at = plain_pickle.read(view, at, {}, outside)
    if version != LEGACY_VERSION or type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("it was written by a torch of another kind")
    storages: dict[str, Storage] = {}

    def persistent(value: Any) -> Storage:
        dtype, key, count, part = _described(value)
        if part is not None:
            raise PickleError("it holds parts of storages as storages")
        if count * dtype.itemsize > len(file):
            raise PickleError("a storage in it is larger than the file")
        storage = storages.setdefault(key, Storage(dtype, count))
        if (storage.dtype, storage.count) != (dtype, count):
            raise PickleError("it names one storage in two ways")
        return storage

    value, at = plain_pickle.read(view, at, names, persistent)
    keys, at = plain_pickle.read(view, at, {}, outside)
    if type(keys) is not list or len(keys) != len(storages) or {*map(type, keys)} - {str} or set(keys) != set(storages):
        raise ValueError("its list of storages is another")
    for key in keys:
        at = _place(storages[key], file, at)
    return value


def _place(storage: Storage, file: np.ndarray, at: int) -> int:
    """Find the bytes of a storage at `at`, its count before them; and where the next begins."""
    end = at + 8 + storage.count * storage.dtype.itemsize
    if end > len(file):
        raise ValueError("it is cut off")
    if struct.unpack_from("<q", file.data, at)[0] != storage.count:
        raise ValueError("a storage in it has another size than it says")
    storage.data = file[at + 8 : end]
    return end
