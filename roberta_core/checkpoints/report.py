"""What became of every tensor of a file and of a model, and how it is said."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from roberta_core.checkpoints.errors import listed

Shape = tuple[int, ...]

# The outputs that rest on a part of the model outside the encoder.
OUTPUTS = {
    "lm_head": "logits",
    "classifier": "logits",
    "qa_outputs": "start_logits and end_logits",
    "pooler": "pooler_output",
    "crossattention": "all outputs",
}
POOLED = {"ForMultipleChoice": "logits"}  # what rests on the pooler there


class Mismatch(NamedTuple):
    """A tensor whose shape in the file is not the one that the configuration asks for."""

    name: str
    found: Shape
    expected: Shape


class Pair(NamedTuple):
    """Two keys of a file that stand for one tensor of the model: the one that counts and the other."""

    used: str
    ignored: str


class Renamed(NamedTuple):
    """A tensor that the file has under another name: an old spelling, or the second name of a tied tensor."""

    key: str
    name: str


@dataclass(frozen=True)
class LoadReport:
    """Every tensor of a file and of a model, accounted for.

    `loaded`, `missing` and the names in `mismatched` are published names of the model; the others are keys of the file.
    """

    source: str
    architecture: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[Mismatch, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    duplicate: tuple[Pair, ...] = ()  # both have the same bits
    conflicting: tuple[Pair, ...] = ()
    unused: tuple[str, ...] = ()  # known tensors that the class has no place for: a pooler, a language-model head
    buffers: tuple[str, ...] = ()  # position_ids and the like, which are computed
    problems: tuple[str, ...] = field(default=(), compare=False)  # why the model cannot be built from the file

    @property
    def new(self) -> tuple[str, ...]:
        """The tensors of the model that the file does not give: the caller draws them."""
        return (*self.missing, *(mismatch.name for mismatch in self.mismatched))

    def sentences(self) -> tuple[str, ...]:
        """What a user must know, a sentence each; empty if all is well. Harmless keys are not mentioned."""
        return tuple(f"{self.source}: {text}" for text in [*self._new(), *self._mismatched(), *self._left_over()])

    def as_dict(self) -> dict[str, list[Any]]:
        """The published form, returned for `output_loading_info=True`."""
        return {
            "missing_keys": list(self.missing),
            "unexpected_keys": [*self.unexpected, *self.unused],
            "mismatched_keys": [tuple(mismatch) for mismatch in self.mismatched],
            "error_msgs": list(self.problems),
        }

    def _new(self) -> Iterator[str]:
        for part, names in grouped(self.missing).items():
            outputs = POOLED.get(self.architecture, OUTPUTS[part]) if part == "pooler" else OUTPUTS[part]
            yield f"{part} is new and starts random ({listed(names)}), so {outputs} mean nothing until it is trained"

    def _mismatched(self) -> Iterator[str]:
        if self.mismatched:
            texts = [f"{name} is {list(found)} in the file, not {list(want)}" for name, found, want in self.mismatched]
            yield f"{listed(texts)}; each of these starts random and means nothing until it is trained"

    def _left_over(self) -> Iterator[str]:
        if self.unexpected:
            yield f"Roberta{self.architecture} has no place for {listed(self.unexpected)}, left out"
        for pair in self.conflicting:
            yield f"{pair.used} and {pair.ignored} are one tensor of the model but differ; the first is used"


def part_of(name: str) -> str | None:
    """The part outside the encoder that a tensor belongs to; None for the encoder itself."""
    pieces = name.removeprefix("roberta.").split(".")
    return next((part for part in OUTPUTS if part in (pieces[0], *pieces[3:4])), None)


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of parts outside the encoder by their part."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(part_of(name) or "", []).append(name)
    return groups
