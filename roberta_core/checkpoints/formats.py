"""The table of checkpoint formats, in the order in which they are looked for in a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from roberta_core.checkpoints import bin_file, safetensors_file
from roberta_core.checkpoints.errors import CheckpointError, listed
from roberta_core.checkpoints.shards import index_name


class Format(NamedTuple):
    """A kind of weights file: what it is called, alone or by its index, and how it is read."""

    name: str
    file: str
    read: Callable[[Path], Mapping[str, np.ndarray]]
    metadata: Callable[[Path], Mapping[str, str]]


FORMATS = (
    Format("safetensors", safetensors_file.FILE, safetensors_file.read, safetensors_file.metadata),
    Format("bin", bin_file.FILE, bin_file.read, bin_file.metadata),
)

# Published formats that this version recognises and does not read.
FOREIGN = ("tf_model.h5", "flax_model.msgpack", "model.pt")


def find(folder: Path) -> Format:
    """The format of a folder's weights; `CheckpointError` if it has none that can be read."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    for format in FORMATS:
        if _has(folder, format.file):
            return format
    readable = listed(format.file for format in FORMATS)
    foreign = [file for file in FOREIGN if _has(folder, file)]
    if foreign:
        raise CheckpointError(
            f"{folder} has its weights in {listed(foreign)}, which this version does not read: {readable} only"
        )
    raise CheckpointError(f"{folder} has no weights; looked for {readable}, alone or with an index")


def _has(folder: Path, file: str) -> bool:
    return any((folder / name).exists() for name in (file, index_name(file)))
