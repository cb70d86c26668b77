"""The pre-commit hook `roberta-compare`: check the checkpoints whose files changed.

A checkpoint must load, and its weights files must agree if it has several: `roberta compare FOLDER` shows how they
differ.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from roberta_core.checkpoints import formats
from roberta_core.config import CONFIG_NAME

from .suite.comparison import find_differing_weights


def find_checkpoints(files: Iterable[str]) -> list[Path]:
    """Return the folders of changed files that contain a configuration and weights."""
    folders = dict.fromkeys(Path(file).parent for file in files)
    return [
        folder
        for folder in folders
        if (folder / CONFIG_NAME).exists() and any(formats.has_format(folder, kind) for kind in formats.FORMATS)
    ]


def check(folder: Path) -> list[str]:
    """Return what is wrong with a checkpoint; nothing if it loads and its weights files agree."""
    try:
        return find_differing_weights(folder)
    except (OSError, ValueError) as error:
        return [str(error)]


def main(files: Iterable[str]) -> int:
    """Check the checkpoints of changed files. Returns 1 if one does not load or its weights files differ, else 0."""
    found = [sentence for folder in find_checkpoints(files) for sentence in check(folder)]
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
