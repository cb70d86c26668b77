"""The errors of checkpoints, and how names appear in their messages."""

from collections.abc import Iterable

MAX_NAMES = 8  # that a message lists; of the others it gives the number
MAX_LENGTH = 300  # characters of a list of names; the first is always shown
MAX_WIDTH = 120  # characters of a name from a file that a message shows


class CheckpointError(OSError):
    """A checkpoint cannot be found, read, interpreted or written; the message is one sentence."""


class UnfinishedSaveError(CheckpointError):
    """The files of a folder may belong to two different saves."""


def join_names(names: Iterable[object]) -> str:
    """Join names for a message: the first few, then the number of the others."""
    names = [shorten(str(name)) for name in names]
    shown = min(MAX_NAMES, len(names))
    while shown > 1 and len(", ".join(names[:shown])) > MAX_LENGTH:
        shown -= 1
    text = ", ".join(names[:shown])
    return text if shown == len(names) else f"{text} and {len(names) - shown} more"


def shorten(text: str) -> str:
    """Make text from a file fit to print: one line, only printable characters, limited length."""
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= MAX_WIDTH else f"{text[:MAX_WIDTH]}..."
