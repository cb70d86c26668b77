"""Cutting one or two texts to a number of tokens, and the rows of what was cut off."""

from __future__ import annotations

from roberta_core.tokenization.rows import Pieces

Texts = tuple[Pieces, Pieces | None]


def cut(texts: Texts, strategy: str, room: int, stride: int, *, left: bool, overflow: bool) -> list[Texts]:
    """The texts cut to `room` tokens together, followed by the rows that were cut off when `overflow` is wanted.

    Overflowing rows have the size of the first and share `stride` tokens with their neighbour; for two texts that both
    overflow every window of the one meets every window of the other. Raises ValueError where `room` cannot be met.
    """
    first, second = texts
    sizes = len(first.ids), len(second.ids) if second else 0
    if sum(sizes) <= room:
        return [texts]
    keeps = KEEP[strategy](sizes, room)
    stride = stride if overflow else 0
    firsts = [first.part(*part) for part in windows(sizes[0], keeps[0], stride, left=left, overflow=overflow)]
    if second is None:
        return [(part, None) for part in firsts]
    seconds = [second.part(*part) for part in windows(sizes[1], keeps[1], stride, left=left, overflow=overflow)]
    later = [(part, other) for part in firsts[1:] for other in seconds]
    return [(firsts[0], seconds[0]), *later, *((firsts[0], other) for other in seconds[1:])]


def windows(size: int, keep: int, stride: int, *, left: bool, overflow: bool) -> list[tuple[int, int]]:
    """The parts (start, stop) of at most `keep` tokens, the one that is kept first; `left` cuts the beginning off."""
    if size <= keep:
        return [(0, size)]
    if not overflow:
        return [(size - keep, size) if left else (0, keep)]
    if keep == 0:
        raise ValueError("no token of a text is kept, so that what overflows cannot be cut into rows of that size")
    if stride >= keep:
        raise ValueError(f"stride {stride} must be below the {keep} tokens that a row keeps of a text")
    parts = [(0, keep)]
    while parts[-1][1] < size:
        start = parts[-1][0] + keep - stride
        parts.append((start, min(start + keep, size)))
    return [(size - stop, size - start) for start, stop in parts] if left else parts


def keep_longest_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """Token by token off the longer text; of two that meet at an odd number the first gives the last token up."""
    if sizes[0] <= sizes[1]:
        shorter = min(sizes[0], room // 2)
        return shorter, room - shorter
    shorter = min(sizes[1], room // 2)
    return room - shorter, shorter


def keep_only_first(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """All off the first text."""
    return _rest("first", sizes[0], sizes[1], room), sizes[1]


def keep_only_second(sizes: tuple[int, int], room: int) -> tuple[int, int]:
    """All off the second text."""
    return sizes[0], _rest("second", sizes[1], sizes[0], room)


def _rest(name: str, size: int, other: int, room: int) -> int:
    """What is left of the one text when the other stays whole: at least one token."""
    if size + other - room >= size:
        raise ValueError(
            f"truncation='only_{name}' cannot help: the {name} text has {size} tokens, the other one {other}, "
            f"and there is room for {room}"
        )
    return room - other


# strategy -> (sizes of both texts, room) -> how many tokens each keeps
KEEP = {"longest_first": keep_longest_first, "only_first": keep_only_first, "only_second": keep_only_second}
