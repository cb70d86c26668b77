"""Saving several files as one: after a crash a folder holds the old files, the new ones, or a note that it is between.

Every file is first written completely under a temporary name and synced. If more than one name has to change, a note
that lists the renames is then put into the folder, and removed after the last rename. A reader that finds the note
knows that the save was interrupted, and `finish` can complete it, because every new file is complete. (Renaming a whole
folder would be simpler, but no folder can be renamed onto one that is not empty.)
"""

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from roberta_core.checkpoints.errors import CheckpointError, UnfinishedSaveError, shorten
from roberta_core.safe_files import read_bytes

try:
    import fcntl
except ImportError:  # not a POSIX system: two processes must not save into one folder at the same time
    fcntl = None

NOTE = "unfinished-save.json"
TEMPORARY = re.compile(r"\.(.+)\.\d+\.saving")
WAIT = 0.001  # seconds between two attempts to lock a folder
SMALL = 1 << 20  # bytes: a file up to this size is not replaced if the content is the same


class Transaction:
    """The files of one save. Created by `transaction`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.renames: dict[str, str] = {}  # temporary name -> name
        self.removals: list[str] = []

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file that will be called `name`; it is synced at the end, with the mode of the one it replaces."""
        temporary = _build_temporary_name(name)
        self.renames[temporary] = name
        with _open_synced(self.folder / temporary, _read_mode(self.folder / name)) as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """Write a small file; one that exists with the same content is not replaced."""
        if _read_small(self.folder / name) != content:
            with self.open(name) as file:
                file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file of the old checkpoint that the new one does not have."""
        self.removals.append(name)

    def commit(self) -> None:
        """Rename all files to their final names."""
        for name in self.renames.values():
            if (self.folder / name).is_dir():
                raise IsADirectoryError(None, "a folder has the name of the file", str(self.folder / name))
        if len(self.renames) + len(self.removals) > 1:
            self._leave_note()
        _carry_out(self.folder, self.renames, self.removals)

    def _leave_note(self) -> None:
        plan = {"renames": self.renames, "removals": self.removals}
        temporary = self.folder / _build_temporary_name(NOTE)
        with _open_synced(temporary) as file:
            file.write(json.dumps(plan, indent=1).encode())
        _sync(self.folder)
        os.replace(temporary, self.folder / NOTE)
        _sync(self.folder)

    def discard(self) -> None:
        """Remove the temporary files, unless the note lists them."""
        if not (self.folder / NOTE).exists():
            for temporary in [*self.renames, _build_temporary_name(NOTE)]:
                (self.folder / temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def transaction(folder: str | os.PathLike[str]) -> Iterator[Transaction]:
    """Save files into a folder, all or none.

    Args:
        folder: Created if it does not exist.

    Yields:
        The transaction, committed at the end of the block.

    Raises:
        CheckpointError: A file cannot be written; the message states what is in the folder now.
    """
    folder = Path(folder)
    try:
        created = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            _finish(folder)
            _sweep(folder)
            save = Transaction(folder)
            try:
                yield save
                save.commit()
            except BaseException:
                with contextlib.suppress(OSError):
                    save.discard()
                    if created:
                        folder.rmdir()  # fails, as it should, if the folder is not empty
                raise
    except CheckpointError:
        raise
    except OSError as error:
        complete = (folder / NOTE).exists()
        left = (
            "the new files are complete, and saving again renames them" if complete else "the old files are unchanged"
        )
        what = f"{error.strerror or error}" + (f" ({shorten(str(error.filename))})" if error.filename else "")
        raise CheckpointError(f"saving to {folder} failed: {what}; {left}") from error


def finish(folder: str | os.PathLike[str]) -> bool:
    """Complete a save that was interrupted between its files; return whether there was one."""
    folder = Path(folder)
    with _lock(folder):
        return _finish(folder)


def refuse_unfinished(folder: Path) -> None:
    """Raise `UnfinishedSaveError` if the files of a folder may belong to two different saves."""
    if (folder / NOTE).exists():
        raise UnfinishedSaveError(
            f"{folder} is between two checkpoints: a save was interrupted (or is running) while it renamed its files. "
            f"The new files are complete: roberta_core.checkpoints.finish({str(folder)!r}) or saving again renames them"
        )


@contextlib.contextmanager
def exclude_saves(folder: Path, deadline: float) -> Iterator[None]:
    """Let saves into the folder wait, if it can be locked before the deadline (of `time.monotonic`)."""
    with _open_lock(folder) as handle:
        while handle is not None and not _try_to_lock(handle) and time.monotonic() < deadline:
            time.sleep(WAIT)
        yield


def is_saving(folder: Path) -> bool:
    """Return whether a process is saving into the folder now, where that can be found out."""
    with _open_lock(folder) as handle:
        return handle is not None and not _try_to_lock(handle)


def is_plain_name(name: object) -> bool:
    """Return whether a name found in a file names a file in the same folder, and nothing else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0:")


