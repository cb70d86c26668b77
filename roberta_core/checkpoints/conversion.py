"""From any format to any other: one tensor at a time, all or nothing."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from roberta_core.checkpoints import formats
from roberta_core.checkpoints.atomic import refuse_unfinished
from roberta_core.checkpoints.errors import CheckpointError, listed
from roberta_core.checkpoints.hub import CARRIED
from roberta_core.checkpoints.mapped import same_bits
from roberta_core.checkpoints.matching import match
from roberta_core.checkpoints.names import dialect, understand
from roberta_core.checkpoints.report import LoadReport
from roberta_core.config import RobertaConfig
from roberta_core.entry_points import load_entry_point
from roberta_core.parameters import ARCHITECTURES, draw, parameters

DTYPES = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}

VERIFIERS = "roberta.verifiers"  # the group of entry points

# Which class a file without one in its configuration is of: the first whose tensor it has.
SIGNS = {
    "classifier.out_proj.weight": "ForSequenceClassification",
    "classifier.weight": "ForTokenClassification",
    "qa_outputs.weight": "ForQuestionAnswering",
    "lm_head.dense.weight": "ForMaskedLM",
}


@dataclass(frozen=True)
class Opened:
    """A checkpoint whose tensors are known and not yet read."""

    folder: Path
    format: str
    files: list[str]  # of the weights, the index first
    dialect: str  # in which the file's keys are spelled: "pt", "tf", "flax", or "fairseq"
    config: RobertaConfig
    architecture: str
    tensors: Mapping[str, np.ndarray]  # published names; what the file does not give is drawn
    report: LoadReport


@dataclass(frozen=True)
class Summary:
    """What a conversion did."""

    source: Opened
    folder: Path
    format: str
    dtype: str
    cast: bool  # whether that is another than the source's
    tensors: int
    parameters: int
    bytes: int  # of the tensors
    not_finite: tuple[str, ...]  # tensors with NaN or infinity
    carried: tuple[str, ...]  # files that went along


@dataclass(frozen=True)
class Check:
    """What one implementation makes of a converted checkpoint: its error in parts of an output's largest value."""

    name: str
    error: float
    tolerance: float
    complaint: str | None


