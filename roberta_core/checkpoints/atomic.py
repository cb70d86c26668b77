"""Several files saved as one: after a crash the folder holds the old ones, the new ones, or says that it is between.

Every file is first written whole under a temporary name and synced. If more than one name has to change, a note is
then left in the folder that lists the renames; it goes away after the last of them. Whoever finds the note knows
that the save was cut off, and `finish` can complete it, for nothing is missing. (Renaming a whole folder would be
simpler, but no folder can be renamed onto one that is not empty.)
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from roberta_core.checkpoints.errors import CheckpointError, clipped

try:
    import fcntl
except ImportError:  # not a POSIX system: saves by two processes at once are then up to the user
    fcntl = None

NOTE = "unfinished-save.json"
TEMPORARY = re.compile(r"\.(.+)\.\d+\.saving")
SMALL = 1 << 20  # bytes: files up to this size are compared with what is there, and left alone if equal


class Transaction:
    """The files of one save. Made by `transaction`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.renames: dict[str, str] = {}  # temporary name -> name
        self.removals: list[str] = []

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A new file, synced at the end, that will be called `name`."""
        temporary = _temporary(name)
        self.renames[temporary] = name
        with _synced(self.folder / temporary) as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """A small file in one go; one that is there already with this content stays as it is."""
        if _content(self.folder / name) != content:
            with self.open(name) as file:
                file.write(content)

    def remove(self, name: str) -> None:
        """A file of the old checkpoint that the new one does not have."""
        self.removals.append(name)

    def commit(self) -> None:
        """Give all files their names."""
        for name in self.renames.values():
            if (self.folder / name).is_dir():
                raise IsADirectoryError(None, "a folder has the name of the file", str(self.folder / name))
        if len(self.renames) + len(self.removals) > 1:
            self._leave_note()
        _carry_out(self.folder, self.renames, self.removals)

    def _leave_note(self) -> None:
        plan = {"renames": self.renames, "removals": self.removals}
        temporary = self.folder / _temporary(NOTE)
        with _synced(temporary) as file:
            file.write(json.dumps(plan, indent=1).encode())
        _sync(self.folder)
        os.replace(temporary, self.folder / NOTE)
        _sync(self.folder)

    def discard(self) -> None:
        """Remove the temporary files, unless the note already counts on them."""
        if not (self.folder / NOTE).exists():
            for temporary in [*self.renames, _temporary(NOTE)]:
                (self.folder / temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def transaction(folder: str | os.PathLike[str]) -> Iterator[Transaction]:
    """Save files into a folder, all or none; made if it is not there. `CheckpointError` if that fails."""
    folder = Path(folder)
    try:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _finish(folder)
            _sweep(folder)
            save = Transaction(folder)
            try:
                yield save
                save.commit()
            except BaseException:
                with contextlib.suppress(OSError):
                    save.discard()
                    if made:
                        folder.rmdir()  # which fails, as it should, if anything is in it
                raise
    except CheckpointError:
        raise
    except OSError as error:
        left = "the new files are whole, and saving again puts them in place" if (folder / NOTE).exists() else ""
        what = f"{error.strerror or error}" + (f" ({clipped(str(error.filename))})" if error.filename else "")
        raise CheckpointError(f"saving to {folder} failed: {what}; {left or 'what was there is untouched'}") from error


def finish(folder: str | os.PathLike[str]) -> bool:
    """Complete a save that was cut off between its files; whether there was one."""
    folder = Path(folder)
    with _locked(folder):
        return _finish(folder)


def refuse_unfinished(folder: Path) -> None:
    """Raise `CheckpointError` if the files of a folder may be of two different saves."""
    if (folder / NOTE).exists():
        raise CheckpointError(
            f"{folder} is between two checkpoints: a save was cut off (or goes on) while it renamed its files; the new "
            f"ones are whole, and roberta_core.checkpoints.finish({str(folder)!r}) or saving again puts them in place"
        )


def plain(name: object) -> bool:
    """Whether a name found in a file is that of a file in the same folder, and nothing else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0:")


def _temporary(name: str) -> str:
    return f".{name}.{os.getpid()}.saving"


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with open(path, "xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _finish(folder: Path) -> bool:
    note = folder / NOTE
    if not note.exists():
        return False
    try:
        plan = json.loads(note.read_bytes())
        renames, removals = dict(plan["renames"]), list(plan["removals"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(
            f"{note} is not a note that a save leaves; remove it if the checkpoint is whole"
        ) from None
    names = [*renames.values(), *removals]
    if not all(map(plain, names)) or not all(TEMPORARY.fullmatch(name) and plain(name) for name in renames):
        raise CheckpointError(f"{note} names files that no save writes; remove it if the checkpoint is whole")
    lost = [name for temporary, name in renames.items() if not any((folder / n).exists() for n in (temporary, name))]
    if lost:
        raise CheckpointError(
            f"{folder}: a save was cut off and its file {clipped(lost[0])} is gone; save again elsewhere"
        )
    _carry_out(folder, renames, removals)
    return True


def _carry_out(folder: Path, renames: dict[str, str], removals: list[str]) -> None:
    for temporary, name in renames.items():
        with contextlib.suppress(FileNotFoundError):  # renamed before the save was cut off
            os.replace(folder / temporary, folder / name)
    for name in removals:
        (folder / name).unlink(missing_ok=True)
    _sync(folder)
    if (folder / NOTE).exists():
        (folder / NOTE).unlink()
        _sync(folder)


def _sweep(folder: Path) -> None:
    """Remove what killed saves left; nobody else is saving here while we hold the lock."""
    for name in os.listdir(folder):
        if TEMPORARY.fullmatch(name):
            (folder / name).unlink(missing_ok=True)


def _content(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= SMALL:
            return path.read_bytes()
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other saves; the lock of a killed process goes with it."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot lock a folder
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    """Make renames last through a power cut, where a folder can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
