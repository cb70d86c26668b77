"""Reading a folder while another process may be saving into it: all files of one save, never a mixture."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from roberta_core.checkpoints.atomic import TEMPORARY, exclude_saves, is_saving, refuse_unfinished
from roberta_core.checkpoints.errors import CheckpointError, UnfinishedSaveError

T = TypeVar("T")

PATIENCE = 30.0  # seconds for which a folder may keep changing
PAUSE = 0.02  # seconds between two attempts
FREE_ATTEMPTS = 2  # without a lock; then saves wait for the reader, where folders can be locked
SUFFIXES = (".json", ".txt", ".safetensors", ".bin", ".pt", ".h5", ".msgpack")


def read_consistently(folder: Path, read: Callable[[], T]) -> T:
    """Read files of a folder, again if they were replaced meanwhile.

    Saves replace files by renaming, so what is mapped stays valid, and every replaced file has another identity.

    Args:
        folder: The folder.
        read: Reads or maps everything that must belong together. It is called again after a change.

    Returns:
        What `read` returned while no file changed.

    Raises:
        CheckpointError: A save was interrupted, or the folder keeps changing.
    """
    deadline = time.monotonic() + PATIENCE
    failure: Exception | None = None
    for attempt in itertools.count():
        failure = None
        with exclude_saves(folder, deadline) if attempt >= FREE_ATTEMPTS else contextlib.nullcontext():
            before = take_snapshot(folder)
            try:
                refuse_unfinished(folder)
                value = read()
            except (OSError, ValueError) as error:
                running = isinstance(error, UnfinishedSaveError) and is_saving(folder)
                if take_snapshot(folder) == before and not running:
                    raise
                failure = error
            else:
                if take_snapshot(folder) == before:
                    return value
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE)
    raise failure or CheckpointError(
        f"{folder} kept changing for {PATIENCE:.0f} s while it was read; try again when nothing is saving there"
    )


def take_snapshot(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the identity of every file of a checkpoint: device, inode, size and times."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        names = [name for name in os.listdir(folder) if name.endswith(SUFFIXES) and not TEMPORARY.fullmatch(name)]
    except OSError:
        return found
    for name in names:
        try:
            state = os.stat(folder / name)
        except OSError:
            continue
        found[name] = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return found
