"""Suggest why an implementation differs: the known faults are hypotheses, and one that explains every stage is named.

A fault explains an implementation if a float64 model with that fault gives the same stages, within the tolerance of
rounding. Several faults may explain it equally well, and if none does, the cause is unknown.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.tokenization import load_tokenizer

from ..adapters import Adapter
from ..adapters.oracle import Reference
from ..oracle import Stages
from ..oracle.rounding import MULTIPLE, expected_rounding
from ..suite.judge import compare_all, first_failure
from ..suite.run import encode
from ..suite.subject import Subject
from . import models
from .changes import Change, change_weights, replace_model, swap_tensors
from .forward import FAULTS, NORMS, SQUARE, TENSORS

REPEATED = 1e-4  # the largest relative difference between two runs of one implementation
RANDOM = "dropout active (two runs on the same texts differ)"
SHARE = 2.0  # faults whose largest ratio is up to this many times the best one explain it equally well
LAYER = re.compile(r"(?:attentions|cross_attentions)\.(\d+)|hidden_states\.(\d+)|past_key_values\.(\d+)")


@dataclass(frozen=True)
class Diagnosis:
    """The faults that explain an implementation, the best first; none if the cause is unknown."""

    stage: str  # the first that differs
    causes: tuple[str, ...]
    hypotheses: int

    def __str__(self) -> str:
        if not self.causes:
            return f"cause unknown: none of {self.hypotheses} known faults gives these stages"
        return f"looks like: {' or '.join(self.causes)}"


class Hypotheses:
    """The known faults on one subject; the stages of each are computed once, on first use."""

    def __init__(self, subject: Subject):
        self.subject, self.right = subject, dict(subject.run())
        model = subject.model(subject.config, subject.architecture, subject.tensors)
        self.expected = expected_rounding(model, subject.inputs, self.right, "float32")
        self.found: dict[str, Stages | None] = {}

    def diagnose(self, got: Mapping[str, np.ndarray]) -> Diagnosis | None:
        """Find the faults that explain the stages of an implementation; see the function `diagnose`."""
        limits = {name: MULTIPLE * error for name, error in self.expected.items()}
        known = {name: value for name, value in self.right.items() if name in got}
        first = first_failure(compare_all(got, known, limits)) if known else None
        if first is None:
            return None
        found, count = {}, 0
        for name, change in list_hypotheses(first.stage):
            ratio = self.measure(self.run(name, change), got)
            count += ratio is not None
            if ratio is not None and ratio <= MULTIPLE:
                found[name] = ratio
        best = max(min(found.values(), default=0.0), 1.0)
        causes = sorted((name for name in found if found[name] <= SHARE * best), key=found.__getitem__)
        return Diagnosis(first.stage, tuple(causes), count)

    def run(self, name: str, change: Change) -> Stages | None:
        """Return the stages of a fault, or None if it changes nothing here or cannot be applied to this class."""
        if name not in self.found:
            changed = change(self.subject)
            try:
                self.found[name] = None if changed is None else dict(changed.run())
            except (ValueError, IndexError, KeyError):
                self.found[name] = None
        return self.found[name]

    def measure(self, stages: Stages | None, got: Mapping[str, np.ndarray]) -> float | None:
        """Return the largest difference of some stages from those of a fault, divided by the expected rounding."""
        known = {name: value for name, value in (stages or {}).items() if name in got and name in self.expected}
        if not known:
            return None
        verdicts = compare_all({name: got[name] for name in known}, known, 0.0, expected=self.expected)
        return max(verdict.ratio or 0.0 for verdict in verdicts)


def diagnose(subject: Subject, got: Mapping[str, np.ndarray]) -> Diagnosis | None:
    """Find the faults that explain the stages of an implementation.

    Args:
        subject: The model and its inputs, without a fault.
        got: The stages of the implementation, or some of them.

    Returns:
        The diagnosis, or None if every stage is within the tolerance.
    """
    return Hypotheses(subject).diagnose(got)


def diagnose_checkpoint(adapter: Adapter, source: str | os.PathLike[str], texts: Sequence[str]) -> str:
    """Describe why an implementation differs on a checkpoint; the two shortest texts are run again."""
    subject = load_subject(source, texts)
    loaded = adapter.load(subject.architecture, source)
    got, again = (adapter.run(loaded, subject.inputs, attentions=True) for _ in range(2))
    if varies(got, again):
        return f"looks like: {RANDOM}"
    found = diagnose(subject, got)
    return str(found) if found else "cause unknown: the two shortest texts do not show the difference"


def load_subject(source: str | os.PathLike[str], texts: Sequence[str]) -> Subject:
    """Return a checkpoint as the class that it was saved from, with the two shortest texts as inputs."""
    architecture = open_checkpoint(resolve(source)).architecture
    model = Reference().load(architecture, source)
    inputs = encode(load_tokenizer(source), sorted(texts, key=len)[:2], model.config, architecture)
    return Subject(model.config, architecture, model.tensors, inputs)


def run_stages(subject: Subject, adapter: Adapter) -> Stages:
    """Run a faulty subject: in a framework if it can, else in NumPy in float32."""
    if subject.portable:
        model = adapter.build(subject.architecture, subject.config, subject.tensors)
        return adapter.run(model, subject.inputs, attentions=True)
    single = type("Single", (subject.model,), {"dtype": np.float32})
    return replace(subject, model=single).run()


def varies(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Return whether two runs on the same inputs differ by more than the order of summation may cause."""
    verdicts = compare_all(other, one, REPEATED)
    return any(REPEATED < verdict.max_rel < np.inf for verdict in verdicts)  # not merely values that are not finite


def list_hypotheses(stage: str) -> Iterator[tuple[str, Change]]:
    """Yield the faults of the suite, then those of the single layer in which a stage is computed."""
    yield from FAULTS.items()
    match = LAYER.match(stage)
    if match is None:
        return
    attention, hidden, cached = match.groups()
    number = int(attention or cached or 0) if hidden is None else int(hidden) - 1
    if number >= 0:
        yield from list_layer_faults(number)


def list_layer_faults(number: int) -> Iterator[tuple[str, Change]]:
    """Yield the faults of a single layer."""
    layer = f"encoder.layer.{number}."
    for one, other in (("query", "key"), ("key", "value"), ("query", "value")):
        change = swap_tensors(f"{layer}attention.self.{one}", f"{layer}attention.self.{other}")
        yield f"{one} and {other} swapped in layer {number}", change
    for name in TENSORS:
        if not name.startswith("encoder.layer.*."):
            continue
        place = name.replace("encoder.layer.*.", layer)
        if name in SQUARE:
            yield f"{place} transposed", change_weights(place, np.transpose)
        if name.endswith(".bias"):
            yield f"{place} dropped", change_weights(place, np.zeros_like)
        if name.removesuffix(".weight") in NORMS:
            yield f"{place} dropped", change_weights(place, np.ones_like)
            path = place.removesuffix(".weight")
            yield f"BERT's eps (1e-12) in {path}", replace_model(models.with_eps_of_bert(path))
