"""Reading and writing `tf_model.h5`, single or sharded.

A single file has a group for each top-level Keras layer; below it a tensor's path begins with the model's name, which
differs from session to session. The head's group repeats the embeddings. In shards there is neither group nor name.
Reading goes through pyfive, which is pure Python: the C library crashed and hung on broken files. Of the file only
plain rows of numbers are accepted, which are mapped: no filters, no links out, no virtual or external storage.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from roberta_core.checkpoints import shards
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError, clipped
from roberta_core.checkpoints.mapped import Content, Span, Tensors, bytes_of, in_rows, same_bits

FILE = "tf_model.h5"
LAYERS = ("roberta", "lm_head", "classifier", "qa_outputs")  # the top-level layers of the published classes
MODEL = "tf_roberta"  # in the place of the model's name, which readers drop
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
CONTIGUOUS = 1  # the layout class of a dataset whose values lie in a row
DEEPEST = 16  # groups in groups; RoBERTa's are 10
MOST_ENTRIES = 50_000
ALIGNMENT = 64  # so that what we write can be mapped
LIMIT = 1024  # bytes from which a tensor is aligned


def read(folder: str | os.PathLike[str]) -> Tensors:
    """The tensors of a folder's `tf_model.h5`, or of its shards, under TensorFlow's names without the model's.

    `CheckpointError` if a file is broken, holds more than rows of numbers, or does not fit its index.
    """
    return Tensors(shards.gathered(Path(folder), FILE, _read_file, lambda key: key.partition("/")[2]))


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Put the files of a checkpoint, under TensorFlow's names, into a save; each tensor is stored once."""
    tensors, sizes = content.tensors, {}
    for name in sorted(tensors):
        array = tensors[name]
        sizes[name] = array.nbytes
        if array.dtype.str[1:] not in DTYPES:
            raise CheckpointError(f"{name} is of type {array.dtype}, which is not written to h5; choose another dtype")
    _library("h5py")
    single = len(shards.divide(sizes, limit)) == 1

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        _write_file(stream, tensors, names, single)

    shards.stage(save, FILE, sizes, limit, write_one, key=lambda name: f"{MODEL}/{name}")


def _read_file(path: Path) -> dict[str, Span]:
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    pyfive = _library("pyfive")
    try:
        file = bytes_of(path)
        with pyfive.File(os.fspath(path)) as root:
            return _collected(_walk(root, file))
    except CheckpointError:
        raise
    except Exception as error:  # pyfive raises what its struct, dict and list accesses raise, and assertions
        text = clipped(str(error) or type(error).__name__)
        raise CheckpointError(f"{path} is not a readable TensorFlow file: {text}") from None


def _library(name: str) -> Any:
    """One of the two libraries, imported when it is needed: they take longer than all else here."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise CheckpointError(f"{FILE} needs the package {name}, which is not installed") from None


def _collected(spans: Iterator[tuple[str, Span]]) -> dict[str, Span]:
    """Tensors by name; those that stand twice must be the same."""
    found: dict[str, Span] = {}
    for path, span in spans:
        parts = path.split("/")
        name = "/".join(parts[2:]) if len(parts) > 2 and parts[2] in LAYERS else path
        if name in found and not same_bits(found[name].array(), span.array()):
            raise ValueError(f"it has two different tensors {clipped(name)}")
        found.setdefault(name, span)
    return found


def _walk(root: Any, file: np.ndarray) -> Iterator[tuple[str, Span]]:
    """The datasets below a group, by their paths."""
    entries = 0
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while waiting:
        path, group = waiting.pop()
        if len(path) > DEEPEST:
            raise ValueError(f"its groups are more than {DEEPEST} deep")
        for key in group:
            entries += 1
            if entries > MOST_ENTRIES:
                raise ValueError(f"it has more than {MOST_ENTRIES:,} entries")
            item = group.get_lazy_view(key)
            if hasattr(item, "keys"):
                waiting.append(((*path, key), item))
            else:
                yield "/".join((*path, key)), _span(item, key, file)


def _span(item: Any, key: str, file: np.ndarray) -> Span:
    """Where the values of a dataset are."""
    dtype, shape = np.dtype(item.dtype), tuple(map(int, item.shape))
    if item.id.layout_class != CONTIGUOUS or item.id.filter_pipeline or dtype.str[1:] not in DTYPES:
        raise ValueError(f"{clipped(key)} is not a plain row of numbers")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    begin = int(item.id.data_offset) if size else 0
    if min(shape, default=0) < 0 or begin + size > len(file):
        raise ValueError(f"{clipped(key)} does not lie inside it")
    return Span(file, dtype, shape, begin, begin + size)


def _write_file(stream: BinaryIO, tensors: Mapping[str, np.ndarray], names: list[str], single: bool) -> None:
    h5py = _library("h5py")
    groups = _groups(names) if single else {}
    # By its name: the library needs a file of its own. It is the same file, so that syncing the stream syncs both.
    with h5py.File(stream.name, "w", alignment_threshold=LIMIT, alignment_interval=ALIGNMENT) as file:
        text = h5py.string_dtype()
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2"
        file.attrs["layer_names"] = np.array(sorted(groups) if single else names, dtype=text)
        for name in names:
            array = tensors[name]
            path = f"{name.partition('/')[0]}/{MODEL}/{name}" if single else name
            file.create_dataset(path, data=in_rows(array).reshape(array.shape))
        for layer, held in groups.items():
            file[layer].attrs["weight_names"] = np.array([f"{MODEL}/{name}" for name in held], dtype=text)
            for name in held:  # the embeddings in the head's group: a second path to the same values
                if (path := f"{layer}/{MODEL}/{name}") not in file:
                    file[path] = file[f"{name.partition('/')[0]}/{MODEL}/{name}"]


def _groups(names: list[str]) -> dict[str, list[str]]:
    """The top-level layers and what Keras looks for in each: the LM head, which holds the embeddings, has them too."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    if "lm_head" in groups:
        groups["lm_head"] += [name for name in names if name.startswith("roberta/embeddings/")]
    return groups
