"""The files that a command is to write, looked at before it begins: what is measured for an hour must not be lost."""

import os
from pathlib import Path

STDOUT = Path("-")  # as a file name


def check_files(*paths: Path | None) -> None:
    """Make the folders that these files will stand in; `ValueError` if one cannot be written. None and `-` are passed.

    The files themselves are left as they are until there is something to write.
    """
    for path in paths:
        if path is None or path == STDOUT:
            continue
        _make(path.parent, path)
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"{path} cannot be written: permission denied")


def check_chart(path: Path | None) -> None:
    """The same of a chart, and `ValueError` if matplotlib is missing or does not know its suffix."""
    if path is None:
        return
    from roberta_core.training import curves

    figures = curves.require("matplotlib.figure", "chart")
    known = sorted(figures.Figure().canvas.get_supported_filetypes())
    if path.suffix and path.suffix[1:].lower() not in known:  # without one it is a PNG
        raise ValueError(f"{path}: charts are drawn as {', '.join(known)}, not as {path.suffix}")
    check_files(path)


def _make(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {(error.strerror or 'no folder').lower()}: {folder}") from None
