"""Weights in several formats in one folder: whether the others agree with those that are loaded.

One format is loaded and the others are ignored, so a folder whose files differ gives another model than its owner may
expect. Loading compares what is cheap to read: names, shapes, biases and norms in full, and two corners of each matrix.
Training changes all of a matrix, so only a change of single values escapes; `roberta info` compares every value.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import formats
from roberta_core.checkpoints.matching import match
from roberta_core.checkpoints.report import LoadReport
from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, Parameter

CORNER = 16  # rows and columns that are compared at the start and the end of a matrix when it is loaded
BLOCK = 4096  # rows that are compared at a time


def find_differing_formats(
    folder: Path,
    config: RobertaConfig,
    table: Mapping[str, Parameter],
    loaded: Mapping[str, np.ndarray],
    *,
    exhaustive: bool,
) -> list[str]:
    """Describe how weights in other formats differ from those that are loaded; one sentence for each file.

    Args:
        folder: The checkpoint.
        config: The configuration of the model.
        table: The tensors of the model.
        loaded: The tensors that were loaded.
        exhaustive: Whether to compare every value; otherwise only two corners of each matrix, up to the first tensor
            that differs.
    """
    used, *others = list_formats(folder)
    sentences = []
    for other in others:
        path, used_path = find_entry_file(folder, other), find_entry_file(folder, used)
        try:
            report = LoadReport(str(folder), "")
            found, report = match(other.read(folder), other.metadata(folder), config, table, report)
            shapes = {one.name: one.found for one in report.mismatched}
            differences = _list_differences(loaded, found, shapes, exhaustive)
            first = next(differences, None)
            if first is not None:
                more = sum(1 for _ in differences) if exhaustive else 0
                end = f" ({more} more)" if more else ""
                sentences.append(f"{path} differs from {used_path}, which is loaded: {first}{end}")
        except (OSError, ValueError) as error:  # it is not the file that is loaded
            sentences.append(f"{path} cannot be compared with {used_path}, which is loaded: {error}")
    return sentences


def list_formats(folder: Path) -> list[formats.Format]:
    """Return the formats whose weights a folder has, the one that is loaded first; one for each file."""
    found = {kind.file: kind for kind in reversed(formats.FORMATS) if formats.has_format(folder, kind)}
    return sorted(found.values(), key=formats.FORMATS.index)


def find_entry_file(folder: Path, kind: formats.Format) -> Path:
    """Return the weights file of a format in a folder, or the index of its shards."""
    return next(path for name in formats.list_entry_files(kind) if (path := folder / name).exists())


def _list_differences(
    loaded: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    exhaustive: bool,
) -> Iterator[str]:
    """Yield a clause for each tensor that differs."""
    for name, want in loaded.items():
        short = name.removeprefix(BASE_PREFIX)
        if name in shapes:
            yield f"{short} has shape {list(shapes[name])}, not {list(want.shape)}"
        elif name not in found:
            yield f"{short} is missing"
        elif (difference := _compare_values(want, found[name], exhaustive)) is not None:
            yield f"{short} {difference}"
    for name in found:
        if name not in loaded:
            yield f"{name.removeprefix(BASE_PREFIX)} is only there"


def _compare_values(want: np.ndarray, found: np.ndarray, exhaustive: bool) -> str | None:
    """Describe how the values of two tensors differ; of two types, as the one with fewer digits."""
    coarse = min(want.dtype, found.dtype, key=lambda kind: kind.itemsize)
    count, largest = 0, 0.0
    for part in _select_parts(want, exhaustive):
        with np.errstate(over="ignore"):
            one, two = (array[part].astype(coarse).astype(np.float64) for array in (want, found))
        differ = ~((one == two) | (np.isnan(one) & np.isnan(two)))
        if differ.any():
            count += int(differ.sum())
            with np.errstate(invalid="ignore"):
                largest = max(largest, float(np.nan_to_num(np.abs(one - two)[differ], nan=np.inf).max()))
    if not count:
        return None
    if not np.isfinite(largest):
        return "has values that are not finite"
    if exhaustive or want.ndim < 2:
        return f"differs by up to {largest:.2g} in {count} of {want.size} values"
    return f"differs by {largest:.2g} or more"


def _select_parts(array: np.ndarray, exhaustive: bool) -> Iterator[Any]:
    """Yield the parts to compare: blocks of rows, or two corners, which are quick to read in any memory order."""
    if exhaustive or array.ndim < 2:
        yield from (slice(start, start + BLOCK) for start in range(0, len(array), BLOCK))
    else:
        yield np.s_[:CORNER, :CORNER]
        yield np.s_[-CORNER:, -CORNER:]
