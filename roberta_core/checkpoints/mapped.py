"""Tensors that lie in mapped files and are made when they are asked for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from roberta_core.config import RobertaConfig

ROWS = 4096  # compared at a time
BLOCK = 64  # rows and columns of a turned matrix that are copied at a time: in less than two thirds of the time


class Lazy(Protocol):
    """Something that can become an array."""

    def array(self) -> np.ndarray:
        """The values; not aligned where the file does not align them."""
        ...


class Span(NamedTuple):
    """A tensor whose values lie in a row: the mapped bytes of the file, dtype, shape, and its bytes [begin, end)."""

    file: np.ndarray
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    def array(self) -> np.ndarray:
        """A view of the file."""
        return self.file[self.begin : self.end].view(self.dtype).reshape(self.shape)


class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name, each made when it is asked for."""

    def __init__(self, tensors: Mapping[str, Lazy]):
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name].array()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class Content(NamedTuple):
    """What a writer puts into files; each takes what its format has room for."""

    config: RobertaConfig
    tensors: Mapping[str, np.ndarray]  # under the names of the format's dialect
    metadata: Mapping[str, str]
    same: Mapping[str, str]  # second names of tensors -> their names


def bytes_of(path: Path) -> np.ndarray:
    """A file's bytes, mapped: loaded where they are touched; writing to them changes memory only."""
    return np.asarray(np.memmap(path, np.uint8, "c"))


def in_rows(array: np.ndarray, dtype: np.dtype[Any] | None = None) -> np.ndarray:
    """The numbers row after row, as files have them; a turned matrix goes by blocks that stay in the cache."""
    if array.ndim != 2 or array.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype)
    made = np.empty(array.shape, dtype or array.dtype)
    for row in range(0, array.shape[0], BLOCK):
        for column in range(0, array.shape[1], BLOCK):
            block = np.s_[row : row + BLOCK, column : column + BLOCK]
            made[block] = array[block]
    return made


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same bytes; without reading them if they are one."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.strides == b.strides and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]:
        return True
    return all(a[i : i + ROWS].tobytes() == b[i : i + ROWS].tobytes() for i in range(0, len(a), ROWS))