class Cast(Mapping[str, np.ndarray]):
    """Tensors in another dtype, converted when they are asked for."""

    def __init__(self, tensors: Mapping[str, np.ndarray], dtype: np.dtype[Any] | None):
        self.tensors, self.dtype = tensors, dtype

    def __getitem__(self, name: str) -> np.ndarray:
        array = self.tensors[name]
        with np.errstate(over="ignore"):  # infinities are counted and told
            return array if self.dtype is None else array.astype(self.dtype, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def open_checkpoint(folder: Path, architecture: str | None = None, seed: int = 0) -> Opened:
    """A checkpoint of any format as a class: that of its configuration, or of its tensors, or the one that is given.

    A head that the file does not have is drawn, as `report.sentences()` says. `CheckpointError` if it does not load.
    """
    refuse_unfinished(folder)
    config = RobertaConfig.from_pretrained(folder)
    kind = formats.find(folder)
    tensors, metadata = kind.read(folder), kind.metadata(folder)
    meanings = understand(tensors.keys(), metadata, config)
    known = {meaning.name: key for key, meaning in meanings.items() if meaning is not None}
    architecture = architecture or _class_of(config, {name: tensors[key].shape for name, key in known.items()})
    pooler = "pooler.dense.weight" in known if architecture == "Model" else None
    table = parameters(config, architecture, pooler)
    found, report = match(tensors, metadata, config, table, LoadReport(str(folder), architecture))
    problems = [*report.problems, *(f"{name} is {found}, expected {want}" for name, found, want in report.mismatched)]
    if problems:
        raise CheckpointError(f"{folder} does not load as Roberta{architecture}: {'; '.join(problems)}")
    found |= draw(config, architecture, seed, pooler, only=report.missing)
    spoken = dialect(tensors.keys(), metadata, config)
    name = next((row.name for row in formats.FORMATS if (row.file, row.dialect) == (kind.file, spoken)), kind.name)
    return Opened(
        folder=folder,
        format=name,
        files=formats.files(folder, kind),
        dialect="fairseq" if kind.name == "fairseq" else spoken,
        config=config,
        architecture=architecture,
        tensors={name: found[name] for name in table},
        report=report,
    )


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str,
    *,
    architecture: str | None = None,
    dtype: str | None = None,
    max_shard_size: int | str = "5GB",
    strict: bool = False,
    seed: int = 0,
) -> Summary:
    """Write the checkpoint in a folder into another folder, or beside itself, in the format `to`.

    Args:
        source: the checkpoint, in any format.
        target: where to; what is there stays valid until the new files are whole.
        to: the name of a format (`formats.FORMATS`).
        architecture: the class to write, such as "Model", if it is to be another.
        dtype: the numbers to write, of `DTYPES`; None keeps them.
        max_shard_size: as in `save`.
        strict: refuse tensors with NaN or infinity, also those that the dtype makes infinite.
        seed: of the head that the source does not have.

    Raises:
        CheckpointError: the source does not load, or the target cannot hold or be written.
        ValueError: a name or a size is none.
    """
    from roberta_core.checkpoints import save

    source, target = Path(source), Path(target)
    kind = formats.named(to)
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"{dtype!r} is no dtype to convert to; there are {', '.join(DTYPES)}")
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(f"{architecture!r} is not a RoBERTa class; there are {', '.join(ARCHITECTURES)}")
    opened = open_checkpoint(source, architecture, seed)
    tensors = Cast(opened.tensors, DTYPES[dtype] if dtype else None)
    not_finite = tuple(name for name in tensors if not finite(tensors[name]))
    if strict and not_finite:
        raise CheckpointError(f"{source} has numbers that are not finite, as {dtype or 'stored'}: {listed(not_finite)}")
    inside = target.exists() and source.samefile(target)
    carried = {} if inside else {name: (source / name).read_bytes() for name in CARRIED if (source / name).is_file()}
    save(
        target,
        opened.config,
        opened.architecture,
        tensors,
        max_shard_size=max_shard_size,
        format=kind.name,
        carried=carried,
        beside=inside and dtype is None and architecture is None,
    )
    arrays = list(opened.tensors.values())
    width = DTYPES[dtype].itemsize if dtype else None
    return Summary(
        source=opened,
        folder=target,
        format=kind.name,
        dtype=dtype or str(arrays[0].dtype),
        cast=dtype is not None,
        tensors=len(arrays),
        parameters=sum(array.size for array in arrays),
        bytes=sum(array.size * (width or array.itemsize) for array in arrays),
        not_finite=not_finite,
        carried=tuple(carried),
    )


def verifiers() -> Iterator[Callable[[Summary], Iterable[Check]]]:
    """What proves a conversion by running models: found by entry point, for the core has none."""
    for point in entry_points(group=VERIFIERS):
        yield load_entry_point(point)


def written(summary: Summary) -> dict[str, np.ndarray]:
    """What a conversion wrote, read back: published names, mapped."""
    kind = formats.named(summary.format)
    tensors, metadata = kind.read(summary.folder), kind.metadata(summary.folder)
    config, architecture = summary.source.config, summary.source.architecture
    pooler = any(name.endswith("pooler.dense.weight") for name in summary.source.tensors)
    report = LoadReport(str(summary.folder), architecture)
    return match(tensors, metadata, config, parameters(config, architecture, pooler), report)[0]


def differences(summary: Summary) -> list[str]:
    """Read back what was written and compare every tensor bit for bit with the source; the names that differ."""
    want, found = Cast(summary.source.tensors, DTYPES[summary.dtype] if summary.cast else None), written(summary)
    return [name for name in want if name not in found or not same_bits(found[name], want[name])]


def _class_of(config: RobertaConfig, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The class that the configuration names, else the one whose tensors are there (matrices maybe turned)."""
    named = (config.architectures or [""])[0]
    if architecture := next((name for name in ARCHITECTURES if named.endswith(name)), None):
        return architecture
    if 1 in shapes.get("classifier.weight", ()) and "pooler.dense.weight" in shapes:
        return "ForMultipleChoice"
    architecture = next((name for sign, name in SIGNS.items() if sign in shapes), "Model")
    return "ForCausalLM" if architecture == "ForMaskedLM" and config.is_decoder else architecture


def finite(array: np.ndarray) -> bool:
    """Whether every number is finite, a part at a time."""
    return all(bool(np.isfinite(array[i : i + 4096]).all()) for i in range(0, len(array), 4096))
