"""Reading and writing `flax_model.msgpack`, single or sharded.

The file is a nested map whose leaves are arrays: extension 1 around an array of shape, name of the dtype and bytes.
Arrays of more than a gigabyte are maps of flat chunks. Reading walks the maps and skips the bytes, which are mapped
(a general reader would load the whole file into memory); writing streams them.
"""

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from roberta_core.checkpoints import shards
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError, shorten
from roberta_core.checkpoints.mapped import Content, Lazy, Span, Tensors, is_valid_shape, map_file, to_row_major
from roberta_core.checkpoints.safetensors_file import DTYPES

FILE = "flax_model.msgpack"
BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}
ARRAY = 1  # the extension type that Flax uses for arrays
CHUNKED = "__msgpack_chunked_array__"
MAX_CHUNK = 1 << 30  # bytes; Flax splits larger arrays
MAX_DEPTH = 32  # nested maps; RoBERTa has 9
MAX_ENTRIES = 100_000
MAX_CHUNKS = 1000
MAX_KEY = 1000  # bytes
BUFFER = 16 << 20  # bytes per write

# First byte -> (what follows, struct format of its length or value). Forms with the length in the byte: `any_head`.
FORMS = {
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
    0xCA: ("number", ">f"), 0xCB: ("number", ">d"),
    0xCC: ("number", ">B"), 0xCD: ("number", ">H"), 0xCE: ("number", ">I"), 0xCF: ("number", ">Q"),
    0xD0: ("number", ">b"), 0xD1: ("number", ">h"), 0xD2: ("number", ">i"), 0xD3: ("number", ">q"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("array", ">H"), 0xDD: ("array", ">I"),
    0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip


class Chunked(NamedTuple):
    """An array in several flat chunks."""

    shape: tuple[int, ...]
    spans: tuple[Span, ...]

    def array(self) -> np.ndarray:
        """Return the chunks, copied into one array."""
        return np.concatenate([span.array() for span in self.spans]).reshape(self.shape)


def read(folder: str | os.PathLike[str]) -> Tensors:
    """Return the tensors of a folder's `flax_model.msgpack`, or of its shards, under Flax's names joined by dots.

    They are mapped, and usually not aligned.

    Raises:
        CheckpointError: A file is broken, or an index does not match its shards.
    """
    return Tensors(shards.read_shards(Path(folder), FILE, _read_file, lambda key: key.replace("/", ".")))


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Add the files of a checkpoint, under Flax's names joined by dots, to a save."""
    tensors, sizes = content.tensors, {}
    for name in sorted(tensors):
        array = tensors[name]
        sizes[name] = array.nbytes
        if array.dtype.name not in BY_NAME:
            raise CheckpointError(f"{name} has dtype {array.dtype}, which cannot be written to msgpack")

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        tree: dict[str, Any] = {}
        for name in names:
            *path, leaf = name.split(".")
            place = tree
            for part in path:
                place = place.setdefault(part, {})
            place[leaf] = name
        _write_map(stream, tree, tensors)

    shards.stage(save, FILE, sizes, limit, write_one, key=lambda name: name.replace(".", "/"))


def _read_file(path: Path) -> dict[str, Lazy]:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        walk = _Walk(map_file(path))
        walk.map((), walk.head("map"), 0)
        if walk.at != len(walk.data):
            raise ValueError("there is data after its end")
        return walk.found
    except (OSError, ValueError, TypeError, struct.error) as error:
        raise CheckpointError(f"{path} is not a readable Flax file: {shorten(str(error))}") from None


class _Walk:
    """A reader that walks through the maps of a file."""

    def __init__(self, file: np.ndarray):
        self.file = file
        self.data = file.data
        self.at = 0
        self.entries = 0
        self.found: dict[str, Lazy] = {}

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError("it is truncated")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def any_head(self) -> tuple[str, Any]:
        """Return the type of the next value, and its length or the value."""
        code = self.take(1)[0]
        for low, high, what in ((0, 0x80, "number"), (0x80, 0x90, "map"), (0x90, 0xA0, "array"), (0xA0, 0xC0, "text")):
            if low <= code < high:
                return what, code - low
        if code in (0xC0, 0xC2, 0xC3):
            return "number", None  # nil, false, true
        if code >= 0xE0:
            return "number", code - 0x100
        if 0xD4 <= code <= 0xD8:
            return "extension", 1 << (code - 0xD4)
        if code not in FORMS:
            raise ValueError(f"it has the unknown type byte {code:#x}")
        what, form = FORMS[code]
        return what, struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def head(self, expected: str) -> Any:
        """Return the length or value of the next value, which must have the expected type."""
        what, value = self.any_head()
        if what != expected:
            raise ValueError(f"it has a {what} where a {expected} was expected")
        return value

    def text(self) -> str:
        size = self.head("text")
        if size > MAX_KEY:
            raise ValueError(f"it has a key of {size:,} bytes")
        return self.take(size).decode()

    def map(self, path: tuple[str, ...], count: int, depth: int) -> None:
        """Read the entries of a map."""
        if depth > MAX_DEPTH:
            raise ValueError(f"its maps are nested more than {MAX_DEPTH} levels deep")
        seen: set[str] = set()
        for number in range(count):
            self.entries += 1
            key = self.text()
            if self.entries > MAX_ENTRIES or key in seen:
                raise ValueError(f"it has the key {shorten(key)} twice, or more than {MAX_ENTRIES:,} in all")
            seen.add(key)
            if number == 0 and key == CHUNKED:
                self.found[".".join(path)] = self.chunks(count)
                return
            what, value = self.any_head()
            if what == "map":
                self.map((*path, key), value, depth + 1)
            elif what == "extension":
                self.found[".".join((*path, key))] = self.array(value)
            elif what in ("text", "bytes"):
                self.take(value)
            elif what != "number":
                raise ValueError(f"it has a {what} where a weight was expected")

    def array(self, size: int) -> Span:
        """Read an array, after the head of its extension of `size` bytes."""
        kind = self.take(1)[0]
        end = self.at + size
        if kind != ARRAY:
            raise ValueError(f"it has the extension {kind}, which is not an array")
        if self.head("array") != 3:
            raise ValueError("an array in it is broken")
        shape = tuple(self.head("number") for _ in range(min(self.head("array"), 9)))
        name = self.text()
        length = self.head("bytes")
        dtype = BY_NAME.get(name)
        if dtype is None or not is_valid_shape(shape, dtype.itemsize):
            raise ValueError(f"an array in it has the invalid shape {shorten(str(shape))} or dtype {shorten(name)}")
        begin, self.at = self.at, end
        if length != end - begin or length != math.prod(shape) * dtype.itemsize or end > len(self.data):
            raise ValueError("an array is outside of the file")
        return Span(self.file, dtype, shape, begin, end)

    def chunks(self, count: int) -> Chunked:
        """Read an array in chunks, after the key that announces it."""
        self.any_head()
        if count != 3 or self.text() != "shape":
            raise ValueError("a chunked array in it is broken")
        shape = tuple(self.read_numbered(self.head("map"), lambda: self.head("number")))
        if self.text() != "chunks":
            raise ValueError("a chunked array in it is broken")
        spans = tuple(self.read_numbered(self.head("map"), lambda: self.array(self.head("extension"))))
        whole = sum(math.prod(span.shape) for span in spans)
        valid = len({span.dtype for span in spans}) == 1 and is_valid_shape(shape, spans[0].dtype.itemsize)
        if not valid or whole != math.prod(shape):
            raise ValueError("the chunks of an array in it do not match its shape")
        return Chunked(shape, spans)

    def read_numbered(self, count: int, value: Any) -> list[Any]:
        """Read the values of a map with the keys "0", "1", ..."""
        found = []
        if count > MAX_CHUNKS:
            raise ValueError(f"an array in it has more than {MAX_CHUNKS} chunks")
        for number in range(count):
            if self.text() != str(number):
                raise ValueError("the chunks of an array in it are out of order")
            found.append(value())
        return found


def _write_map(stream: BinaryIO, tree: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    stream.write(_map_head(len(tree)))
    for key, value in tree.items():
        stream.write(_text(key))
        if isinstance(value, str):
            _write_array(stream, tensors[value])
        else:
            _write_map(stream, value, tensors)


def _write_array(stream: BinaryIO, array: np.ndarray) -> None:
    dtype = BY_NAME[array.dtype.name]
    values = to_row_major(array, dtype).reshape(-1)
    if array.nbytes <= MAX_CHUNK:
        _write_values(stream, values, array.shape)
        return
    length = MAX_CHUNK // dtype.itemsize
    pieces = [values[start : start + length] for start in range(0, len(values), length)]
    stream.write(_map_head(3) + _text(CHUNKED) + b"\xc3" + _text("shape") + _map_head(array.ndim))
    stream.write(b"".join(_text(str(number)) + _number(size) for number, size in enumerate(array.shape)))
    stream.write(_text("chunks") + _map_head(len(pieces)))
    for number, piece in enumerate(pieces):
        stream.write(_text(str(number)))
        _write_values(stream, piece, piece.shape)


def _write_values(stream: BinaryIO, values: np.ndarray, shape: tuple[int, ...]) -> None:
    head = b"\x93" + bytes([0x90 + len(shape)]) + b"".join(map(_number, shape))
    head += _text(values.dtype.name) + b"\xc6" + struct.pack(">I", values.nbytes)
    stream.write(b"\xc9" + struct.pack(">IB", len(head) + values.nbytes, ARRAY) + head)
    raw = values.view(np.uint8)
    for start in range(0, len(raw), BUFFER):
        stream.write(raw[start : start + BUFFER].data)


def _map_head(count: int) -> bytes:
    return bytes([0x80 + count]) if count < 16 else b"\xde" + struct.pack(">H", count)


def _text(text: str) -> bytes:
    raw = text.encode()
    return bytes([0xA0 + len(raw)]) + raw if len(raw) < 32 else b"\xd9" + struct.pack(">B", len(raw)) + raw


def _number(number: int) -> bytes:
    return bytes([number]) if number < 128 else b"\xce" + struct.pack(">I", number)
