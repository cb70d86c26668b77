"""Conversion of a checkpoint from any format to any other: one tensor at a time, all or nothing."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from roberta_core.checkpoints import formats
from roberta_core.checkpoints.consistency import read_consistently
from roberta_core.checkpoints.errors import CheckpointError, join_names
from roberta_core.checkpoints.hub import CARRIED, read_inside
from roberta_core.checkpoints.mapped import has_same_bits
from roberta_core.checkpoints.matching import match
from roberta_core.checkpoints.names import detect_dialect, interpret_keys
from roberta_core.checkpoints.other_formats import find_differing_formats
from roberta_core.checkpoints.report import LoadReport
from roberta_core.checkpoints.sizes import check_sizes
from roberta_core.config import RobertaConfig
from roberta_core.entry_points import load_entry_point
from roberta_core.parameters import ARCHITECTURES, draw, parameters

DTYPES = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}

VERIFIERS = "roberta.verifiers"  # group of entry points

# The class of a file whose configuration names none: the first whose tensor it has.
SIGNS = {
    "classifier.out_proj.weight": "ForSequenceClassification",
    "classifier.weight": "ForTokenClassification",
    "qa_outputs.weight": "ForQuestionAnswering",
    "lm_head.dense.weight": "ForMaskedLM",
}


MODEL_CLASS = re.compile(r"(TF|Flax)?(Roberta|Camembert|XLMRoberta)Model")


@dataclass(frozen=True)
class Opened:
    """A checkpoint whose tensors are mapped but not read."""

    folder: Path
    format: str
    files: list[str]  # the weights files, the index first
    dialect: str  # of the file's keys: "pt", "tf", "flax", or "fairseq"
    config: RobertaConfig
    architecture: str
    tensors: Mapping[str, np.ndarray]  # by published names; those that the file lacks are drawn
    report: LoadReport

    @property
    def remarks(self) -> tuple[str, ...]:
        """The sentences of the report, and those on parts of the file that the class does not have."""
        return (*self.report.sentences(), *self.report.describe_unused())


@dataclass(frozen=True)
class Summary:
    """The result of a conversion."""

    source: Opened
    folder: Path
    format: str
    dtype: str
    cast: bool  # whether it differs from the source's
    tensors: int
    parameters: int
    bytes: int  # size of the tensors
    not_finite: tuple[str, ...]  # tensors with NaN or infinity
    carried: tuple[str, ...]  # files that were copied, such as the tokenizer's


@dataclass(frozen=True)
class Check:
    """The check of a converted checkpoint with one implementation; the error is relative to the largest output."""

    name: str
    error: float
    tolerance: float
    complaint: str | None


class Cast(Mapping[str, np.ndarray]):
    """Tensors in another dtype, converted on access."""

    def __init__(self, tensors: Mapping[str, np.ndarray], dtype: np.dtype[Any] | None):
        self.tensors, self.dtype = tensors, dtype

    def __getitem__(self, name: str) -> np.ndarray:
        array = self.tensors[name]
        with np.errstate(over="ignore"):  # infinities are counted and reported
            return array if self.dtype is None else array.astype(self.dtype, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def open_checkpoint(folder: Path, architecture: str | None = None, seed: int = 0, strip_prefix: str = "") -> Opened:
    """Open a checkpoint of any format.

    Args:
        folder: The checkpoint.
        architecture: The class; None means that of the configuration, else the one that its tensors indicate.
        seed: Seed of a head that the file does not have, which `report.sentences()` reports.
        strip_prefix: What to remove from the keys of the file that begin with it; "encoder." or "decoder." selects a
            half of an encoder-decoder.

    Raises:
        CheckpointError: The checkpoint does not load.
    """
    return read_consistently(folder, lambda: _open(folder, architecture, seed, strip_prefix))


def _open(folder: Path, architecture: str | None, seed: int, strip_prefix: str) -> Opened:
    config = RobertaConfig.from_pretrained(folder, strip_prefix=strip_prefix)
    kind, tensors, metadata = formats.read_weights(folder, strip_prefix)
    check_sizes(folder, config, tensors)
    meanings = interpret_keys(tensors.keys(), metadata, config)
    known = {meaning.name: key for key, meaning in meanings.items() if meaning is not None}
    architecture = architecture or _find_class(config, {name: tensors[key].shape for name, key in known.items()})
    pooler = "pooler.dense.weight" in known if architecture == "Model" else None
    table = parameters(config, architecture, pooler)
    found, report = match(tensors, metadata, config, table, LoadReport(str(folder), architecture))
    problems = list(report.problems)
    if report.mismatched:
        shapes = [f"{name} is {list(shape)}, expected {list(want)}" for name, shape, want in report.mismatched]
        problems.append(f"shapes differ: {join_names(shapes)}")
    if problems:
        raise CheckpointError(f"{folder} does not load as Roberta{architecture}: {'; '.join(problems)}")
    differing = find_differing_formats(folder, config, table, found, exhaustive=False)
    report = replace(report, differing=tuple(differing))
    found |= draw(config, architecture, seed, pooler, only=report.missing)
    spoken = detect_dialect(tensors.keys(), metadata, config)
    name = next((row.name for row in formats.FORMATS if (row.file, row.dialect) == (kind.file, spoken)), kind.name)
    return Opened(
        folder=folder,
        format=name,
        files=formats.list_files(folder, kind),
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
    strip_prefix: str = "",
) -> Summary:
    """Write the checkpoint in a folder to another folder, or to the same one, in the format `to`.

    Args:
        source: The checkpoint, in any format.
        target: The folder to write; its files stay valid until the new ones are complete.
        to: The name of a format (`formats.FORMATS`).
        architecture: The class to write, such as "Model"; None keeps the source's.
        dtype: A name in `DTYPES`; None keeps the source's.
        max_shard_size: As in `save`.
        strict: Whether to refuse tensors with NaN or infinity, including values that overflow in `dtype`.
        seed: Seed of a head that the source does not have.
        strip_prefix: As in `open_checkpoint`.

    Raises:
        CheckpointError: The source does not load, or the target cannot be written.
        ValueError: A name or a size does not exist.
    """
    from roberta_core.checkpoints import save

    source, target = Path(source), Path(target)
    kind = formats.get_format(to)
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"{dtype!r} is not a dtype to convert to; the dtypes are {', '.join(DTYPES)}")
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ValueError(f"{architecture!r} is not a RoBERTa class; the classes are {', '.join(ARCHITECTURES)}")
    opened = open_checkpoint(source, architecture, seed, strip_prefix)
    tensors = Cast(opened.tensors, DTYPES[dtype] if dtype else None)
    not_finite = tuple(name for name in tensors if not is_finite(tensors[name]))
    if strict and not_finite:
        names = join_names(not_finite)
        raise CheckpointError(f"{source} has values that are not finite in {dtype or 'the stored dtype'}: {names}")
    inside = target.exists() and source.samefile(target)
    carried = {} if inside else read_inside(source, CARRIED)
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


def compare_other_formats(opened: Opened) -> list[str]:
    """Describe how weights in other formats in the folder of a checkpoint differ, after comparing every value."""
    loaded = {name: opened.tensors[name] for name in opened.report.loaded}
    pooler = any(name.endswith("pooler.dense.weight") for name in opened.tensors)
    table = parameters(opened.config, opened.architecture, pooler)
    return find_differing_formats(opened.folder, opened.config, table, loaded, exhaustive=True)


def load_verifiers() -> Iterator[Callable[[Summary], Iterable[Check]]]:
    """Yield the functions that check a conversion by running models; found by entry point, as the core has none."""
    for point in entry_points(group=VERIFIERS):
        yield load_entry_point(point)


def read_result(summary: Summary) -> dict[str, np.ndarray]:
    """Return the tensors that a conversion wrote, by published names, mapped."""
    kind = formats.get_format(summary.format)
    tensors, metadata = kind.read(summary.folder), kind.metadata(summary.folder)
    config, architecture = summary.source.config, summary.source.architecture
    pooler = any(name.endswith("pooler.dense.weight") for name in summary.source.tensors)
    report = LoadReport(str(summary.folder), architecture)
    return match(tensors, metadata, config, parameters(config, architecture, pooler), report)[0]


def compare_result(summary: Summary) -> list[str]:
    """Compare every written tensor bit for bit with the source; return the names that differ."""
    want, found = Cast(summary.source.tensors, DTYPES[summary.dtype] if summary.cast else None), read_result(summary)
    return [name for name in want if name not in found or not has_same_bits(found[name], want[name])]


def _find_class(config: RobertaConfig, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the class that the configuration names, else the one whose tensors exist (in any layout)."""
    named = (config.architectures or [""])[0]
    for architecture in ARCHITECTURES:
        bare = architecture == "Model"  # an unknown class, such as RobertaLMHeadModel, may end with "Model" too
        if MODEL_CLASS.fullmatch(named) if bare else named.endswith(architecture):
            return architecture
    if 1 in shapes.get("classifier.weight", ()) and "pooler.dense.weight" in shapes:
        return "ForMultipleChoice"
    architecture = next((name for sign, name in SIGNS.items() if sign in shapes), "Model")
    return "ForCausalLM" if architecture == "ForMaskedLM" and config.is_decoder else architecture


def is_finite(array: np.ndarray) -> bool:
    """Return whether every number is finite, checking parts of the array one after another."""
    return all(bool(np.isfinite(array[i : i + 4096]).all()) for i in range(0, len(array), 4096))
