"""Files to read: of this machine or of an object store, compressed or not.

A name with a scheme, such as `s3://bucket/texts/a.jsonl.gz`, is a `RemoteFile`, which fsspec reads; any other name is a
`Path`. Both have a `name`, and the functions below take either. Names that end with one of `COMPRESSIONS` are
decompressed while they are read.
"""

from __future__ import annotations

import glob
import hashlib
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # of at least two letters: `C:` is a drive
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
DAMAGES = (EOFError, OSError, zlib.error, lzma.LZMAError)  # what reading a damaged or lost file raises
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file with a URL."""

    url: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return PurePosixPath(self.url).name

    def resolve(self) -> RemoteFile:
        """Return the file itself: a URL is absolute."""
        return self

    def __str__(self) -> str:
        return self.url


File = Path | RemoteFile


def is_remote(name: str | os.PathLike[str] | RemoteFile) -> bool:
    """Whether a name has a scheme, such as `s3://`."""
    return bool(SCHEME.match(str(name)))


def locate(name: str | os.PathLike[str] | RemoteFile) -> File:
    """Return the file of a name."""
    if isinstance(name, RemoteFile):
        return name
    return RemoteFile(str(name)) if is_remote(name) else Path(name)


def find_files(pattern: str) -> list[File]:
    """Return the files of a name or a glob (`**` matches folders in between), in any order.

    Raises:
        ValueError: the object store cannot be reached.
    """
    if not is_remote(pattern):
        return [Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]
    system, path = _find_system(pattern)
    with _report_failures(pattern):
        names = system.glob(path) if set("*[") & set(path) else [path] * system.isfile(path)
        return [RemoteFile(system.unstrip_protocol(name)) for name in names if system.isfile(name)]


def find_suffix(file: File) -> str:
    """Return the suffix in lower case, without that of a compression: `.jsonl` of `a.jsonl.gz`."""
    path = PurePosixPath(file.name)
    return (PurePosixPath(path.stem) if path.suffix.lower() in COMPRESSIONS else path).suffix.lower()


def exists(file: File) -> bool:
    """Whether there is such a file."""
    if isinstance(file, Path):
        return file.exists()
    system, path = _find_system(file.url)
    with _report_failures(file.url):
        return system.exists(path)


def open_file(file: File) -> Any:
    """Open a file to read its bytes, decompressed.

    Raises:
        OSError: the file of this machine cannot be opened.
        ValueError: a remote file cannot be opened, or a package for its scheme or compression is not installed.
    """
    compression = COMPRESSIONS.get(PurePosixPath(file.name).suffix.lower())
    if isinstance(file, Path) and compression is None:
        return open(file, "rb")
    system, path = _find_system(str(file))
    if isinstance(file, Path):
        file.stat()  # an error of this machine says what it is
    with _report_failures(str(file)):
        return system.open(path, "rb", compression=compression)


def read_bytes(file: File) -> bytes:
    """Return the decompressed content of a file."""
    with open_file(file) as stream:
        return stream.read()


def get_size(file: File) -> int:
    """Return the number of bytes of a file as it is stored; 0 if the object store does not tell it."""
    if isinstance(file, Path):
        return file.stat().st_size
    system, path = _find_system(file.url)
    with _report_failures(file.url):
        return system.size(path) or 0


def compute_version(file: File) -> str:
    """Return what changes with the content: its SHA-256, or a hash of what the object store states about it.

    Object stores state the size and a checksum or a time; a web server states at least the size.
    """
    if isinstance(file, Path):
        with open(file, "rb") as stream:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    system, path = _find_system(file.url)
    with _report_failures(file.url):
        facts = {key: value for key, value in system.info(path).items() if not callable(value)}
    return f"stated:{hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()}"


class CountedStream:
    """A stream that keeps the last byte that was read."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.last = stream, b""

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or `size` bytes of it."""
        line = self.stream.readline(size)
        self.last = line[-1:] or self.last
        return line


def _find_system(name: str) -> tuple[Any, str]:
    """Return fsspec's file system of a name, and the path in it."""
    from fsspec.core import url_to_fs

    scheme = name.partition("://")[0]
    try:
        return url_to_fs(name)
    except ImportError:
        package = PACKAGES.get(scheme)
        raise ValueError(
            f"{name}: files of {scheme}:// need {package}: pip install {package}"
            if package
            else f"{name}: the package that reads {scheme}:// is not installed"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@contextmanager
def _report_failures(name: str) -> Iterator[None]:
    """Name the file in every error: those of the packages behind fsspec have many types, and many name no file."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{name}: there is no such file") from None
    except Exception as error:
        raise ValueError(f"{name} cannot be read: {type(error).__name__}: {error}") from error
