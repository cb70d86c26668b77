"""The table of checkpoint formats, in the order in which they are looked for in a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from roberta_core.checkpoints import bin_file, fairseq_file, fairseq_writer, h5_file, msgpack_file, safetensors_file
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError, listed
from roberta_core.checkpoints.mapped import Content
from roberta_core.checkpoints.shards import index_name, read_index

Stage = Callable[[Transaction, Content, int], None]


class Format(NamedTuple):
    """A kind of weights file: its name, its dialect, the file it is in (alone or by its index), and its functions."""

    name: str
    dialect: str
    file: str
    read: Callable[[Path], Mapping[str, np.ndarray]]
    metadata: Callable[[Path], Mapping[str, str]]
    stage: Stage  # with the most bytes that a file may hold


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


def find(folder: Path) -> Format:
    """The format of a folder's weights; `CheckpointError` if it has none that can be read.

    The three dialects of safetensors share a file: which one it is, the keys say.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    for format in FORMATS:
        if has(folder, format):
            return format
    readable = listed(dict.fromkeys(format.file for format in FORMATS))
    raise CheckpointError(f"{folder} has no weights; looked for {readable}, alone or with an index")


def named(name: str) -> Format:
    """A format by its name; `ValueError` if there is none."""
    for format in FORMATS:
        if format.name == name:
            return format
    raise ValueError(f"{name!r} is no format; there are {', '.join(format.name for format in FORMATS)}")


def has(folder: Path, format: Format) -> bool:
    """Whether a folder has the file of a format, or its index."""
    return any((folder / name).exists() for name in names(format))


def names(format: Format) -> tuple[str, str]:
    """The files by which a format is known: the weights alone, or the index of their shards."""
    return format.file, index_name(format.file)


def files(folder: Path, format: Format) -> list[str]:
    """The weights files of a format in a folder: the one, or the index and its shards."""
    alone, index = names(format)
    return [alone] if (folder / alone).exists() else [index, *sorted(set(read_index(folder / index).values()))]


def before(format: Format) -> list[Format]:
    """The formats that are read in place of this one where a folder has both."""
    return [other for other in FORMATS[: FORMATS.index(format)] if other.file != format.file]
