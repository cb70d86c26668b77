"""Output for people: a console that shows texts and file names as they are, and errors in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

# Characters that a terminal acts on (escape sequences, reversed writing directions) or cannot encode (lone surrogates).
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""Write control characters as escapes such as `\x1b`; tabs and line ends stay."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def make_console(stderr: bool = False, file: Any = None, **settings: Any) -> Any:
    """Return a rich console that reads no markup in what it prints and escapes control characters."""
    from rich.console import Console

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(escape_controls(text), **options)

    return PlainConsole(stderr=stderr, file=file, markup=False, emoji=False, highlight=False, **settings)


class EarlyExit(Exception):  # noqa: N818  # not always an error
    """Ends a command with a sentence on stderr, if it is not empty, and an exit status of its own."""

    def __init__(self, sentence: str, status: int):
        super().__init__(sentence)
        self.status = status


# The arguments of the command that is being run.
_COMMAND_LINE: list[str] = []


def set_command_line(arguments: Sequence[str]) -> None:
    """Keep the arguments of the command, to print a command that continues its work."""
    _COMMAND_LINE[:] = arguments


def get_command_line() -> list[str]:
    """Return the arguments of the command that is being run."""
    return list(_COMMAND_LINE)


def print_error(text: str, status: int) -> int:
    """Print a sentence on stderr, and return the exit status."""
    print(f"roberta: {escape_controls(text)}", file=sys.stderr)
    return status


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_error(error: BaseException) -> str:
    """Return the message of an error as one line."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__
