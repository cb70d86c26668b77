"""Editors show the declared types in the three frameworks."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FRAMEWORKS = ("torch", "tensorflow", "jax", "flax")


def run_pyright(*files: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent.parent)


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in (*FRAMEWORKS, "pyright")),
    reason="pyright resolves the types of the three frameworks",
)
def test_the_types_that_an_editor_shows_are_those_declared(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text((HERE / "revealed_types.py").read_text().replace("logits, torch.Tensor | None", "logits, int"))
    ended = run_pyright(HERE / "revealed_types.py", wrong)
    lines = [line for line in ended.stdout.splitlines() if " - error" in line]
    assert len(lines) == 1, ended.stdout
    assert 'expected "int" but received "Tensor | None"' in lines[0]
