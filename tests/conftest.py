import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference checkpoints and data, which is not part of the project."""
    folder = Path(os.environ.get("ROBERTA_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "fixtures").is_dir():
        pytest.skip(f"no reference files in {folder}; ROBERTA_SHARED names another folder")
    return folder