def _build_temporary_name(name: str) -> str:
    return f".{name}.{os.getpid()}.saving"


@contextlib.contextmanager
def _open_synced(path: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """Create a file and sync it at the end; `mode` None means as the umask allows."""

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else 0o600)

    with open(path, "xb", opener=create) as file:
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), mode)
        yield file
        file.flush()
        os.fsync(file.fileno())


def _read_mode(path: Path) -> int | None:
    """Return the permissions of the regular file that is to be replaced; None if there is none."""
    with contextlib.suppress(OSError):
        state = os.lstat(path)
        if stat.S_ISREG(state.st_mode):
            return stat.S_IMODE(state.st_mode)
    return None


def _finish(folder: Path) -> bool:
    note = folder / NOTE
    if not note.exists():
        return False
    try:
        plan = json.loads(read_bytes(note))
        renames, removals = dict(plan["renames"]), list(plan["removals"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(
            f"{note} was not written by a save; remove it if the other files belong together"
        ) from None
    names = [*renames.values(), *removals]
    temporary = all(isinstance(name, str) and TEMPORARY.fullmatch(name) for name in renames)
    if not temporary or not all(map(is_plain_name, [*names, *renames])):
        raise CheckpointError(f"{note} lists files that no save writes; remove it if the other files belong together")
    lost = [name for temporary, name in renames.items() if not any((folder / n).exists() for n in (temporary, name))]
    if lost:
        raise CheckpointError(
            f"{folder}: a save was interrupted and its file {shorten(lost[0])} is missing; save again to another folder"
        )
    _carry_out(folder, renames, removals)
    return True


def _carry_out(folder: Path, renames: dict[str, str], removals: list[str]) -> None:
    for temporary, name in renames.items():
        with contextlib.suppress(FileNotFoundError):  # renamed before the save was interrupted
            os.replace(folder / temporary, folder / name)
    for name in removals:
        (folder / name).unlink(missing_ok=True)
    _sync(folder)
    if (folder / NOTE).exists():
        (folder / NOTE).unlink()
        _sync(folder)


def _sweep(folder: Path) -> None:
    """Remove the temporary files of killed saves; the lock excludes running ones."""
    for name in os.listdir(folder):
        if TEMPORARY.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def _read_small(path: Path) -> bytes | None:
    with contextlib.suppress(OSError, ValueError):
        return None if path.is_symlink() else read_bytes(path, SMALL)
    return None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Exclude other saves from the folder; the lock of a killed process disappears with it."""
    with _open_lock(folder) as handle:
        if handle is not None and fcntl is not None:
            with contextlib.suppress(OSError):  # some network file systems cannot lock a folder
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _open_lock(folder: Path) -> Iterator[int | None]:
    """Open a folder to lock it, and unlock it at the end; None where folders cannot be locked."""
    if fcntl is None or not folder.is_dir():
        yield None
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        with contextlib.suppress(OSError):  # closing alone would not unlock it for a child forked meanwhile
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _try_to_lock(handle: int) -> bool:
    """Share the lock of a folder; return False if a save holds it."""
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: Path) -> None:
    """Make renames permanent, on systems that can sync a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
