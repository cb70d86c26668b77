"""Decompression of files of several streams, which reports damage after the first stream too."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

CHUNK = 1 << 16  # compressed bytes that are read at a time


class StreamsReader(io.RawIOBase):
    """Decompresses one stream or several that follow each other, with zero bytes after them.

    The files of `bz2`, `lzma` and `zstd` take what cannot be decompressed after a stream for foreign data and end
    there: a file with a damaged second stream would lose the rest of its text without an error.

    Args:
        source: the compressed file, closed with this one.
        build: builds a decompressor for one stream, such as `bz2.BZ2Decompressor`.
    """

    def __init__(self, source: Any, build: Callable[[], Any]):
        self.source, self.build = source, build
        self.decompressor, self.position = build(), 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether the source can be read again from its beginning."""
        return self.source.seekable()

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; return the number of bytes, 0 at the end.

        Raises:
            EOFError: the file was truncated.
            Exception: the file is damaged; the decompressor's own error.
        """
        with memoryview(buffer) as view, view.cast("B") as cells:
            data = self._decompress(len(cells))
            cells[: len(data)] = data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place by reading up to it, again from the beginning if it lies before."""
        if whence == io.SEEK_END:
            while self.read(CHUNK):
                pass
        target = offset if whence == io.SEEK_SET else self.position + offset
        if target < self.position:
            self.source.seek(0)
            self.decompressor, self.position = self.build(), 0
        while self.position < target and self.read(min(CHUNK, target - self.position)):
            pass
        return self.position

    def close(self) -> None:
        """Close the source too."""
        super().close()
        self.source.close()

    def _decompress(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        data = b""
        while size and not data:
            given = b""
            if self.decompressor.eof:
                if not (given := self._find_stream(self.decompressor.unused_data)):
                    break
                self.decompressor = self.build()
            elif self.decompressor.needs_input and not (given := self.source.read(CHUNK)):
                raise EOFError("Compressed file ended before the end-of-stream marker was reached")
            data = self.decompressor.decompress(given, size)
        return data

    def _find_stream(self, rest: bytes) -> bytes:
        """Return the beginning of the next stream, after zero bytes; nothing at the end of the file."""
        while not (rest := rest.lstrip(b"\0")):
            if not (rest := self.source.read(CHUNK)):
                break
        return rest
