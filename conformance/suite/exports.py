"""Compare an exported model with the float64 model on random ids of several shapes.

Shapes: B batch, C choices, S sequence.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from roberta_core.checkpoints.conversion import Opened
from roberta_core.config import RobertaConfig
from roberta_core.exports import ExportCheck, list_inputs

from ..adapters.port import Port
from ..oracle import Oracle
from ..oracle.rounding import MULTIPLE, expected_rounding
from .judge import compare_all, first_failure, worst

SHAPES = ((1, 1), (2, 7), (1, 64), (5, 33), (3, 511))  # [B, S], as far as the model has positions
CHOICES = 2


def judge_export(
    function: Callable[..., Mapping[str, Any]],
    opened: Opened,
    dtype: str,
    progress: Callable[[str], None] = lambda text: None,
    shortest: int = 1,
) -> Iterator[ExportCheck]:
    """Yield the comparison of each shape.

    Args:
        function: The exported model: arrays by name to outputs by name.
        opened: The checkpoint that it was exported from.
        dtype: The type in which it computes.
        progress: Called with a description of each step.
        shortest: The least tokens of a sequence that it accepts.
    """
    model = Oracle(opened.config, opened.architecture, opened.tensors)
    port = Port(lambda folder: function)
    for batch, length in choose_shapes(opened.config, shortest):
        inputs = make_inputs(opened.config, opened.architecture, batch, length)
        shape = str(tuple(inputs["input_ids"].shape))
        progress(f"compare {shape} with float64")
        want = {name: value for name, value in model.run(**inputs).items() if is_main(name)}
        expected = expected_rounding(model, inputs, want, dtype)
        got = port.run((function, opened.architecture, opened.config.num_hidden_layers), inputs, attentions=False)
        verdicts = compare_all(
            got, want, {name: MULTIPLE * error for name, error in expected.items()}, expected=expected
        )
        shown = first_failure(verdicts) or worst(verdicts)
        yield ExportCheck(shape, shown.max_rel, shown.expected or 0.0, shown.rtol, shown.complaint)


def choose_shapes(config: RobertaConfig, shortest: int = 1) -> list[tuple[int, int]]:
    """Return the shapes, with lengths that the model and the format accept."""
    longest = config.max_sequence_length
    return list(dict.fromkeys((batch, max(shortest, min(length, longest))) for batch, length in SHAPES))


def make_inputs(config: RobertaConfig, architecture: str, batch: int, length: int) -> dict[str, np.ndarray]:
    """Return random inputs [B, S], or [B, C, S]; every row but the first ends with padding."""
    shape = (batch, CHOICES, length) if architecture == "ForMultipleChoice" else (batch, length)
    generator = np.random.default_rng([batch, length])
    ids = generator.integers(0, config.vocab_size, shape)
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    mask = np.ones_like(ids)
    mask[1:, ..., (length + 1) // 2 :] = 0
    ids[mask == 0] = config.pad_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in list_inputs(config, architecture):
        inputs["token_type_ids"] = generator.integers(0, config.type_vocab_size, shape)
    return inputs


def is_main(stage: str) -> bool:
    """Return whether a stage is one of the main outputs, which exported models return."""
    return not stage.startswith(("hidden_states", "attentions", "past_key_values"))
