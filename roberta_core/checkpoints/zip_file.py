"""Finding the records of a mapped zip file whose records are not compressed.

The standard library first reads the whole directory into objects, whatever size it claims; here it is bounded, and a
compressed record, which torch.save never writes, is refused.
"""

import struct
from typing import NamedTuple

import numpy as np

MAX_DIRECTORY = 16 << 20  # bytes; roberta-large's has 30,000
TAIL = 65_557  # the end record and the longest comment after it
END, END64, LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
ENTRY, LOCAL = b"PK\1\2", b"PK\3\4"
UNKNOWN = 0xFFFFFFFF  # the number is in the 64-bit extra field


class Record(NamedTuple):
    """The bytes [begin, end) of a record in the file."""

    begin: int
    end: int


def find_records(file: np.ndarray) -> dict[str, Record]:
    """Return the records of a mapped zip file by name; raise `ValueError` if it is broken, compressed or encrypted."""
    view = file.data
    start, size, count = _directory(view)
    if size > MAX_DIRECTORY or start + size > len(view):
        raise ValueError("its directory is outside of the file")
    found: dict[str, Record] = {}
    at = start
    for _ in range(count):
        if bytes(view[at : at + 4]) != ENTRY or at + 46 > start + size:
            raise ValueError("its directory is broken")
        flags, method = struct.unpack_from("<2H", view, at + 8)
        packed, unpacked, *lengths = struct.unpack_from("<2I3H", view, at + 20)
        (local,) = struct.unpack_from("<I", view, at + 42)
        end = at + 46 + sum(lengths)
        if end > start + size:
            raise ValueError("its directory is broken")
        name = bytes(view[at + 46 : at + 46 + lengths[0]]).decode()
        extra = bytes(view[at + 46 + lengths[0] : at + 46 + lengths[0] + lengths[1]])
        unpacked, packed, local = _read_wide(extra, unpacked, packed, local)
        if method or flags & 1 or packed != unpacked:
            raise ValueError("its records are compressed or encrypted, which torch.save never does")
        if name in found:
            raise ValueError("a record occurs twice")
        found[name] = _record(view, local, packed)
        at = end
    return found


def _directory(view: memoryview) -> tuple[int, int, int]:
    """Return where the directory begins, its size in bytes and its number of entries."""
    tail = bytes(view[-TAIL:])
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        raise ValueError("it is truncated (its end record is missing)")
    count, size, start = struct.unpack_from("<H2I", tail, at + 10)
    if tail[max(at - 20, 0) : at][:4] == LOCATOR64:
        (where,) = struct.unpack_from("<Q", tail, at - 12)
        if where + 56 > len(view) or bytes(view[where : where + 4]) != END64:
            raise ValueError("its end record is broken")
        count, size, start = struct.unpack_from("<3Q", view, where + 32)
    if count > size // 46:
        raise ValueError("its directory is broken")
    return start, size, count


def _read_wide(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """Return sizes and offset, taking those that need more than 32 bits from the extra field."""
    if UNKNOWN not in numbers:
        return numbers
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{numbers.count(UNKNOWN)}Q", extra, at + 4))
            return tuple(next(values) if number == UNKNOWN else number for number in numbers)
        at += 4 + size
    raise ValueError("its directory is broken")


def _record(view: memoryview, local: int, size: int) -> Record:
    """Return the data of a record; the name and extra field in its header may differ from the directory's."""
    if local + 30 > len(view) or bytes(view[local : local + 4]) != LOCAL:
        raise ValueError("a record is outside of the file")
    begin = local + 30 + sum(struct.unpack_from("<2H", view, local + 26))
    if begin + size > len(view):
        raise ValueError("a record is outside of the file")
    return Record(begin, begin + size)
