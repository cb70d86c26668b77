"""Files of this machine or of an object store; those that are read can be compressed.

A name with a scheme, such as `s3://bucket/texts/a.jsonl.gz`, is a `RemoteFile`, which fsspec reads; any other name is a
`Path`. Both have a `name`, and the functions below take either. Names that end with one of `COMPRESSIONS` are
decompressed while they are read.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import importlib
import io
import lzma
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from roberta_core.data.decompression import StreamsReader

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # of at least two letters: `C:` is a drive
# Schemes whose files have one URL each, by the scheme's other names; only in these stores globs find files.
STORES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "memory": "memory"}
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
NO_MEMORY = "not enough memory"  # in every `MemoryError` that names its file
NO_FILE = (404, 410)  # the statuses by which a web server answers that there is no file
NO_FILE_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What an object store or a web server states about the content of a file, besides its size.
VALIDATORS = (
    "etag", "content-md5", "digest", "md5hash", "crc32c", "generation", "versionid", "lastmodified", "last-modified",
    "updated", "mtime", "created",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file with a URL. `locate` makes it, so that one file has one URL."""

    url: str

    @property
    def name(self) -> str:
        """The last part of the path, without the query of a web address or the version of an object."""
        path = urlsplit(self.url).path if self.url.startswith("http") else self.url.partition("?versionId=")[0]
        return PurePosixPath(path).name

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
    """Return the file of a name; `file://` URLs are paths."""
    if isinstance(name, RemoteFile):
        return name
    match = SCHEME.match(str(name))
    if match is None:
        return Path(name)
    scheme, rest = match[1].lower(), str(name)[match.end() :]
    if scheme == "file":
        return Path(url2pathname(rest))
    if scheme in STORES:
        return RemoteFile(f"{STORES[scheme]}://{rest.lstrip('/')}")
    return RemoteFile(f"{scheme}://{rest}")


def find_files(pattern: str) -> list[File]:
    """Return the files of a name or a glob (`**` matches folders in between), in any order.

    Raises:
        ValueError: the object store cannot be reached, or the scheme has no globs.
    """
    place = locate(pattern)
    if isinstance(place, Path):
        if place.is_file():  # its name may have characters of a glob
            return [place]
        return [Path(name) for name in glob.glob(str(place), recursive=True) if Path(name).is_file()]
    if not set("*[") & set(pattern):
        return [place] if _read_facts(place, missing={"type": ""}).get("type", "file") == "file" else []
    scheme = place.url.partition("://")[0]
    if scheme not in STORES:
        known = ", ".join(f"{name}://" for name in sorted(set(STORES.values())))
        raise ValueError(f"{pattern}: globs are found on {known} only: name the files, or list them in @LIST")
    system, path = _find_system(place)
    with _report_failures(pattern):
        found = system.glob(path, detail=True)
    return [locate(f"{scheme}://{name}") for name, facts in found.items() if facts["type"] == "file"]


def find_suffix(file: File) -> str:
    """Return the suffix of the format in lower case, without that of a compression: `.jsonl` of `a.jsonl.gz`."""
    path = PurePosixPath(file.name)
    return (PurePosixPath(path.stem) if find_compression(file) else path).suffix.lower()


def find_compression(file: File) -> str:
    """Return the suffix of the compression, one of `COMPRESSIONS`, or an empty string."""
    suffix = PurePosixPath(file.name).suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


def exists(file: File) -> bool:
    """Whether there is such a file."""
    return file.exists() if isinstance(file, Path) else bool(_read_facts(file, missing={}))


def open_file(file: File) -> Any:
    """Open a file to read its bytes, decompressed.

    Reading a damaged or lost file raises errors of many types, those of the packages behind fsspec among them.

    Raises:
        OSError: the file of this machine cannot be opened.
        ValueError: a remote file cannot be opened, or a package for its scheme or compression is not installed.
    """
    stream, compression = _open_stored(file), find_compression(file)
    return COMPRESSIONS[compression](stream, file) if compression else stream


