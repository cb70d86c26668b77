"""Distributed training with the script of docs/training.md."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


@pytest.fixture(scope="module")
def script():
    (found,) = re.findall(r"```python\n(# several\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return found


@pytest.fixture(scope="module")
def place(steps, tmp_path_factory):
    """Return a folder for the script with a prepared corpus."""
    folder = tmp_path_factory.mktemp("several")
    for name in ("tokenizer", "texts"):
        (folder / name).mkdir()
    made = steps.write_texts(folder / "tokenizer", dropout=0.0, steps=12)
    for path in made.glob("[0-9].txt"):
        shutil.move(path, folder / "texts")
    shutil.move(made / "recipe.toml", folder)
    arguments = ["--texts", str(folder / "texts" / "*.txt"), "--tokenizer", str(made), "--prepare"]
    recipe, output = str(folder / "recipe.toml"), str(folder / "run")
    steps.run_command(["pretrain", *arguments, "--recipe", recipe, "--output", output])
    return folder


def trained(folder: Path, script: str, processes: int) -> dict[str, np.ndarray]:
    """Run the script as torchrun does and return the saved model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen([sys.executable, "-c", script], cwd=folder, env={**os.environ, **place, "RANK": str(rank)})
        for rank in range(processes)
    ]
    assert [process.wait() for process in started] == [0] * processes
    return load_file(folder / "run" / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def difference(place, script):
    """Return `difference(line, other)`: difference of the models of one and two processes with a line replaced."""
    one = trained(place, script, 1)

    def of(line="", other=""):
        assert line in script
        two = trained(place, script.replace(line, other), 2)
        return max(float(np.abs(two[name] - one[name]).max()) for name in one)

    return of


def test_processes_that_share_batches_train_the_model_of_one(difference):
    assert difference() < 1e-5  # measured: 1.2e-7


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("shard=(rank, parts)", "shard=(0, parts)"),  # 5e-2
        ("share.copy_(labels / total)", "share.fill_(1 / parts)"),  # 5e-3, because of a mean of means
    ],
)
def test_a_fault_of_the_script_is_seen(difference, line, other):
    assert difference(line, other) > 1e-4
