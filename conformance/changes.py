"""What a planted fault changes in a case: its configuration, its weights, its inputs or the model itself.

Shapes: B batch, S sequence, T cached length, N heads, H head, L layers.
"""

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.case import Case, draw_weight
from conformance.oracle import Oracle, Stages
from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, WORD_TABLE, Kind

DECODER = "lm_head.decoder.weight"


@dataclass(frozen=True)
class Subject:
    """What is run: a case as it stands, or with a fault in it."""

    config: RobertaConfig
    architecture: str
    tensors: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]
    model: type[Oracle] = Oracle

    @classmethod
    def of(cls, case: Case) -> "Subject":
        """A case as it stands."""
        return cls(case.configuration, case.architecture, case.tensors, case.arrays)

    def run(self) -> Stages:
        """Every stage."""
        return self.model(self.config, self.architecture, self.tensors).run(**self.inputs)

    @property
    def portable(self) -> bool:
        """Whether any implementation can be given it, the fault not being in the model's code."""
        return self.model is Oracle


Change = Callable[[Subject], Subject | None]  # None where there is nothing to change


# Changes of the configuration ----------------------------------------------------------------------------------------


def configured(**fields: Any) -> Change:
    """Another value of some fields."""

    def change(subject: Subject) -> Subject | None:
        config = RobertaConfig.from_dict({**subject.config.to_dict(), **fields})
        return None if config == subject.config else replace(subject, config=config)

    return change


def only_if(condition: Callable[[Subject], bool], change: Change) -> Change:
    """A change of some subjects only."""
    return lambda subject: change(subject) if condition(subject) else None


# Changes of the weights ----------------------------------------------------------------------------------------------


def weights(pattern: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A change of the tensors whose name in the body matches."""

    def changed(subject: Subject) -> Subject | None:
        names = [name for name in subject.tensors if fnmatch.fnmatchcase(name.removeprefix(BASE_PREFIX), pattern)]
        new = {name: np.ascontiguousarray(change(subject.tensors[name])) for name in names}
        return replace(subject, tensors={**subject.tensors, **new}) if new else None

    return changed


def swapped(one: str, other: str) -> Change:
    """Each tensor with `one` in its name exchanged for that with `other` there."""

    def change(subject: Subject) -> Subject | None:
        new = {}
        for name, tensor in subject.tensors.items():
            twin = name.replace(one, other)
            if twin != name and twin in subject.tensors:
                new |= {name: subject.tensors[twin], twin: tensor}
        return replace(subject, tensors={**subject.tensors, **new}) if new else None

    return change


def untied(subject: Subject) -> Subject | None:
    """A decoder matrix of its own in a model that is tied."""
    if "lm_head.bias" not in subject.tensors or not subject.config.tie_word_embeddings:
        return None
    shape = (subject.config.vocab_size, subject.config.hidden_size)
    decoder = draw_weight({"seed": 0, "spread": 0.5}, DECODER, Kind.PROJECTION, shape)
    config = RobertaConfig.from_dict({**subject.config.to_dict(), "tie_word_embeddings": False})
    return replace(subject, config=config, tensors={**subject.tensors, DECODER: decoder})


def tied(subject: Subject) -> Subject | None:
    """The word embeddings as the decoder in a model that is not tied."""
    if DECODER not in subject.tensors:
        return None
    return replace(subject, tensors={**subject.tensors, DECODER: subject.tensors[BASE_PREFIX + WORD_TABLE]})


# Changes of the inputs -----------------------------------------------------------------------------------------------


def without(name: str) -> Change:
    """An argument ignored."""

    def change(subject: Subject) -> Subject | None:
        if name not in subject.inputs:
            return None
        return replace(subject, inputs={key: value for key, value in subject.inputs.items() if key != name})

    return change


def inputs(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """An argument changed."""

    def changed(subject: Subject) -> Subject | None:
        if name not in subject.inputs:
            return None
        return replace(subject, inputs={**subject.inputs, name: np.ascontiguousarray(change(subject.inputs[name]))})

    return changed


def positions(change: Callable[[np.ndarray, int], np.ndarray]) -> Change:
    """Other positions than those that follow from ids.

    The change gets whether each token is real, and how many are cached; it gives positions less the pad's.
    """

    def changed(subject: Subject) -> Subject | None:
        given, config = subject.inputs, subject.config
        if "position_ids" in given or "input_ids" not in given:
            return None
        cached = given["past_key_values"].shape[4] if "past_key_values" in given else 0
        position_ids = change(given["input_ids"] != config.pad_token_id, cached) + config.pad_token_id
        inside = np.clip(position_ids, 0, config.max_position_embeddings - 1)
        return replace(subject, inputs={**given, "position_ids": inside})

    return changed


def modelled(model: type[Oracle]) -> Change:
    """A float64 model that does one step wrong."""
    return lambda subject: replace(subject, model=model)
