"""Export a checkpoint to the format of a runtime, with its tokenizer and settings, and compare the result with float64.

A package registers its formats as entry points of the group `roberta.exporters`, and the conformance suite registers
the comparison in the group `roberta.export_judges`: the core has neither models nor runtimes.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.backend import require
from roberta_core.checkpoints import CLASS_PREFIXES, CheckpointError, hub, resolve
from roberta_core.checkpoints.conversion import Cast, Opened, is_finite, open_checkpoint
from roberta_core.checkpoints.errors import join_names
from roberta_core.config import CONFIG_NAME, RobertaConfig
from roberta_core.entry_points import load_entry_point
from roberta_core.parameters import ARCHITECTURES, has_pooler
from roberta_core.sentences import find_encoder, read_modules, save_modules
from roberta_core.sentences.folders import MODULES, save_new_folder

EXPORTERS, JUDGES = "roberta.exporters", "roberta.export_judges"  # groups of entry points
WANTS = ("config", "weights", "carried", "tokenizer", "sentence")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")

Function = Callable[..., Mapping[str, Any]]  # gets arrays by the names of the inputs, and returns outputs by name


@dataclass(frozen=True)
class Exporter:
    """A format that checkpoints are exported to.

    Args:
        framework: The backend whose package writes it.
        file: The file or folder that it writes.
        write: Writes it into a folder: gets the checkpoint, the folder, the dtype and the type of ids.
        open: Returns the function of an exported folder.
        dtypes: The types in which the exported model may compute.
        ids: The types that its integer inputs may have, the default first.
        shortest: The least tokens of a sequence.
    """

    framework: str
    file: str
    write: Callable[[Opened, Path, str, str], None]
    open: Callable[[Path], Function]
    dtypes: tuple[str, ...] = ("float32",)
    ids: tuple[str, ...] = ("int64",)
    shortest: int = 1


@dataclass(frozen=True)
class ExportCheck:
    """The comparison of an exported model with float64 on inputs of one shape; the errors are of its worst output."""

    shape: str
    error: float
    expected: float  # the error that rounding alone causes
    tolerance: float
    complaint: str | None


@dataclass
class Export:
    """The result of an export."""

    source: str
    folder: Path
    format: str
    architecture: str
    dtype: str
    ids: str
    files: dict[str, int] = field(default_factory=dict)  # bytes of each file
    checks: list[ExportCheck] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@cache
def registered() -> dict[str, EntryPoint]:
    """Return the entry points of the formats by name, without loading one."""
    return {point.name: point for point in entry_points(group=EXPORTERS)}


def load_exporter(name: str) -> Exporter:
    """Return the exporter of a format.

    Raises:
        ValueError: There is no such format, or its framework is not installed.
    """
    if name not in registered():
        raise ValueError(f"{name!r} is not a format to export to; the formats are {', '.join(registered())}")
    framework = registered()[name].extras[0]
    require(framework)
    return load_entry_point(registered()[name])


def export(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str,
    *,
    architecture: str | None = None,
    dtype: str = "float32",
    ids: str | None = None,
    check: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> Export:
    """Export a checkpoint into a new folder, which appears when all its files are complete and have been checked.

    Args:
        source: A folder, an embedded name or a Hub id.
        target: A folder that does not exist or is empty.
        to: The format.
        architecture: The class; None means the checkpoint's own.
        dtype: The type in which the exported model computes.
        ids: The type of the integer inputs; None means the format's default.
        check: Whether to compare the exported model with the float64 model.
        progress: Called with a description of each step.

    Raises:
        ValueError: The format, the dtype or the class is not supported.
        CheckpointError: The checkpoint does not load, the folder cannot be written, or the exported model is wrong;
            then nothing is left of it.
    """
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(f"{architecture!r} is not a RoBERTa class; the classes are {', '.join(ARCHITECTURES)}")
    exporter = load_exporter(to)
    kind = ids or exporter.ids[0]
    for name, value, known in (("dtype", dtype, exporter.dtypes), ("ids", kind, exporter.ids)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; {to} supports {', '.join(known)}")
    outer = resolve(source, WANTS)
    opened = open_checkpoint(find_encoder(outer), architecture)
    refuse_unsupported(opened, dtype)
    opened = replace(opened, tensors=Cast(opened.tensors, np.dtype(np.float32)))
    result = Export(os.fspath(source), Path(target), to, opened.architecture, dtype, kind, remarks=describe(opened))

    def write(folder: Path) -> None:
        progress(f"write {exporter.file}")
        exporter.write(opened, folder, dtype, kind)
        write_settings(opened, folder, dtype)
        if check:
            result.checks = judge(exporter, opened, folder, dtype, progress)

    if (outer / MODULES).is_file():
        save_modules(target, read_modules(outer), opened.config.hidden_size, write)
    else:
        save_new_folder(target, write)
    result.files = {
        file.relative_to(target).as_posix(): file.stat().st_size
        for file in sorted(Path(target).rglob("*"))
        if file.is_file()
    }
    return result


def refuse_unsupported(opened: Opened, dtype: str) -> None:
    """Raise `CheckpointError` for a checkpoint that cannot be exported."""
    if opened.report.missing:
        raise CheckpointError(
            f"{opened.folder} lacks {join_names(opened.report.missing)}: train the head of "
            f"Roberta{opened.architecture} first, or export another class (--class)"
        )
    if opened.config.add_cross_attention:
        raise CheckpointError(
            f"{opened.folder} has cross-attention: an exported model has no input for an encoder's hidden states"
        )
    limit = float(np.finfo(np.float16).max) if dtype == "float16" else np.inf
    wrong = [name for name, array in opened.tensors.items() if not is_finite(array) or has_larger(array, limit)]
    if wrong:
        raise CheckpointError(f"{opened.folder} has values that are not finite in {dtype}: {join_names(wrong)}")


def has_larger(array: np.ndarray, limit: float) -> bool:
    """Return whether a value exceeds a limit."""
    return limit < np.inf and bool((np.abs(array) > limit).any())


def describe(opened: Opened) -> list[str]:
    """Return what a user should know about the exported model."""
    remarks = list(opened.remarks)
    if opened.architecture == "ForCausalLM":
        remarks.append(
            "The exported model has no key/value cache: each call computes the whole sequence, and `roberta generate` "
            "cannot use it."
        )
    return remarks


def write_settings(opened: Opened, folder: Path, dtype: str) -> None:
    """Write the configuration, with the labels and the class, and the files of the tokenizer."""
    config = RobertaConfig.from_dict(opened.config.to_dict())
    config.architectures = [CLASS_PREFIXES[config.model_type] + opened.architecture]
    config.dtype = "float16" if dtype == "float16" else "float32"
    (folder / CONFIG_NAME).write_text(config.to_json_string(), encoding="utf-8")
    for name, content in hub.read_inside(opened.folder, hub.CARRIED).items():
        (folder / name).write_bytes(content)


def judge(
    exporter: Exporter, opened: Opened, folder: Path, dtype: str, progress: Callable[[str], None]
) -> list[ExportCheck]:
    """Open an exported model and compare it with float64 by every registered judge.

    Raises:
        CheckpointError: An output is wrong.
    """
    checks: list[ExportCheck] = []
    for point in entry_points(group=JUDGES):
        compare: Callable[..., Iterable[ExportCheck]] = load_entry_point(point)
        for check in compare(exporter.open(folder), opened, dtype, progress, exporter.shortest):
            if check.complaint:
                raise CheckpointError(
                    f"the exported model is wrong at {check.shape}, so it was not kept: {check.complaint}"
                )
            checks.append(check)
    return checks


def keep_pooler(opened: Opened) -> dict[str, Any]:
    """Return the setting of a Model's constructor that gives it a pooler if the checkpoint has one."""
    return {"add_pooling_layer": has_pooler(opened.tensors)} if opened.architecture == "Model" else {}


def list_inputs(config: RobertaConfig, architecture: str) -> dict[str, tuple[str, ...]]:
    """Return the inputs of an exported model with their axes; token types only if there are several."""
    axes = ("batch", "choices", "sequence") if architecture == "ForMultipleChoice" else ("batch", "sequence")
    return dict.fromkeys(INPUTS if config.type_vocab_size > 1 else INPUTS[:2], axes)
