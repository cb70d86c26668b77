"""Training checkpoints that belong to no framework: a folder `step-N` each.

model.safetensors and config.json are a checkpoint of the model like any other; optimizer.safetensors holds AdamW's two
moments under `first_moment.` and `second_moment.` before the published names; random.safetensors each framework's own
random state; trainer.json the step, the data's position, the recipe, and how long the other files are. The folder is
written under another name, synced, then renamed: there is a whole one or none.
"""

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

FOLDER = "step-{:07d}"
NAME = re.compile(r"step-(\d{7,})")
UNFINISHED = ".unfinished"  # the end of a folder's name while it is written or removed
TRAINER = "trainer.json"
FORMAT = 1


class TrainingError(ValueError):
    """A run that cannot go on, and why."""


@dataclass
class State:
    """What a trainer has at a step: arrays by published names, and its framework's random state by its name."""

    tensors: Mapping[str, np.ndarray]
    first_moments: Mapping[str, np.ndarray]
    second_moments: Mapping[str, np.ndarray]
    steps: int
    random: Mapping[str, np.ndarray] = field(default_factory=dict)

    def check(self, names: Collection[str]) -> None:
        """Raise `ValueError` unless it holds exactly the parameters of these names."""
        for what in (self.tensors, self.first_moments, self.second_moments):
            if set(what) != set(names):
                raise ValueError(f"the state and the model differ in {sorted(set(what) ^ set(names))}")


def save(folder: Path, state: State, config: Mapping[str, Any], notes: Mapping[str, Any], keep: int = 2) -> Path:
    """Save the state as `folder/step-N`, then remove all but the last `keep`. `TrainingError` if that fails."""
    target = folder / FOLDER.format(state.steps)
    try:
        _write(target, state, config, notes)
        for old in _list_checkpoints(folder)[:-keep]:
            _remove(old)
    except (OSError, SafetensorError) as error:  # the library puts a full disk into an error of its own
        raise TrainingError(f"{target} could not be saved: {error}; the older ones are untouched") from error
    return target


def find_newest(folder: Path) -> Path | None:
    """The newest whole checkpoint in a folder, or None; what killed runs left is passed over."""
    for path in reversed(_list_checkpoints(folder)):
        if _is_whole(path):
            return path
    return None


def load(path: Path) -> tuple[State, dict[str, Any]]:
    """The state of a checkpoint and its notes; `TrainingError` if it cannot be read."""
    try:
        notes = json.loads((path / TRAINER).read_text(encoding="utf-8"))
        if notes["format"] != FORMAT:
            raise TrainingError(f"{path} is of format {notes['format']}; this version reads {FORMAT}")
        moments = load_file(path / "optimizer.safetensors")
        state = State(
            tensors=load_file(path / "model.safetensors"),
            first_moments=_select_prefix(moments, "first_moment."),
            second_moments=_select_prefix(moments, "second_moment."),
            steps=notes["step"],
            random=load_file(path / "random.safetensors"),
        )
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise TrainingError(f"{path} is no whole training checkpoint: {error}") from error
    return state, notes


def remove_unfinished(folder: Path) -> None:
    """Remove what killed runs left half-written or half-removed."""
    for path in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(path)


def _write(target: Path, state: State, config: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    draft = target.with_name(target.name + UNFINISHED)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    moments = {f"first_moment.{name}": array for name, array in state.first_moments.items()}
    moments |= {f"second_moment.{name}": array for name, array in state.second_moments.items()}
    save_file(dict(state.tensors), draft / "model.safetensors", {"format": "pt"})
    save_file(moments, draft / "optimizer.safetensors")
    save_file(dict(state.random), draft / "random.safetensors")
    (draft / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(draft.iterdir())}
    text = json.dumps({"format": FORMAT, "step": state.steps, **notes, "sizes": sizes}, indent=1)
    (draft / TRAINER).write_text(text + "\n", encoding="utf-8")
    for path in [*draft.iterdir(), draft]:
        _sync(path)
    if target.exists():
        _remove(target)
    os.rename(draft, target)
    _sync(target.parent)


def _remove(path: Path) -> None:
    """Remove a checkpoint so that a half-removed one is never taken for whole."""
    doomed = path.with_name(f"old-{path.name}{UNFINISHED}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def _list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _is_whole(path: Path) -> bool:
    try:
        sizes = json.loads((path / TRAINER).read_text(encoding="utf-8"))["sizes"]
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def _select_prefix(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
