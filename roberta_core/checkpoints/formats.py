"""The table of checkpoint formats, in the order in which they are looked for in a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from roberta_core.checkpoints import bin_file, fairseq_file, fairseq_writer, h5_file, msgpack_file, safetensors_file
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError, join_names
from roberta_core.checkpoints.mapped import Content
from roberta_core.checkpoints.names import StrippedTensors
from roberta_core.checkpoints.shards import index_name, read_index

Stage = Callable[[Transaction, Content, int], None]


class Format(NamedTuple):
    """A weights format: its name, its dialect, its file (single, or with an index), and its functions."""

    name: str
    dialect: str
    file: str
    read: Callable[[Path], Mapping[str, np.ndarray]]
    metadata: Callable[[Path], Mapping[str, str]]
    stage: Stage  # the last argument is the largest size of a file in bytes


def _safetensors(name: str, dialect: str) -> Format:
    file = safetensors_file
    return Format(name, dialect, file.FILE, file.read, file.metadata, file.stage)


FORMATS = (
    _safetensors("safetensors", "pt"),
    _safetensors("tf-safetensors", "tf"),
    _safetensors("flax-safetensors", "flax"),
    Format("bin", "pt", bin_file.FILE, bin_file.read, lambda _: {"format": "pt"}, bin_file.stage),
    Format("msgpack", "flax", msgpack_file.FILE, msgpack_file.read, lambda _: {"format": "flax"}, msgpack_file.stage),
    Format("h5", "tf", h5_file.FILE, h5_file.read, lambda _: {"format": "tf"}, h5_file.stage),
    Format("fairseq", "pt", fairseq_file.FILE, fairseq_file.read, lambda _: {"format": "pt"}, fairseq_writer.stage),
)


def detect_format(folder: Path) -> Format:
    """Return the format of a folder's weights.

    The three dialects of safetensors share a file name; the keys tell them apart.

    Raises:
        CheckpointError: There is no folder, or it has no weights in a known format.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    for format in FORMATS:
        if has_format(folder, format):
            return format
    known = join_names(dict.fromkeys(format.file for format in FORMATS))
    raise CheckpointError(f"{folder} has no weights; looked for {known}, single or with an index")


def read_weights(folder: Path, strip_prefix: str = "") -> tuple[Format, Mapping[str, np.ndarray], Mapping[str, str]]:
    """Read the weights of a folder in the format that it has.

    Args:
        folder: The checkpoint.
        strip_prefix: What to remove from the keys that begin with it.

    Returns:
        The format, the tensors by their keys, and the metadata.

    Raises:
        CheckpointError: There are no weights, they are broken, or no key begins with the prefix.
    """
    kind = detect_format(folder)
    tensors, metadata = kind.read(folder), kind.metadata(folder)
    return kind, StrippedTensors(tensors, strip_prefix) if strip_prefix else tensors, metadata


def get_format(name: str) -> Format:
    """Return the format of a name; raise `ValueError` if there is none."""
    for format in FORMATS:
        if format.name == name:
            return format
    raise ValueError(f"{name!r} is not a format; the formats are {', '.join(format.name for format in FORMATS)}")


def has_format(folder: Path, format: Format) -> bool:
    """Return whether a folder has the file of a format, or its index."""
    return any((folder / name).exists() for name in list_entry_files(format))


def list_entry_files(format: Format) -> tuple[str, str]:
    """Return the two files that identify a format: the single weights file, and the index of its shards."""
    return format.file, index_name(format.file)


def list_files(folder: Path, format: Format) -> list[str]:
    """Return the weights files of a format in a folder: the single one, or the index and its shards."""
    single, index = list_entry_files(format)
    return [single] if (folder / single).exists() else [index, *sorted(set(read_index(folder / index).values()))]


def list_preferred(format: Format) -> list[Format]:
    """Return the formats that are read instead of this one if a folder has both."""
    return [other for other in FORMATS[: FORMATS.index(format)] if other.file != format.file]
