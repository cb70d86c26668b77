"""Reading and writing `tf_model.h5`, single or sharded.

A single file has a group for each top-level Keras layer; below it a tensor's path begins with the model's name, which
differs between sessions. The head's group repeats the embeddings. Shards have neither group nor name.
Reading uses pyfive, which is pure Python: the C library crashed and hung on broken files. Only contiguous datasets are
accepted, which are mapped: no filters, no external links, no virtual or external storage.
"""

import importlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roberta_core.checkpoints import shards
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError, shorten
from roberta_core.checkpoints.mapped import (
    Content,
    Span,
    Tensors,
    has_same_bits,
    is_valid_shape,
    map_file,
    to_row_major,
)

FILE = "tf_model.h5"
LAYERS = ("roberta", "lm_head", "classifier", "qa_outputs")  # the top-level layers of the published classes
MODEL = "tf_roberta"  # for the model's name, which readers ignore
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
CONTIGUOUS = 1  # the layout class of a contiguous dataset
MAX_DEPTH = 16  # nested groups; RoBERTa has 10
MAX_ENTRIES = 50_000
ALIGNMENT = 64  # so that the file can be mapped
LIMIT = 1024  # bytes from which a tensor is aligned


def read(folder: str | os.PathLike[str]) -> Tensors:
    """Return the tensors of a folder's `tf_model.h5`, or of its shards, under TensorFlow's names without the model's.

    Raises:
        CheckpointError: A file is broken, holds more than contiguous numbers, or does not match its index.
    """
    return Tensors(shards.read_shards(Path(folder), FILE, _read_file, lambda key: key.partition("/")[2]))


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Add the files of a checkpoint, under TensorFlow's names, to a save; each tensor is stored once."""
    tensors, sizes = content.tensors, {}
    for name in sorted(tensors):
        array = tensors[name]
        sizes[name] = array.nbytes
        if array.dtype.str[1:] not in DTYPES:
            raise CheckpointError(
                f"{name} has dtype {array.dtype}, which cannot be written to h5; choose another dtype"
            )
    _import_library("h5py")
    single = len(shards.divide(sizes, limit)) == 1

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        _write_file(stream, tensors, names, single)

    shards.stage(save, FILE, sizes, limit, write_one, key=lambda name: f"{MODEL}/{name}")


def _read_file(path: Path) -> dict[str, Span]:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    pyfive = _import_library("pyfive")
    try:
        file = map_file(path)
        with pyfive.File(os.fspath(path)) as root:
            return _collect(_walk(root, file))
    except CheckpointError:
        raise
    except Exception as error:  # pyfive raises the errors of struct, dict and list accesses, and assertions
        text = shorten(str(error) or type(error).__name__)
        raise CheckpointError(f"{path} is not a readable TensorFlow file: {text}") from None


def _import_library(name: str) -> Any:
    """Import one of the two libraries on first use, because that is slow."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise CheckpointError(f"{FILE} requires the package {name}, which is not installed") from None


def _collect(spans: Iterator[tuple[str, Span]]) -> dict[str, Span]:
    """Collect tensors by name; those that occur twice must be equal."""
    found: dict[str, Span] = {}
    for path, span in spans:
        parts = path.split("/")
        prefixed = len(parts) > 2 and (parts[2] in LAYERS or parts[2] == parts[0])  # the group of a user's layer
        name = "/".join(parts[2:]) if prefixed else path
        if name in found and not has_same_bits(found[name].array(), span.array()):
            raise ValueError(f"it has two different tensors named {shorten(name)}")
        found.setdefault(name, span)
    return found


def _walk(root: Any, file: np.ndarray) -> Iterator[tuple[str, Span]]:
    """Yield the datasets below a group with their paths."""
    entries = 0
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while waiting:
        path, group = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise ValueError(f"its groups are more than {MAX_DEPTH} deep")
        for key in group:
            entries += 1
            if entries > MAX_ENTRIES:
                raise ValueError(f"it has more than {MAX_ENTRIES:,} entries")
            item = group.get_lazy_view(key)
            if hasattr(item, "keys"):
                waiting.append(((*path, key), item))
            else:
                yield "/".join((*path, key)), _span(item, key, file)


def _span(item: Any, key: str, file: np.ndarray) -> Span:
    """Return the span of a dataset."""
    dtype, shape = np.dtype(item.dtype), tuple(map(int, item.shape))
    if item.id.layout_class != CONTIGUOUS or item.id.filter_pipeline or dtype.str[1:] not in DTYPES:
        raise ValueError(f"{shorten(key)} is not a contiguous dataset of numbers")
    if not is_valid_shape(shape, dtype.itemsize):
        raise ValueError(f"{shorten(key)} has no valid shape")
    size = math.prod(shape) * dtype.itemsize
    begin = int(item.id.data_offset) if size else 0
    if begin < 0 or begin + size > len(file):
        raise ValueError(f"{shorten(key)} is outside of the file")
    return Span(file, dtype, shape, begin, begin + size)


def _write_file(stream: BinaryIO, tensors: Mapping[str, np.ndarray], names: list[str], single: bool) -> None:
    h5py = _import_library("h5py")
    groups = _groups(names) if single else {}
    # By name, because the library opens files itself. It is the same file, so that syncing the stream syncs both.
    with h5py.File(stream.name, "w", alignment_threshold=LIMIT, alignment_interval=ALIGNMENT) as file:
        text = h5py.string_dtype()
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2"
        file.attrs["layer_names"] = np.array(sorted(groups) if single else names, dtype=text)
        for name in names:
            array = tensors[name]
            path = f"{name.partition('/')[0]}/{MODEL}/{name}" if single else name
            file.create_dataset(path, data=to_row_major(array).reshape(array.shape))
        for layer, held in groups.items():
            file[layer].attrs["weight_names"] = np.array([f"{MODEL}/{name}" for name in held], dtype=text)
            for name in held:  # the embeddings in the head's group: hard links to the same values
                if (path := f"{layer}/{MODEL}/{name}") not in file:
                    file[path] = file[f"{name.partition('/')[0]}/{MODEL}/{name}"]


def _groups(names: list[str]) -> dict[str, list[str]]:
    """Return the top-level layers and the names that Keras looks for in each; the LM head repeats the embeddings."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    if "lm_head" in groups:
        groups["lm_head"] += [name for name in names if name.startswith("roberta/embeddings/")]
    return groups
