"""Reading `pytorch_model.bin`, single or sharded."""

import os
from pathlib import Path

from roberta_core.checkpoints import shards, torch_file

FILE = "pytorch_model.bin"


def read(folder: str | os.PathLike[str]) -> torch_file.Tensors:
    """The tensors of a folder's `pytorch_model.bin`, or of the shards that its index names.

    They are mapped, not copied, and no code in the file is run. `CheckpointError` if a file is broken or wants more
    than tensors, or if an index does not fit its shards.
    """
    folder = Path(folder)
    return torch_file.Tensors(shards.gathered(folder, FILE, lambda path: torch_file.tensors_of(torch_file.read(path))))


def metadata(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The dialect, which is PyTorch's own."""
    return {"format": "pt"}
