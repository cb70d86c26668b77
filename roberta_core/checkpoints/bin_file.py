"""Reading and writing `pytorch_model.bin`, single or sharded."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from roberta_core.checkpoints import shards, torch_file, torch_writer
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.mapped import Tensors

FILE = "pytorch_model.bin"


def read(folder: str | os.PathLike[str]) -> Tensors:
    """The tensors of a folder's `pytorch_model.bin`, or of the shards that its index names.

    They are mapped, not copied, and no code in the file is run. `CheckpointError` if a file is broken or wants more
    than tensors, or if an index does not fit its shards.
    """
    folder = Path(folder)
    return Tensors(shards.gathered(folder, FILE, lambda path: torch_file.tensors_of(torch_file.read(path))))


def stage(
    save: Transaction,
    tensors: Mapping[str, np.ndarray],
    limit: int,
    metadata: Mapping[str, str],
    same: Mapping[str, str],
) -> None:
    """Put the files of `tensors` into a save that is going on.

    `same` are second names, each for one of the tensors: they share its bytes, as tied tensors do in PyTorch's files.
    """
    names = sorted(tensors)
    entries = torch_writer.described(tensors, names)
    seconds = {name: [second for second, first in same.items() if first == name] for name in names}

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        mine = {second: name for name in names for second in seconds[name]}
        torch_writer.write(stream, tensors, {name: entries[name] for name in names}, mine)

    sizes = {name: entry.length * entry.dtype.itemsize for name, entry in entries.items()}
    shards.stage(save, FILE, sizes, limit, write_one, seconds)
