"""The report on a load: every tensor of the file and of the model accounted for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from roberta_core.checkpoints.errors import join_names
from roberta_core.interface import choose_advice

Shape = tuple[int, ...]

# The outputs that depend on a part of the model outside the encoder.
OUTPUTS = {
    "lm_head": "logits",
    "classifier": "logits",
    "qa_outputs": "start_logits and end_logits",
    "pooler": "pooler_output",
    "crossattention": "all outputs",
}
POOLED = {"ForMultipleChoice": "logits"}  # the outputs that depend on the pooler in these classes

# The class that keeps a part; that of a classifier depends on its tensors.
KEPT_BY = {"lm_head": "ForMaskedLM", "qa_outputs": "ForQuestionAnswering", "pooler": "Model"}


class Mismatch(NamedTuple):
    """A tensor whose shape in the file differs from that of the configuration."""

    name: str
    found: Shape
    expected: Shape


class Pair(NamedTuple):
    """Two keys of a file that mean one tensor of the model: the one that is used and the other."""

    used: str
    ignored: str


class Renamed(NamedTuple):
    """A tensor that has another name in the file: an old name, or the second name of a tied tensor."""

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
    unused: tuple[str, ...] = ()  # known tensors that the class does not have: a pooler, a language-model head
    buffers: tuple[str, ...] = ()  # position_ids and the like, which are computed
    problems: tuple[str, ...] = field(default=(), compare=False)  # why the file does not load
    differing: tuple[str, ...] = field(default=(), compare=False)  # how weights in other formats in the folder differ
    own: tuple[str, ...] = ()  # the tensors of the model that a user's class adds to the published ones
    class_name: str = ""  # of a user's class

    @property
    def title(self) -> str:
        """The name of the class."""
        return self.class_name or f"Roberta{self.architecture}"

    @property
    def new(self) -> tuple[str, ...]:
        """The tensors of the model that are not in the file: the caller initialises them."""
        return (*self.missing, *(mismatch.name for mismatch in self.mismatched))

    def sentences(self) -> tuple[str, ...]:
        """Return one message for everything that a user must know; harmless keys are not mentioned."""
        texts = [*self._describe_new(), *self._describe_mismatched(), *self._describe_unexpected()]
        return (*(f"{self.source}: {text}" for text in texts), *self.differing)

    def as_dict(self) -> dict[str, list[Any]]:
        """Return the published form, which `output_loading_info=True` gives."""
        return {
            "missing_keys": list(self.missing),
            "unexpected_keys": [*self.unexpected, *self.unused],
            "mismatched_keys": [tuple(mismatch) for mismatch in self.mismatched],
            "error_msgs": list(self.problems),
        }

    def describe_unused(self) -> Iterator[str]:
        """Yield a sentence for each part of the file that the class does not have: a pooler, a language-model head."""
        parts: dict[str | None, list[str]] = {}
        for key in self.unused:
            parts.setdefault(find_part(key.replace("/", ".")), []).append(key)
        for part, names in parts.items():
            kept = KEPT_BY.get(part or "", "")
            if part == "classifier":
                dense = any("dense" in name for name in names)
                kept = "ForSequenceClassification" if dense else ""  # a tagger's and a chooser's have the same names
            sentence = f"{self.source}: omitted, because Roberta{self.architecture} has no {part}: {join_names(names)}"
            if kept:
                sentence += choose_advice(
                    python=f"; Roberta{kept} keeps it", command=f"; `roberta convert --class {kept}` keeps it"
                )
            yield sentence

    def _describe_new(self) -> Iterator[str]:
        added: dict[str, list[str]] = {}
        for name in self.missing:
            if name in self.own:
                added.setdefault(name.rpartition(".")[0] or name, []).append(name)
        for part, names in added.items():
            yield f"{part} was newly initialised ({join_names(names)}): train the model before using it"
        for part, names in group_by_part(name for name in self.missing if name not in self.own).items():
            outputs = POOLED.get(self.architecture, OUTPUTS[part]) if part == "pooler" else OUTPUTS[part]
            yield f"{part} was newly initialised ({join_names(names)}): train the model before using {outputs}"

    def _describe_mismatched(self) -> Iterator[str]:
        if self.mismatched:
            texts = [f"{name} is {list(found)} in the file, not {list(want)}" for name, found, want in self.mismatched]
            yield f"{join_names(texts)}; newly initialised: train the model before using it"

    def _describe_unexpected(self) -> Iterator[str]:
        if self.unexpected:
            yield f"skipped tensors that {self.title} does not have: {join_names(self.unexpected)}"
        for pair in self.conflicting:
            yield f"{pair.used} and {pair.ignored} are one tensor of the model but differ; used the first"


def find_part(name: str) -> str | None:
    """Return the part outside the encoder that a tensor belongs to; None for the encoder itself."""
    pieces = name.removeprefix("roberta.").split(".")
    return next((part for part in OUTPUTS if part in (pieces[0], *pieces[3:4])), None)


def group_by_part(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names outside the encoder by their part."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(find_part(name) or "", []).append(name)
    return groups
