"""Small files whose content is not trusted, read with a limit on their size; new files; and files as locks."""

import io
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

MAX_BYTES = 16 << 20
MAX_DEPTH = 100  # nested lists and objects in JSON


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Opening never blocks, so a named pipe is refused like any other special file.

    Args:
        path: The file; a symbolic link is followed.
        limit: The largest size in bytes.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not a regular file, or is larger than `limit`.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path} is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} is larger than {limit:,} bytes")
    return content


def read_json_object(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        OSError: The file cannot be opened; `FileNotFoundError` names the folder.
        ValueError: It is not a regular file, too large, not JSON, nested too deeply, or not an object.
    """
    path = Path(path)
    try:
        content = read_bytes(path, limit)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.parent} has no {path.name}") from None
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, not an object")
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"{path} is nested more than {MAX_DEPTH} levels deep")
    return value


class _NamedFile(io.FileIO):
    """A file whose name is in errors of writing, such as that of a full disk: Python's errors name none."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.name)) from None


def create_file(path: str | os.PathLike[str], mode: str = "w") -> io.BufferedWriter:
    """Open a file to write bytes into it.

    Args:
        path: The file.
        mode: "w" to replace the content, "a" to append.

    Raises:
        OSError: The file cannot be opened. Writing and closing also raise it with the name of the file.
    """
    return io.BufferedWriter(_NamedFile(path, mode))


def create_text(path: str | os.PathLike[str], mode: str = "w", newline: str | None = None) -> io.TextIOWrapper:
    """Open a file to write UTF-8 text into it, as `create_file` does; `newline` is that of `open`."""
    return io.TextIOWrapper(create_file(path, mode), encoding="utf-8", newline=newline)


def hold_lock(stream: IO[Any], message: str) -> None:
    """Hold a file until it is closed; raise `ValueError` with the message if another process holds it.

    Nothing is held on Windows, nor on network file systems that cannot lock a file.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(message) from None
    except OSError:
        return


def _is_deeper(value: Any, depth: int) -> bool:
    """Return whether lists and dicts are nested more than `depth` levels, without recursion."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
