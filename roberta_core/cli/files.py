"""Checks of files before a command begins, so that an hour of work is not lost."""

import os
from collections.abc import Iterable
from pathlib import Path

STDOUT = Path("-")  # as a file name


def check_files(*paths: Path | None) -> None:
    """Create the folders of these files. None and `-` are skipped, and the files themselves are not touched.

    Raises:
        ValueError: a file cannot be written.
    """
    for path in paths:
        if path is None or path == STDOUT:
            continue
        _make_folder(path.parent, path)
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"{path} cannot be written: permission denied")


def check_inputs(files: Iterable[str], hint: str = "") -> None:
    """Check that files exist and can be read; `-` is skipped.

    Args:
        files: the names of the files.
        hint: what to do if a file does not exist, appended to that error.

    Raises:
        ValueError: a file does not exist, or cannot be read.
    """
    for name in files:
        path = Path(name)
        if path == STDOUT:
            continue
        if path.is_dir():
            raise ValueError(f"{path} is a folder: specify the files in it, such as {path}/*.jsonl")
        if not path.exists():
            raise ValueError(f"there is no file {name!r}{hint}" if hint else f"{path}: there is no such file")
        if not os.access(path, os.R_OK):
            raise ValueError(f"{path} cannot be read: permission denied")


def check_chart(path: Path | None) -> None:
    """Check the file of a chart like any other.

    Raises:
        ValueError: the file cannot be written, matplotlib is missing, or it cannot draw files with this suffix.
    """
    if path is None:
        return
    from roberta_core.training import curves

    figures = curves.require("matplotlib.figure", "chart")
    known = sorted(figures.Figure().canvas.get_supported_filetypes())
    if path.suffix and path.suffix[1:].lower() not in known:  # without a suffix it is a PNG
        raise ValueError(f"{path}: charts are drawn as {', '.join(known)}, not as {path.suffix}")
    check_files(path)


def _make_folder(folder: Path, path: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {(error.strerror or 'no folder').lower()}: {folder}") from None
