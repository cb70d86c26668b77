"""Tensors in memory-mapped files, created on access."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from roberta_core.config import RobertaConfig

MAX_AXES = 8
MAX_SIZE = 1 << 48  # of an axis, and of a tensor in bytes
ROWS = 4096  # per comparison
BLOCK = 64  # rows and columns per copy of a transposed matrix: 1.5 times as fast as one copy


class Lazy(Protocol):
    """A tensor that is created on access."""

    def array(self) -> np.ndarray:
        """Return the values; not aligned if the file does not align them."""
        ...


class Span(NamedTuple):
    """A contiguous tensor: the mapped bytes of the file, dtype, shape, and its bytes [begin, end)."""

    file: np.ndarray
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    def array(self) -> np.ndarray:
        """Return a view of the file."""
        return self.file[self.begin : self.end].view(self.dtype).reshape(self.shape)


class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name, each created on access."""

    def __init__(self, tensors: Mapping[str, Lazy]):
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].array()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class Content(NamedTuple):
    """What a writer stores; each format stores what it can."""

    config: RobertaConfig
    tensors: Mapping[str, np.ndarray]  # by their names in the format's dialect
    metadata: Mapping[str, str]
    same: Mapping[str, str]  # second names of tensors -> their names


def is_valid_shape(shape: Sequence[Any], itemsize: int) -> bool:
    """Return whether NumPy can have an array of a shape found in a file; a size of 0 does not hide a huge one."""
    if len(shape) > MAX_AXES or any(type(size) is not int or not 0 <= size <= MAX_SIZE for size in shape):
        return False
    return math.prod(size or 1 for size in shape) * itemsize <= MAX_SIZE


def map_file(path: Path) -> np.ndarray:
    """Map the bytes of a file: pages load on access, and writing changes only memory."""
    return np.asarray(np.memmap(path, np.uint8, "c"))


def to_row_major(array: np.ndarray, dtype: np.dtype[Any] | None = None) -> np.ndarray:
    """Return a C-contiguous array; a transposed matrix is copied in blocks that fit into the cache."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype)
    copied = np.empty(array.shape, dtype or array.dtype)
    for row in range(0, array.shape[0], BLOCK):
        for column in range(0, array.shape[1], BLOCK):
            block = np.s_[row : row + BLOCK, column : column + BLOCK]
            copied[block] = array[block]
    return copied


def has_same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays hold the same bytes, without reading them if they share memory."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.strides == b.strides and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]:
        return True
    return all(a[i : i + ROWS].tobytes() == b[i : i + ROWS].tobytes() for i in range(0, len(a), ROWS))
