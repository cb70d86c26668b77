"""Finished blocks of a prediction command in a folder beside its output, from which a rerun continues."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from roberta_core import __version__
from roberta_core.checkpoints.atomic import transaction
from roberta_core.data.sources import File, RemoteFile, compute_version, find_compression, find_suffix, locate, upload
from roberta_core.pipelines import base
from roberta_core.pipelines.base import RowError
from roberta_core.safe_files import create_text, hold_lock, read_json_object

MANIFEST = "manifest.json"


class BlockFolder:
    """A folder `OUTPUT.blocks` with a file for each finished block, and a manifest of what the blocks depend on.

    The folder of a local output is next to it; that of an output in an object store is in the working directory. Files
    are written under a temporary name and renamed, so each is complete.

    Args:
        output: the file that the command writes.
        settings: what the results depend on, by name; values that JSON can hold.

    Raises:
        ValueError: the folder has blocks of a run with other settings.
    """

    def __init__(self, output: File, settings: Mapping[str, Any]):
        self.output, self.folder = output, locate_blocks(output)
        self.settings: dict[str, Any] = {}
        self._found: dict[str, Any] = {}
        if any(self.folder.glob("block-*.jsonl")):
            self._found = read_json_object(self.folder / MANIFEST)
        self._budget: int | None = self._found.get("budget")
        self.add_settings(settings)

    def add_settings(self, settings: Mapping[str, Any]) -> None:
        """Add what the results depend on; raise `ValueError` if the folder has blocks of a run with other values."""
        given, found = json.loads(json.dumps(settings)), self._found.get("settings", {})
        names = [name for name in given if self._found and found.get(name) != given[name]]
        if names:
            raise ValueError(
                f"{self.folder} has finished blocks of a run with other values of {', '.join(names)}: remove the "
                "folder to start again, or specify another --output"
            )
        self.settings |= given

    @property
    def budget(self) -> int | None:
        """The measured tokens per batch, which a rerun must not measure again; None if they are not known yet."""
        return self._budget

    @budget.setter
    def budget(self, budget: int) -> None:
        self._budget = budget
        self._write_manifest()

    def read(self, number: int, count: int) -> list[Any] | None:
        """Return the results of a block of `count` rows; None if it has to be computed."""
        try:
            lines = (self.folder / _name_block(number)).read_text(encoding="utf-8").splitlines()
            results = [_decode(json.loads(line)) for line in lines]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError):  # the file was changed after it was written
            return None
        return results if len(results) == count else None

    def write(self, number: int, results: Sequence[Any]) -> None:
        """Keep the results of a block."""
        self._save(_name_block(number), "".join(json.dumps(_encode(result)) + "\n" for result in results))

    @contextmanager
    def open_output(self) -> Iterator[TextIO]:
        """Create the folder, and open a file in it; at the end it becomes the output and the folder is removed."""
        self.folder.mkdir(exist_ok=True)
        temporary = self.folder / "output"
        with create_text(temporary, "a", newline="") as stream:
            hold_lock(
                stream, f"another command is writing {self.output}: wait until it ends, or specify another --output"
            )
            stream.truncate(0)
            self._write_manifest()
            yield stream
        if isinstance(self.output, RemoteFile):
            upload(temporary, self.output)
        else:
            os.replace(temporary, self.output)
        shutil.rmtree(self.folder)

    def _write_manifest(self) -> None:
        content = {"settings": self.settings, "budget": self._budget}
        self._save(MANIFEST, json.dumps(content, indent=1) + "\n")

    def _save(self, name: str, text: str) -> None:
        with transaction(self.folder) as files:
            files.write(name, text.encode())


def locate_blocks(output: File) -> Path:
    """Return the folder of the blocks of an output."""
    return (Path.cwd() if isinstance(output, RemoteFile) else output.parent) / f"{output.name}.blocks"


def describe_run(model: str, names: Sequence[str], output: File) -> dict[str, Any]:
    """Return what results depend on besides the options: the program, the content of the model and of the input."""
    files = list(map(locate, names))
    remote = {"--output": output.url} if isinstance(output, RemoteFile) else {}  # its folder does not tell
    return {
        **remote,
        "the version of triberta": __version__,
        "the model": compute_model_digest(model, output),
        "the content of the input": list(map(compute_version, files)),
        "the suffix of the input": [(find_suffix(file), find_compression(file)) for file in files],
        "the rows of a block": base.WINDOW,
    }


def compute_model_digest(model: str, output: File) -> str:
    """Return one digest of the names and contents of all files of a model, except what the command writes."""
    from roberta_core.checkpoints import resolve
    from roberta_core.pipelines import WANTS

    folder = resolve(model, WANTS)
    own = {output, locate_blocks(output)}
    found = (path for path in folder.rglob("*") if path.is_file())
    files = sorted(path for path in found if not own & {path.resolve(), *path.resolve().parents})
    lines = [(str(file.relative_to(folder)), compute_version(file)) for file in files]
    return hashlib.sha256(repr(lines).encode()).hexdigest()


def _name_block(number: int) -> str:
    return f"block-{number:08}.jsonl"


def _encode(result: Any) -> dict[str, Any]:
    if isinstance(result, RowError):
        return {"error": result.reason}
    if isinstance(result, np.ndarray):
        return {"array": result.tolist(), "dtype": result.dtype.name}
    return {"result": result}


def _decode(line: dict[str, Any]) -> Any:
    if "error" in line:
        return RowError(line["error"])
    if "array" in line:
        return np.array(line["array"], line["dtype"])
    return line["result"]
