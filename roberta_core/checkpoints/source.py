"""From what a user calls a model to the folder that holds it."""

import os
from pathlib import Path

from roberta_core.checkpoints.errors import CheckpointError, clipped, listed

EMBEDDED = Path(__file__).parents[1] / "embedded"


def embedded() -> tuple[str, ...]:
    """The names of the models inside the package."""
    return tuple(sorted(config.parent.name for config in EMBEDDED.glob("*/config.json")))


def resolve(source: str | os.PathLike[str]) -> Path:
    """The folder of a model: an existing folder as it is, else an embedded model by its name.

    `CheckpointError` (an `OSError`) if it is neither, saying what was tried.
    """
    name = os.fsdecode(os.fspath(source))
    known = embedded()
    if name and "\0" not in name and Path(name).is_dir():
        return Path(name)
    if name in known:
        return EMBEDDED / name
    if name and "\0" not in name and Path(name).exists():
        raise CheckpointError(f"{clipped(name)} is a file; give the folder that holds it")
    raise CheckpointError(
        f"{clipped(name)!r} is neither a folder nor an embedded model (those are: {listed(known) or 'none'}); "
        "this version reads folders and embedded models and looks nothing up on the Hub"
    )
