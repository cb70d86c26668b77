"""Writing a state dict as torch.save does: a zip file with a pickle and one record per storage, streamed."""

import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.checkpoints.mapped import to_row_major
from roberta_core.checkpoints.torch_file import STORAGES

ALIGNMENT = 64  # as torch aligns records, so that they can be mapped
LARGE = 1 << 31  # bytes from which a record needs 64-bit sizes
CHUNK = 16 << 20  # bytes per write
STEM = "pytorch_model"  # the folder inside the zip file
NAMES = {dtype: name for name, dtype in STORAGES.items()}


class Code(bytes):
    """Pickle code that pushes one value."""


class Entry(NamedTuple):
    """A tensor to write: its dtype, its shape, and the number of its storage."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    storage: int

    @property
    def length(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


def describe(tensors: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, Entry]:
    """Describe the tensors of the given names; raise `CheckpointError` for a dtype that torch does not have."""
    entries = {}
    for name in names:
        array = tensors[name]
        dtypes = [dtype for dtype in (array.dtype, array.dtype.newbyteorder("<")) if dtype in NAMES]
        if not dtypes:
            raise CheckpointError(f"{name} has dtype {array.dtype}, which a PyTorch file cannot store")
        entries[name] = Entry(dtypes[0], array.shape, len(entries))
    return entries


def write(
    stream: BinaryIO,
    tensors: Mapping[str, np.ndarray],
    first: Mapping[str, Entry],
    same: Mapping[str, str],
    frame: Callable[[Code], Code] = lambda state: state,
) -> None:
    """Write a state dict.

    Args:
        stream: The file.
        tensors: The values by name.
        first: The tensors to store.
        same: Second names of stored tensors: alias -> name.
        frame: Returns the pickle code of the whole file for that of the state dict.
    """
    entries = {**first, **{second: first[name] for second, name in same.items()}}
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        state = Code(b"}(" + b"".join(_text(name) + _tensor(entry) for name, entry in entries.items()) + b"u")
        _record(archive, stream, "data.pkl", [b"\x80\x02" + frame(state) + b"."])
        _record(archive, stream, "byteorder", [b"little"])
        for name, entry in first.items():
            values = to_row_major(tensors[name], entry.dtype).reshape(-1).view(np.uint8)
            chunks = (values[start : start + CHUNK].data for start in range(0, len(values), CHUNK))
            _record(archive, stream, f"data/{entry.storage}", chunks, len(values))
        _record(archive, stream, "version", [b"3\n"])


def _record(archive: zipfile.ZipFile, stream: BinaryIO, name: str, chunks: Iterable[Any], size: int = 0) -> None:
    """Write one record, aligned by padding in the header."""
    info = zipfile.ZipInfo(f"{STEM}/{name}")
    large = size >= LARGE
    begin = stream.tell() + 30 + len(info.filename) + 20 * large + 4
    padding = -begin % ALIGNMENT
    info.extra = struct.pack("<2H", 0x4246, padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as record:
        for chunk in chunks:
            record.write(chunk)


def encode_value(value: Any) -> bytes:
    """Return the pickle code of None, booleans, numbers, strings, lists and dicts; code is returned unchanged."""
    simple = {None: b"N", True: b"\x88", False: b"\x89"}
    if isinstance(value, Code):
        return value
    if value is None or isinstance(value, bool):
        return simple[value]
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return b"](" + b"".join(map(encode_value, value)) + b"e"
    return encode_dict(value)


def encode_dict(items: Mapping[str, Any]) -> Code:
    """Return the pickle code of a dict."""
    return Code(b"}(" + b"".join(_text(key) + encode_value(value) for key, value in items.items()) + b"u")


def encode_namespace(fields: Mapping[str, Any]) -> Code:
    """Return the pickle code of an argparse.Namespace."""
    return Code(b"cargparse\nNamespace\n)\x81" + encode_dict(fields) + b"b")


def _tensor(entry: Entry) -> bytes:
    """Return a call of `_rebuild_tensor_v2` with storage, offset, shape, strides, no gradient and no hooks."""
    strides = [1]
    for size in entry.shape[:0:-1]:
        strides.append(strides[-1] * max(size, 1))
    storage = b"(" + _text("storage") + f"ctorch\n{NAMES[entry.dtype]}\n".encode() + _text(str(entry.storage))
    storage += _text("cpu") + _number(entry.length) + b"tQ"
    shapes = _numbers(entry.shape) + _numbers(strides[::-1] if entry.shape else [])
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + shapes + b"\x89" + hooks + b"tR"


def _text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _number(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number) if number >= 1 << 31 else b"J" + struct.pack("<i", number)


def _numbers(numbers: Iterable[int]) -> bytes:
    return b"(" + b"".join(_number(number) for number in numbers) + b"t"