def _open_stored(file: File) -> Any:
    """Open a file to read its bytes as they are stored."""
    if isinstance(file, Path):
        return open(file, "rb")
    system, path = _find_system(file)
    with _report_failures(file.url):
        return io.BufferedReader(system.open(path, "rb"), 1 << 20)


def read_bytes(file: File) -> bytes:
    """Return the decompressed content of a file."""
    with open_file(file) as stream:
        return stream.read()


@dataclass(frozen=True)
class FileState:
    """What is known about the content of a file.

    Args:
        size: the number of bytes as it is stored; 0 if the object store does not state it.
        version: what changes with the content.
        modified: when a file of this machine was last changed, in nanoseconds; 0 for a remote file.
    """

    size: int
    version: str
    modified: int = 0


def read_state(file: File) -> FileState:
    """Return the state of a file; an object store is asked once.

    The version is a hash of what the object store states about the content, or else the SHA-256 of the content.

    Raises:
        OSError: the file of this machine cannot be read.
        ValueError: a remote file cannot be read.
    """
    if isinstance(file, RemoteFile):
        facts = {key.lower(): value for key, value in _read_facts(file).items()}
        size, modified = facts.get("size") or 0, 0
        if stated := {key: str(facts[key]) for key in VALIDATORS if facts.get(key)}:
            # The name too: a time alone can be that of several files.
            digest = hashlib.sha256(repr((file.url, facts.get("size"), stated)).encode()).hexdigest()
            return FileState(size, f"stated:{digest}")
    else:
        size, modified = file.stat().st_size, file.stat().st_mtime_ns
    with _open_stored(file) as stream:
        return FileState(size, f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}", modified)


def compute_version(file: File) -> str:
    """Return what changes with the content of a file, as `read_state` does."""
    return read_state(file).version


def is_modified(file: File, state: FileState) -> bool:
    """Whether a file of this machine was changed after its state was read; False for a remote file."""
    if isinstance(file, RemoteFile):
        return False
    return (file.stat().st_size, file.stat().st_mtime_ns) != (state.size, state.modified)


def check_target(file: RemoteFile) -> None:
    """Check that a file can be written, as far as that is known before.

    Raises:
        ValueError: it is a folder, the object store cannot be reached, or a package for its scheme is not installed.
    """
    if file.url.endswith("/") or _read_facts(file, missing={}).get("type") == "directory":
        raise ValueError(f"{file} is a folder: give the name of a file")


def upload(source: Path, target: RemoteFile) -> None:
    """Copy a file of this machine to an object store, where it appears when it is complete.

    Raises:
        ValueError: it cannot be written.
        MemoryError: memory is exhausted.
    """
    system, path = _find_system(target)
    try:
        with (
            open(source, "rb") as content,
            system.transaction,  # without it, closing a file after an error would complete it
            system.open(path, "wb") as stream,
        ):
            shutil.copyfileobj(content, stream, 1 << 24)
    except MemoryError:
        raise MemoryError(f"{target}: {NO_MEMORY} to write it") from None
    except Exception as error:
        raise ValueError(f"{target} cannot be written: {type(error).__name__}: {error}") from error


class CountedStream:
    """A stream that keeps the last byte that was read."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.last = stream, b""

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or `size` bytes of it."""
        line = self.stream.readline(size)
        self.last = line[-1:] or self.last
        return line


class _OwnedGzipFile(gzip.GzipFile):
    """A gzip file that closes the stream that it reads."""

    owned: Any = io.BytesIO()  # until it is opened

    def close(self) -> None:
        super().close()
        self.owned.close()


def _open_gzip(stream: Any, file: File) -> Any:
    opened = _OwnedGzipFile(fileobj=stream)
    opened.owned = stream
    return opened


def _open_streams(build: Callable[[], Any]) -> Callable[[Any, File], Any]:
    return lambda stream, file: io.BufferedReader(StreamsReader(stream, build), 1 << 20)


