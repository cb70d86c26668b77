"""Training checkpoints, which belong to no framework: a folder `step-N` each.

model.safetensors and config.json are a checkpoint of the model like any other. optimizer.safetensors holds AdamW's two
moments under `first_moment.` and `second_moment.` before the published names, random.safetensors the random state of
the framework, and trainer.json the step, the state of the run, the recipe, and the sizes and checksums of the other
files. The folder is written under another name, synced, then renamed: it is there as a whole or not at all.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from roberta_core.safe_files import read_bytes

FOLDER = "step-{:07d}"
NAME = re.compile(r"step-(\d{7,})")
UNFINISHED = ".unfinished"  # the end of a folder's name while it is written or removed
TRAINER = "trainer.json"
RUN = "run.json"  # in the folder of a run that has begun
FORMAT = 1
CHUNK = 1 << 24  # bytes
FILES = ("model.safetensors", "optimizer.safetensors", "random.safetensors", "config.json")


class TrainingError(ValueError):
    """A run that cannot continue; the message gives the reason."""


@dataclass
class State:
    """The state of a trainer at a step: arrays by published names, and its framework's random state by its name."""

    tensors: Mapping[str, np.ndarray]
    first_moments: Mapping[str, np.ndarray]
    second_moments: Mapping[str, np.ndarray]
    steps: int
    random: Mapping[str, np.ndarray] = field(default_factory=dict)

    def check(self, names: Collection[str]) -> None:
        """Raise `ValueError` unless the state holds exactly the parameters of these names."""
        for tensors in (self.tensors, self.first_moments, self.second_moments):
            if set(tensors) != set(names):
                raise ValueError(f"the state and the model differ in {sorted(set(tensors) ^ set(names))}")


def save(folder: Path, state: State, config: Mapping[str, Any], notes: Mapping[str, Any], keep: int = 2) -> Path:
    """Save a state as `folder/step-N`, then remove all whole checkpoints but the last `keep`.

    Raises:
        TrainingError: the checkpoint cannot be saved; the older ones are untouched.
    """
    target = locate(folder, state.steps)
    try:
        _write(target, state, config, notes)
        for old in [path for path in _list_checkpoints(folder) if not describe_damage(path)][:-keep]:
            _remove(old)
    except (OSError, SafetensorError) as error:  # the library puts a full disk into an error of its own
        raise TrainingError(f"{target} could not be saved: {error}; the older ones are untouched") from error
    return target


def locate(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step."""
    return folder / FOLDER.format(step)


def find_newest(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a folder, or None."""
    return next((path for path in reversed(_list_checkpoints(folder)) if not describe_damage(path)), None)


def find_resumable(folder: Path) -> tuple[Path | None, list[str]]:
    """Find the checkpoint from which a run can resume.

    Returns:
        The newest whole checkpoint, or None if the run ended before its first; and a sentence for each newer one that
        is damaged.

    Raises:
        TrainingError: the folder holds no run, or checkpoints none of which is whole.
    """
    checkpoints = _list_checkpoints(folder)
    if not checkpoints:
        if (folder / RUN).is_file():
            return None, []
        state = "holds no training run" if folder.is_dir() else "does not exist"
        raise TrainingError(f"there is nothing to resume: {folder} {state}")
    damages: list[str] = []
    for path in reversed(checkpoints):
        if not (damage := describe_damage(path)):
            return path, damages
        damages.append(f"{path} is damaged: {damage}")
    raise TrainingError(f"there is no whole checkpoint to resume from: {'; '.join(damages)}")


def mark_begun(folder: Path, facts: Mapping[str, Any]) -> None:
    """Mark a folder as that of a run that has begun."""
    if not (folder / RUN).exists():
        write_json(folder / RUN, facts)


def write_json(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a small file as a whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)


def has_begun(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / RUN).is_file() or find_newest(folder) is not None


def load(path: Path) -> tuple[State, dict[str, Any]]:
    """Return the state of a checkpoint, and its notes.

    Raises:
        TrainingError: the checkpoint is damaged, or of another format.
    """
    try:
        notes = _read_notes(path)
        if notes["format"] != FORMAT:
            raise TrainingError(f"{path} is of format {notes['format']}; this version reads {FORMAT}")
        for name, expected in notes.get("checksums", {}).items():
            if _compute_checksum(path / name) != expected:
                raise TrainingError(f"{path} is damaged: the contents of {name} have changed since it was saved")
        moments = load_file(path / "optimizer.safetensors")
        state = State(
            tensors=load_file(path / "model.safetensors"),
            first_moments=_select_prefix(moments, "first_moment."),
            second_moments=_select_prefix(moments, "second_moment."),
            steps=int(notes["step"]),
            random=load_file(path / "random.safetensors"),
        )
    except TrainingError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path} is not a whole training checkpoint: {error}") from error
    return state, notes


def describe_damage(path: Path) -> str:
    """Return what a checkpoint lacks, judged by the names and sizes of its files; empty if it is whole."""
    try:
        sizes = dict.fromkeys(FILES) | dict(_read_notes(path)["sizes"])
    except OSError as error:
        return f"{TRAINER}: {error.strerror}"
    except (ValueError, KeyError, TypeError) as error:
        return f"{TRAINER} cannot be read: {error}"
    for name, size in sizes.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if (found := (path / name).stat().st_size) != size:
            return f"{name} has {found} bytes instead of {size}"
    return ""


def remove_unfinished(folder: Path) -> None:
    """Remove what killed runs left half-written or half-removed."""
    for path in folder.glob(f"*{UNFINISHED}"):
        shutil.rmtree(path)


def remove_all(folder: Path) -> None:
    """Remove the whole checkpoints of a run that is complete."""
    for path in _list_checkpoints(folder):
        if not describe_damage(path):
            _remove(path)


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
    mode = (draft / "config.json").stat().st_mode & 0o777  # by the umask; the library makes files private
    files = sorted(draft.iterdir())
    sizes = {path.name: path.stat().st_size for path in files}
    checksums = {path.name: _compute_checksum(path) for path in files}
    facts = {"format": FORMAT, "step": state.steps, **notes, "sizes": sizes, "checksums": checksums}
    (draft / TRAINER).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    for path in draft.iterdir():
        path.chmod(mode)
        _sync(path)
    _sync(draft)
    if target.exists():
        _remove(target)
    os.rename(draft, target)
    _sync(target.parent)


def _read_notes(path: Path) -> dict[str, Any]:
    try:
        notes = json.loads(read_bytes(path / TRAINER))
    except RecursionError:
        raise ValueError(f"{TRAINER} is nested too deeply") from None
    if not isinstance(notes, dict):
        raise ValueError(f"{TRAINER} holds a {type(notes).__name__}, not an object")
    return notes


def _compute_checksum(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _remove(path: Path) -> None:
    """Remove a checkpoint; half-removed it has another name, so that it is never taken for whole."""
    doomed = path.with_name(f"old-{path.name}{UNFINISHED}")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def _list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob("step-*") if NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def _select_prefix(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
