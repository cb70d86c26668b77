"""Reading and writing `pytorch_model.bin`, single or sharded."""

import os
from pathlib import Path
from typing import BinaryIO

from roberta_core.checkpoints import shards, torch_file, torch_writer
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.mapped import Content, Tensors

FILE = "pytorch_model.bin"


def read(folder: str | os.PathLike[str]) -> Tensors:
    """Return the tensors of a folder's `pytorch_model.bin`, or of its shards: mapped, not copied; no code is run.

    Raises:
        CheckpointError: A file is broken or holds more than tensors, or an index does not match its shards.
    """
    folder = Path(folder)
    return Tensors(shards.read_shards(folder, FILE, lambda path: torch_file.select_tensors(torch_file.read(path))))


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Add the files of a checkpoint to a save; the second names in `content.same` share the stored bytes."""
    tensors = content.tensors
    names = sorted(tensors)
    entries = torch_writer.describe(tensors, names)
    seconds = {name: [second for second, first in content.same.items() if first == name] for name in names}

    def write_one(stream: BinaryIO, names: list[str]) -> None:
        mine = {second: name for name in names for second in seconds[name]}
        torch_writer.write(stream, tensors, {name: entries[name] for name in names}, mine)

    sizes = {name: entry.length * entry.dtype.itemsize for name, entry in entries.items()}
    shards.stage(save, FILE, sizes, limit, write_one, seconds)