def _open_zstd(stream: Any, file: File) -> Any:
    """Decompress with Python 3.14's module, its backport, or pyarrow; each of them notices a truncated file."""
    for package in ("compression", "backports"):
        try:
            zstd = importlib.import_module(f"{package}.zstd")
        except ImportError:
            continue
        return _open_streams(zstd.ZstdDecompressor)(stream, file)
    try:
        import pyarrow
    except ImportError:
        stream.close()
        raise ValueError(
            f"{file}: .zst files need backports.zstd or pyarrow: pip install backports.zstd, or 'triberta[train]'"
        ) from None
    return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, "r"), "zstd"), 1 << 20)


COMPRESSIONS = {
    ".gz": _open_gzip,
    ".bz2": _open_streams(bz2.BZ2Decompressor),
    ".xz": _open_streams(lzma.LZMADecompressor),
    ".zst": _open_zstd,
}


def _read_facts(file: RemoteFile, missing: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Return what the object store states about a file; `missing`, if given, where there is none."""
    system, path = _find_system(file)
    with _report_failures(file.url):
        system.invalidate_cache()
        try:
            return system.info(path)
        except FileNotFoundError as error:
            if missing is None or _find_failure(error) is not None:
                raise
            return missing


def _find_system(file: RemoteFile) -> tuple[Any, str]:
    """Return fsspec's file system of a file, and the path in it.

    Raises:
        ValueError: the scheme is not known, its package is not installed, or the server cannot be reached.
    """
    from fsspec.core import url_to_fs

    scheme = file.url.partition("://")[0]
    try:
        return url_to_fs(file.url)
    except ImportError as error:
        package = PACKAGES.get(scheme)
        reason = f"files of {scheme}:// need {package}: pip install {package}" if package else str(error)
        raise ValueError(f"{file}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    except MemoryError:
        raise MemoryError(f"{file}: {NO_MEMORY} to read it") from None
    except Exception as error:  # some file systems, such as that of FTP, connect when they are made
        raise ValueError(f"{file} cannot be reached: {_describe(error)}") from error


@contextmanager
def name_memory_errors(message: str) -> Iterator[None]:
    """Raise `MemoryError` with this message where memory is exhausted, unless the error names a file already."""
    try:
        yield
    except MemoryError as error:
        if NO_MEMORY in str(error):
            raise
        raise MemoryError(message) from None


@contextmanager
def _report_failures(name: str) -> Iterator[None]:
    """Name the file in every error: those of the packages behind fsspec have many types, and many name no file."""
    try:
        yield
    except FileNotFoundError as error:
        if (failure := _find_failure(error)) is None:
            raise ValueError(f"{name}: there is no such file") from None
        raise ValueError(f"{name} cannot be read: {_describe(failure)}") from error
    except MemoryError:
        raise MemoryError(f"{name}: {NO_MEMORY} to read it") from None
    except Exception as error:
        raise ValueError(f"{name} cannot be read: {_describe(error)}") from error


def _find_failure(error: FileNotFoundError) -> BaseException | None:
    """Return the failure behind an error; None if there is really no file.

    fsspec's file system of web servers raises `FileNotFoundError` for every failure, and only its cause differs.
    """
    cause: BaseException | None = error
    while (cause := cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)) is not None:
        status = getattr(cause, "status", None)  # of an answer over HTTP
        if isinstance(status, int):
            return None if status in NO_FILE else cause
        package = type(cause).__module__.partition(".")[0]
        if package == "aiohttp" or (isinstance(cause, OSError) and not isinstance(cause, NO_FILE_ERRORS)):
            return cause
    return None


def _describe(error: BaseException) -> str:
    """Return what an error means: the status of a web server's answer, or the error's type and message."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        phrase = HTTPStatus(status).phrase if status in {one.value for one in HTTPStatus} else ""
        return f"the server answered {status} {phrase}".rstrip()
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
