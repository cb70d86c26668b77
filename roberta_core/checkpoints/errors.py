"""What goes wrong with checkpoints, said in one sentence."""

from collections.abc import Iterable

SHOWN = 8  # names that a sentence lists before it only counts
WIDTH = 120  # characters of a foreign name that a sentence shows


class CheckpointError(OSError):
    """A checkpoint that cannot be found, read, understood or written; the message is one sentence."""


def listed(names: Iterable[object]) -> str:
    """Names for a sentence: the first few, then how many more."""
    names = list(names)
    text = ", ".join(clipped(str(name)) for name in names[:SHOWN])
    return text if len(names) <= SHOWN else f"{text} and {len(names) - SHOWN} more"


def clipped(text: str) -> str:
    """A foreign text made fit to print: one line, no unprintable characters, not too long."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
