"""Comparing a configuration with the weights before anything is built, so that huge sizes cost nothing."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

LAYER = re.compile(r"\blayer[._/]+(\d{1,9})[./]")
# Up to these sizes a model can be built without a comparison.
COMMON_LAYERS, COMMON_LABELS, COMMON_PARAMETERS = 100, 10_000, 1_000_000_000
FACTOR = 4  # by which a model may be larger than its weights: a new head, a resized vocabulary


def has_uncommon_size(config: RobertaConfig) -> bool:
    """Return whether a configuration is so large that it must be compared with the weights."""
    layers, labels = config.num_hidden_layers, config.num_labels
    return layers > COMMON_LAYERS or labels > COMMON_LABELS or count_parameters(config) > COMMON_PARAMETERS


def check_sizes(folder: Path, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise `CheckpointError` if a model of this configuration would be far larger than the weights in a folder."""
    if not has_uncommon_size(config):
        return
    layers = 1 + max((int(match[1]) for name in tensors if (match := LAYER.search(name))), default=-1)
    if config.num_hidden_layers > max(layers, COMMON_LAYERS):
        raise CheckpointError(
            f"{folder}: num_hidden_layers is {config.num_hidden_layers}, but the weights have {layers} layers"
        )
    labels, rows = config.num_labels, {len(array) for array in map(tensors.__getitem__, tensors) if array.ndim}
    if labels > COMMON_LABELS and labels not in rows:
        raise CheckpointError(f"{folder}: num_labels is {labels}, but no tensor in the weights has {labels} rows")
    stored, described = sum(tensors[name].size for name in tensors), count_parameters(config)
    if described > max(FACTOR * stored, COMMON_PARAMETERS):
        raise CheckpointError(
            f"{folder}: the configuration describes {described:,} parameters, but the weights have {stored:,}"
        )


def count_parameters(config: RobertaConfig) -> int:
    """Return the number of parameters of a model with every head, without listing all its layers."""
    one = copy.copy(config)
    one.num_hidden_layers, one.pruned_heads, one.position_embedding_type = 0, {}, "absolute"
    without = sum(row.size for row in parameters(one, "ForMaskedLM").values())
    one.num_hidden_layers = 1
    layer = sum(row.size for row in parameters(one, "ForMaskedLM").values()) - without
    return without + config.num_hidden_layers * layer + config.num_labels * config.hidden_size
