"""The interface that the caller uses, so that the advice of a message names what this caller can write."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PYTHON, COMMAND, REQUEST = "python", "command", "request"  # arguments, options of a command, fields of a request

_interface = ContextVar("interface", default=PYTHON)


@contextmanager
def use_interface(name: str) -> Iterator[None]:
    """Give advice for this interface in the block, in this thread."""
    token = _interface.set(name)
    try:
        yield
    finally:
        _interface.reset(token)


def choose_advice(*, python: str, command: str, request: str | None = None) -> str:
    """Return the advice for the interface in use.

    Args:
        python: for callers in Python, such as "pass truncation=True".
        command: for a command, such as "pass --truncate".
        request: for a request to the server; by default as in Python.
    """
    return {PYTHON: python, COMMAND: command, REQUEST: python if request is None else request}[_interface.get()]
