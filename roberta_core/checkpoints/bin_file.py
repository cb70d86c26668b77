"""Reading and writing `pytorch_model.bin`, single or sharded."""

import os
from pathlib import Path
from typing import BinaryIO

from roberta_core.checkpoints import shards, torch_file, torch_writer
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.mapped import Content, Tensors

FILE = "pytorch_model.bin"


def read(folder: str | os.PathLike[str]) -> Tensors:
    """The tensors of a folder's `pytorch_model.bin`, or of the shards that its index names.

    They are mapped, not copied, and no code in the file is run. `CheckpointError` if a file is broken or wants more
    than tensors, or if an index does not fit its shards.
    """
    folder = Path(folder)
    return Tensors(shards.gathered(folder, FILE, lambda path: torch_file.tensors_of(torch_file.read(path))))


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Put the files of a checkpoint into a save that is going on.

    The second names in `content.same` share its bytes, as tied tensors do in PyTorch's files.
    """
    tensors = content.tensors
    names = sorted(tensors)
    entries = torch_writer.described(tensors, names)
    seconds = {name: [second for second, first in content.same.items() if first == name] for name in names}

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        mine = {second: name for name in names for second in seconds[name]}
        torch_writer.write(stream, tensors, {name: entries[name] for name in names}, mine)

    sizes = {name: entry.length * entry.dtype.itemsize for name, entry in entries.items()}
    shards.stage(save, FILE, sizes, limit, write_one, seconds)
