"""Compare checkpoints with each other: configuration, tokenizer, tensors, and outputs of the float64 model.

Shapes: B batch, S sequence.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import CheckpointError, formats, resolve
from roberta_core.checkpoints.conversion import Opened, compare_other_formats, open_checkpoint
from roberta_core.checkpoints.hub import CARRIED
from roberta_core.checkpoints.other_formats import list_formats
from roberta_core.config import CONFIG_NAME
from roberta_core.parameters import BASE_PREFIX
from roberta_core.tokenization import load_tokenizer

from ..oracle import run
from .judge import Verdict, compare_all, first_failure
from .run import TEXTS, encode

SAME = 1e-12  # of the float64 model's outputs: the same values may lie in another memory order
# Fields of config.json that do not change a model.
INFORMATIVE = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "model_type"}


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that differs between two checkpoints."""

    name: str
    problem: str  # what differs, in one clause
    max_abs: float = np.inf

    def __str__(self) -> str:
        return f"{self.name} {self.problem}"


@dataclass
class Comparison:
    """The differences of a checkpoint from the first one."""

    first: str
    other: str
    config: list[str] = field(default_factory=list)
    tokenizer: list[str] = field(default_factory=list)
    tensors: list[TensorDifference] = field(default_factory=list)
    compared: int = 0  # tensors
    outputs: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the two are the same model."""
        return not (self.config or self.tokenizer or self.tensors) and first_failure(self.outputs) is None

    @property
    def sentences(self) -> list[str]:
        """What differs, the first tensor first."""
        stage = first_failure(self.outputs)
        outputs = [f"the first stage that differs is {stage.complaint}"] if stage else []
        return [*self.config, *self.tokenizer, *map(str, self.tensors), *outputs]


def compare_checkpoints(
    sources: Sequence[str | os.PathLike[str]], texts: Sequence[str] = TEXTS, tolerance: float = 0.0
) -> list[Comparison]:
    """Compare checkpoints with the first one.

    Args:
        sources: Folders, weights files, embedded names or Hub ids. A single folder stands for each of its formats.
        texts: The texts for the tokenizer and the outputs.
        tolerance: The relative difference that a tensor and a stage may have.

    Raises:
        CheckpointError: If a checkpoint does not load, or there is nothing to compare.
    """
    with ExitStack() as stack:
        opened = {name: open_checkpoint(stack.enter_context(isolate(*place))) for name, place in find_sides(sources)}
        if len(opened) < 2:
            raise CheckpointError(
                f"{sources[0]} has weights in one format only, so there is nothing to compare them with; specify a "
                "second checkpoint"
            )
        (first, reference), *others = opened.items()
        return [compare_opened(first, reference, name, other, texts, tolerance) for name, other in others]


def find_sides(sources: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, tuple[Path, formats.Format]]]:
    """Yield the name, folder and format of each checkpoint."""
    seen: dict[str, int] = {}
    for source in sources:
        path = Path(source)
        if path.is_file():
            places = [(str(path), (path.parent, _format_of(path)))]
        else:
            folder = resolve(source)
            found = list_formats(folder)
            kinds = found if len(sources) == 1 else [formats.detect_format(folder)]
            places = [(f"{source}/{kind.file}" if len(kinds) > 1 else str(source), (folder, kind)) for kind in kinds]
        for name, place in places:
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f"{name} ({seen[name]})", place


def find_differing_weights(folder: Path) -> list[str]:
    """Return how the other weights files of a folder differ from the one that is loaded; nothing if they agree."""
    return compare_other_formats(open_checkpoint(folder))


@contextmanager
def isolate(folder: Path, kind: formats.Format) -> Iterator[Path]:
    """Link one format of a folder into a temporary folder: another format may take precedence in its own."""
    with tempfile.TemporaryDirectory() as temporary:
        for name in (CONFIG_NAME, *CARRIED, *formats.list_files(folder, kind)):
            if (folder / name).exists():
                (Path(temporary) / name).symlink_to((folder / name).resolve())
        yield Path(temporary)


def compare_opened(
    first: str, reference: Opened, name: str, other: Opened, texts: Sequence[str], tolerance: float
) -> Comparison:
    """Compare two opened checkpoints."""
    found = Comparison(first, name, _compare_config(reference, other))
    found.tensors, found.compared = _compare_tensors(reference, other, tolerance)
    if not texts:
        return found
    tokenizers = [_load_tokenizer(side.folder) for side in (reference, other)]
    if None not in tokenizers:
        found.tokenizer = _compare_tokenizers(tokenizers[0], tokenizers[1], texts)
    elif any(tokenizers):
        found.notes.append("the tokenizers were not compared: only one checkpoint has a tokenizer")
    if tokenizers[0] is None:
        found.notes.append(f"the outputs were not compared: {first} has no tokenizer")
    elif found.config or any(not np.isfinite(one.max_abs) for one in found.tensors):
        found.notes.append("the outputs were not compared: the two models have different shapes or settings")
    else:
        found.outputs = _compare_outputs(reference, other, tokenizers[0], texts, tolerance)
    return found


def _format_of(path: Path) -> formats.Format:
    """Return the format of a weights file, or of the index of its shards."""
    for kind in formats.FORMATS:
        if path.name in formats.list_entry_files(kind):
            return kind
    known = ", ".join(dict.fromkeys(kind.file for kind in formats.FORMATS))
    raise CheckpointError(f"{path} is not a weights file; the names are {known}")


def _load_tokenizer(folder: Path) -> Any:
    try:
        return load_tokenizer(folder)
    except FileNotFoundError:
        return None  # a checkpoint without a tokenizer is still compared


def _compare_config(reference: Opened, other: Opened) -> list[str]:
    one, two = reference.config.to_dict(), other.config.to_dict()
    names = [name for name in {**one, **two} if name not in INFORMATIVE]
    found = [
        f"config.{name} is {two.get(name)!r}, not {one.get(name)!r}" for name in names if one.get(name) != two.get(name)
    ]
    if reference.architecture != other.architecture:
        found.insert(0, f"the class is Roberta{other.architecture}, not Roberta{reference.architecture}")
    return found


def _compare_tokenizers(one: Any, two: Any, texts: Sequence[str]) -> list[str]:
    found = [text for text in texts if one(text)["input_ids"] != two(text)["input_ids"]]
    if not found:
        return []
    ids = two(found[0])["input_ids"], one(found[0])["input_ids"]
    return [
        f"the tokenizer gives other ids for {len(found)} of {len(texts)} texts: {found[0]!r} is {ids[0]}, not {ids[1]}"
    ]


def _compare_tensors(reference: Opened, other: Opened, tolerance: float) -> tuple[list[TensorDifference], int]:
    """Return the tensors that differ, in the order of the model, and the number of tensors that were compared."""
    absent = [{*side.report.missing} for side in (reference, other)]
    sides = [_by_body_name(side, missing) for side, missing in zip((reference, other), absent, strict=True)]
    found = []
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        one, two = sides[0].get(name), sides[1].get(name)
        if one is None or two is None:
            problem = "is not in the first checkpoint" if one is None else "is missing"
            found.append(TensorDifference(name, problem))
        elif (difference := _compare_tensor(name, one, two, sides[0], tolerance)) is not None:
            found.append(difference)
    return found, len({*sides[0], *sides[1]})


def _by_body_name(side: Opened, missing: set[str]) -> dict[str, np.ndarray]:
    return {name.removeprefix(BASE_PREFIX): value for name, value in side.tensors.items() if name not in missing}


def _compare_tensor(
    name: str, one: np.ndarray, two: np.ndarray, tensors: Mapping[str, np.ndarray], tolerance: float
) -> TensorDifference | None:
    if one.shape != two.shape:
        return TensorDifference(name, f"has the shape {list(two.shape)}, not {list(one.shape)}")
    first, second = one.astype(np.float64), two.astype(np.float64)
    if np.array_equal(first, second, equal_nan=True):
        return None
    differences = np.abs(first - second)
    max_abs = float(np.nanmax(differences, initial=0.0)) if np.isfinite(second).all() else np.inf
    if max_abs <= tolerance * float(np.abs(first).max(initial=0.0)):
        return None
    if not np.isfinite(second).all() and np.isfinite(first).all():
        return TensorDifference(name, "has values that are not finite")
    count = int((differences != 0).sum())
    hint = _find_cause(name, second, first, tensors)
    places = f"{count:,} of {first.size:,} values"
    return TensorDifference(name, f"differs by up to {max_abs:.3g} in {places}{hint}", max_abs)


def _find_cause(name: str, second: np.ndarray, first: np.ndarray, tensors: Mapping[str, np.ndarray]) -> str:
    """Return a suspicion: a transposed matrix, or the values of another tensor."""
    if first.ndim == 2 and first.shape[0] == first.shape[1] and np.array_equal(second, first.T):
        return " (it is transposed)"
    for other, value in tensors.items():
        if (
            other != name
            and value.shape == second.shape
            and value.size > 1
            and np.array_equal(value, second)
            and second.any()
        ):
            return f" (it has the values of {other})"
    return ""


def _compare_outputs(
    reference: Opened, other: Opened, tokenizer: Any, texts: Sequence[str], tolerance: float
) -> list[Verdict]:
    inputs = encode(tokenizer, list(texts), reference.config, reference.architecture)
    want, got = (run(side.config, side.architecture, side.tensors, inputs) for side in (reference, other))
    return compare_all(got, want, max(tolerance, SAME))
