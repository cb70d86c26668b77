"""Changes that make a fault: of the configuration, the weights, the inputs or the float64 model.

Shapes: B batch, S sequence, T cached length, N heads, H head, L layers.
"""

import fnmatch
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, WORD_TABLE, Kind

from ..oracle import Oracle
from ..suite.case import draw_weight
from ..suite.subject import Subject

DECODER = "lm_head.decoder.weight"


Change = Callable[[Subject], Subject | None]  # None if it changes nothing


# Configuration --------------------------------------------------------------------------------------------------------


def set_config(**fields: Any) -> Change:
    """Set fields of the configuration."""

    def change(subject: Subject) -> Subject | None:
        config = RobertaConfig.from_dict({**subject.config.to_dict(), **fields})
        return None if config == subject.config else replace(subject, config=config)

    return change


def apply_if(condition: Callable[[Subject], bool], change: Change) -> Change:
    """Apply a change only to subjects that meet a condition."""
    return lambda subject: change(subject) if condition(subject) else None


# Weights --------------------------------------------------------------------------------------------------------------


def change_weights(pattern: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change the tensors whose name, without its prefix, matches a pattern."""

    def changed(subject: Subject) -> Subject | None:
        names = [name for name in subject.tensors if fnmatch.fnmatchcase(name.removeprefix(BASE_PREFIX), pattern)]
        new = {name: np.ascontiguousarray(change(subject.tensors[name])) for name in names}
        return replace(subject, tensors={**subject.tensors, **new}) if new else None

    return changed


def swap_tensors(one: str, other: str) -> Change:
    """Swap each tensor that has `one` in its name with the tensor that has `other` instead."""

    def change(subject: Subject) -> Subject | None:
        new = {}
        for name, tensor in subject.tensors.items():
            partner = name.replace(one, other)
            if partner != name and partner in subject.tensors:
                new |= {name: subject.tensors[partner], partner: tensor}
        return replace(subject, tensors={**subject.tensors, **new}) if new else None

    return change


def untie_head(subject: Subject) -> Subject | None:
    """Give a tied model a separate decoder matrix."""
    if "lm_head.bias" not in subject.tensors or not subject.config.tie_word_embeddings:
        return None
    shape = (subject.config.vocab_size, subject.config.hidden_size)
    decoder = draw_weight({"seed": 0, "spread": 0.5}, DECODER, Kind.PROJECTION, shape)
    config = RobertaConfig.from_dict({**subject.config.to_dict(), "tie_word_embeddings": False})
    return replace(subject, config=config, tensors={**subject.tensors, DECODER: decoder})


def tie_head(subject: Subject) -> Subject | None:
    """Use the word embeddings as the decoder matrix of an untied model."""
    if DECODER not in subject.tensors:
        return None
    return replace(subject, tensors={**subject.tensors, DECODER: subject.tensors[BASE_PREFIX + WORD_TABLE]})


# Inputs ---------------------------------------------------------------------------------------------------------------


def drop_input(name: str) -> Change:
    """Ignore an argument."""

    def change(subject: Subject) -> Subject | None:
        if name not in subject.inputs:
            return None
        return replace(subject, inputs={key: value for key, value in subject.inputs.items() if key != name})

    return change


def change_input(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change an argument."""

    def changed(subject: Subject) -> Subject | None:
        if name not in subject.inputs:
            return None
        return replace(subject, inputs={**subject.inputs, name: np.ascontiguousarray(change(subject.inputs[name]))})

    return changed


def change_positions(change: Callable[[np.ndarray, Any], np.ndarray]) -> Change:
    """Set position ids other than those that follow from input_ids.

    Args:
        change: Takes whether each token is real, and the number of cached tokens, for each row if an earlier call read
            them; returns positions minus pad_token_id.
    """

    def changed(subject: Subject) -> Subject | None:
        given, config = subject.inputs, subject.config
        if "position_ids" in given or "input_ids" not in given:
            return None
        cached = given["past_key_values"].shape[4] if "past_key_values" in given else 0
        if "earlier_input_ids" in given:
            cached = (given["earlier_input_ids"] != config.pad_token_id).sum(axis=1, keepdims=True)
        position_ids = change(given["input_ids"] != config.pad_token_id, cached) + config.pad_token_id
        inside = np.clip(position_ids, 0, config.max_position_embeddings - 1)
        return replace(subject, inputs={**given, "position_ids": inside})

    return changed


def count_cached_by_mask(subject: Subject) -> Subject | None:
    """Continue positions after the cached tokens that attention_mask shows, instead of those that are not padding."""
    given = subject.inputs
    if "earlier_input_ids" not in given or "attention_mask" not in given:
        return None
    shown = given["attention_mask"][:, : given["earlier_input_ids"].shape[1]].sum(axis=1, keepdims=True)
    return change_positions(lambda real, _: (np.cumsum(real, axis=1) + shown) * real)(subject)


def replace_model(model: type[Oracle]) -> Change:
    """Replace the float64 model by one that does one step wrong."""
    return lambda subject: replace(subject, model=model)
