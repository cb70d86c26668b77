"""Sizes rounded up to a few, so that XLA, which compiles for fixed sizes, compiles seldom.

Axes: B batch, C choices, R rows (B, or B*C), S sequence, P cached keys, T keys (P and S), E an encoder's keys.
A compilation takes about a second at the size of roberta-base. What rounding adds is never attended (`masks.NEVER`) and
is cut off the outputs again, so that the results are those of the caller's sizes.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from roberta_core.data.streams import SIZES
from roberta_core.input_validation import BY_TOKEN
from roberta_core.outputs import KeyValueCache, ModelOutput
from roberta_flax.losses import IGNORED
from roberta_flax.masks import NEVER

LENGTHS = (16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)  # above: multiples of 128

# The axes of each output; "." stands for one that never grows, L for the labels of a sequence.
AXES = {
    "loss": "BL",
    "last_hidden_state": "RS.",
    "pooler_output": "R.",
    "hidden_states": "RS.",
    "attentions": "R.ST",
    "cross_attentions": "R.SE",
    "start_logits": "BS",
    "end_logits": "BS",
}
CACHE = ("B.P.", "B.P.", "B.E.", "B.E.")
PRESENT = ("R.T.", "R.T.", "R.E.", "R.E.")

Growth = Mapping[str, tuple[int, int]]  # by axis, what is added before and after


class Sizes(NamedTuple):
    """The sizes of a call."""

    batch: int
    choices: int
    length: int
    past: int
    states: int


def round_up(size: int, steps: tuple[int, ...], multiple: int) -> int:
    """The next of `steps` or, beyond them, the next multiple."""
    return next((step for step in steps if step >= size), -(-size // multiple) * multiple)


def measure(model: Any, inputs: Mapping[str, Any]) -> tuple[Sizes, Sizes]:
    """The sizes that the caller gave, and those rounded up."""
    embeds = "inputs_embeds" in inputs
    batch, *choices, length = inputs["inputs_embeds"].shape[:-1] if embeds else inputs["input_ids"].shape
    cache, states, mask = (inputs.get(name) for name in ("past_key_values", "encoder_hidden_states", "attention_mask"))
    past = cache.layers[0][0].shape[2] if cache else 0
    sizes = Sizes(batch, choices[0] if choices else 1, length, past, 0 if states is None else states.shape[1])
    longer = round_up(length, LENGTHS, 128)
    if embeds:  # their positions count through, and must not run out
        longer = max(length, min(longer, model.config.max_sequence_length - past))
    # The cache, or such a mask, shows which past tokens are real.
    real = cache.real if cache else None
    counted = past and (real is not None or mask is None or mask.ndim == 2)
    return sizes, Sizes(
        batch if "labels" in inputs else round_up(batch, SIZES, SIZES[-1]),  # a loss is a mean over all rows
        sizes.choices,
        longer,
        round_up(past, LENGTHS, 128) if counted else past,
        round_up(sizes.states, LENGTHS, 128) if sizes.states else 0,
    )


def pad_inputs(model: Any, inputs: Mapping[str, Any], sizes: Sizes, larger: Sizes) -> dict[str, Any]:
    """The inputs with the larger sizes: cached keys grow at the front, all else at the end."""
    batch, _, length, past, states = (large - size for large, size in zip(larger, sizes, strict=True))
    growth = {"B": (0, batch), "S": (0, length), "P": (past, 0), "T": (past, length), "E": (0, states)}
    rows, pad = "BC" if model.architecture == "ForMultipleChoice" else "B", model.config.pad_token_id
    made = dict(inputs)
    for name, axes, fill in (
        ("input_ids", f"{rows}S", pad),
        ("position_ids", f"{rows}S", pad),
        ("token_type_ids", f"{rows}S", 0),
        ("inputs_embeds", f"{rows}S.", 0),
        ("encoder_hidden_states", "BE.", 0),
        ("labels", "BS" if model.architecture in BY_TOKEN else "", IGNORED),
        ("label_weights", "BS" if model.architecture in BY_TOKEN else "", 0),
    ):
        if name in inputs:
            shared = inputs[name].shape[0] != sizes.batch  # one row for the whole batch
            made[name] = _pad(inputs[name], axes[shared:].rjust(len(axes), "."), growth, fill)
    for name, keys, count in (
        ("attention_mask", "T", sizes.past + sizes.length),
        ("encoder_attention_mask", "E", sizes.states),
    ):
        if count:
            mask = inputs.get(name, np.ones((*sizes[: len(rows)], count), np.int8))
            axes = rows + ("", keys, f"S{keys}", f".S{keys}")[mask.ndim - len(rows)]
            mask = _pad(mask, axes, {axis: growth[axis] for axis in "BS"}, 1)
            made[name] = _pad(mask, axes, {keys: growth[keys]}, NEVER)
    cache = inputs.get("past_key_values")
    if cache is not None:
        change = partial(_pad, growth=growth, fill=0)
        made["past_key_values"] = cache._replace(
            layers=_map_layers(change, cache.layers, CACHE),
            real=None if cache.real is None else change(cache.real, "B."),
        )
    return made


def crop_output(model: Any, output: ModelOutput, sizes: Sizes, larger: Sizes) -> ModelOutput:
    """The output without what rounding added."""
    front = larger.past - sizes.past
    kept = {
        "B": slice(0, sizes.batch),
        "R": slice(0, sizes.batch * sizes.choices),
        "S": slice(0, sizes.length),
        "L": slice(0, sizes.length - (model.architecture == "ForCausalLM")),
        "T": slice(front, front + sizes.past + sizes.length),
        "E": slice(0, sizes.states),
    }

    def one(value: Any, axes: str) -> Any:
        whole = [slice(0, size) for size in value.shape]
        index = [kept.get(axis, all) for axis, all in zip(axes, whole, strict=False)]
        return value if index == whole[: len(index)] else value[tuple(index)]

    axes = {**AXES, "logits": "BS" if model.architecture in BY_TOKEN else "B"}
    fields = {
        name: jax.tree.map(lambda part: one(part, axes[name]), value)  # noqa: B023  # used at once
        for name, value in output.items()
        if name != "past_key_values"
    }
    if "past_key_values" in output:
        cache = output["past_key_values"]
        fields["past_key_values"] = KeyValueCache(_map_layers(one, cache, PRESENT), one(cache.real, "B."))
    return type(output)(fields)


def _pad(value: Any, axes: str, growth: Growth, fill: int) -> Any:
    widths = [growth.get(axis, (0, 0)) for axis in axes]
    if not any(map(any, widths)):
        return value
    return (np if isinstance(value, np.ndarray) else jnp).pad(value, widths, constant_values=fill)


def _map_layers(change: Any, layers: Any, axes: tuple[str, ...]) -> tuple[tuple[Any, ...], ...]:
    """Change every tensor of a cache, each with its axes."""
    return tuple(tuple(map(change, layer, axes)) for layer in layers)
