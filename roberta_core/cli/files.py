"""Checks of files before a command begins, so that an hour of work is not lost."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from roberta_core.data.sources import File, RemoteFile, check_target, exists, find_compression, locate

STDOUT = Path("-")  # as a file name
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/([^/].*)")  # what `Path` makes of one


def check_files(*paths: Path | None) -> None:
    """Create the folders of these files. None and `-` are skipped, and the files themselves are not touched.

    Raises:
        ValueError: a file cannot be written.
    """
    for path in paths:
        if path is None or path == STDOUT:
            continue
        if found := URL.fullmatch(str(path)):
            raise ValueError("{}://{}: this can only be a file of this machine".format(*found.groups()))
        _make_folder(path.parent, path)
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise ValueError(f"{path} cannot be written: permission denied")


def check_output(output: File | None) -> None:
    """Check the file of predictions, which may be one of an object store.

    Raises:
        ValueError: it cannot be written, or its name is that of a compressed file.
    """
    suffix = "" if output is None else find_compression(output)
    if suffix:
        raise ValueError(f"{output} ends with {suffix}, but the output is not compressed: specify a name without it")
    if isinstance(output, RemoteFile):
        check_target(output)
    else:
        check_files(output)


def check_inputs(files: Iterable[str], hint: str = "") -> None:
    """Check that files exist and can be read; `-` is skipped.

    Args:
        files: the names of the files.
        hint: what to do if a file does not exist, appended to that error.

    Raises:
        ValueError: a file does not exist, or cannot be read.
    """
    for name in files:
        path = locate(name)
        if path == STDOUT:
            continue
        if isinstance(path, RemoteFile):
            if not exists(path):
                raise ValueError(f"{path}: there is no such file")
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
