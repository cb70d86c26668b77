"""Validation of a model's inputs: one error message for each mistake, the same in every framework.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
A framework passes NumPy arrays where the host can read the values, else its own tensors, of which only the shape is
checked. A size that is not known yet (None, or symbolic) matches any size. docs/numerics.md describes what happens to
invalid values that the host cannot read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig

# The configuration field with the size of the table that each kind of id indexes.
TABLES = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size", "position_ids": "max_position_embeddings"}
# The configuration field with the number of classes of a model class's labels.
CLASSES = {"ForCausalLM": "vocab_size", "ForMaskedLM": "vocab_size", "ForTokenClassification": "num_labels"}
# Model classes with a label for each token; the others have one for each row of ids.
BY_TOKEN = ("ForCausalLM", "ForMaskedLM", "ForTokenClassification")
TARGETS = ("labels", "start_positions", "end_positions")
AXES = {"input_ids": ("batch", "sequence"), "inputs_embeds": ("batch", "sequence", "hidden")}


def check_inputs(
    config: RobertaConfig, inputs: Mapping[str, Any], past_length: Any = 0, key_length: int | None = None
) -> None:
    """Check the inputs of a forward pass.

    Args:
        config: The configuration of the model.
        inputs: The arguments of Model by name: input_ids, token_type_ids, position_ids [B, S], inputs_embeds
            [B, S, D], attention_mask [B, T], [B, S, T] or [B, 1, S, T], head_mask [N] or [L, N],
            encoder_hidden_states [B, E, D], encoder_attention_mask [B, E], past_key_values as one tuple per layer.
            None counts as absent.
        past_length: The number of cached tokens.
        key_length: The length T of a cache of fixed size.

    Raises:
        ValueError: An input has the wrong shape, type or value; the message names argument, value and limit.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    for name in [name for name, value in given.items() if isinstance(value, (str, bytes))]:
        raise ValueError(f"{name} is a {type(given[name]).__name__}; it must be an array")
    if ("input_ids" in given) == ("inputs_embeds" in given):
        got = "both" if "input_ids" in given else "neither"
        raise ValueError(f"Specify exactly one of input_ids and inputs_embeds; got {got}.")
    _check_shapes(config, given, past_length, key_length)
    for name in TABLES:
        if isinstance(given.get(name), np.ndarray):
            check_ids(config, name, given[name])
    if "position_ids" not in given:
        _check_length(config, given, past_length)
    if "encoder_hidden_states" in given and not config.add_cross_attention:
        raise ValueError("encoder_hidden_states requires cross-attention: is_decoder=True and add_cross_attention=True")
    if "encoder_attention_mask" in given and "encoder_hidden_states" not in given:
        raise ValueError("encoder_attention_mask requires encoder_hidden_states.")
    if "past_key_values" in given:
        _check_cache(config, given)


def check_ids(config: RobertaConfig, name: str, ids: np.ndarray) -> None:
    """Raise `ValueError` unless all ids are integers inside their table."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} has dtype {ids.dtype}; ids must be integers")
    if not ids.size:
        return
    low, high, limit = int(ids.min()), int(ids.max()), getattr(config, TABLES[name])
    if low < 0 or high >= limit:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} contains {wrong}, but {TABLES[name]} is {limit} (valid ids are 0 to {limit - 1})")


def check_choices(name: str, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a multiple-choice input has its three axes [B, C, S]."""
    if len(shape) < 3:
        raise ValueError(f"{name} has shape {list(shape)}; multiple choice requires [batch, choices, sequence]")


def _check_shapes(config: RobertaConfig, given: Mapping[str, Any], past_length: Any, key_length: int | None) -> None:
    name = "input_ids" if "input_ids" in given else "inputs_embeds"
    shape, axes = tuple(given[name].shape), AXES[name]
    if len(shape) != len(axes):
        raise ValueError(f"{name} has shape {list(shape)}; it must be [{', '.join(axes)}]")
    batch, length = shape[:2]
    keys = key_length
    if keys is None and isinstance(length, int):
        keys = length + past_length
    if name == "inputs_embeds":
        _expect(name, shape, ((batch, length, config.hidden_size),))
    for name in ("token_type_ids", "position_ids"):
        if name in given:
            _expect(name, given[name].shape, ((batch, length), (1, length)))
    if "attention_mask" in given:
        masks = ((batch, keys), (batch, length, keys), (batch, 1, length, keys))
        _expect("attention_mask", given["attention_mask"].shape, masks)
    if "encoder_hidden_states" in given:
        states = tuple(given["encoder_hidden_states"].shape)
        _expect("encoder_hidden_states", states, ((batch, None, config.hidden_size),))
        if "encoder_attention_mask" in given:
            masks = ((batch, states[1]), (batch, length, states[1]), (batch, 1, length, states[1]))
            _expect("encoder_attention_mask", given["encoder_attention_mask"].shape, masks)
    if "head_mask" in given:
        if config.pruned_heads:
            raise ValueError(f"head_mask is not supported: heads of this model were pruned: {config.pruned_heads}")
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        _expect("head_mask", given["head_mask"].shape, ((heads,), (layers, heads)))


def _expect(name: str, shape: Any, allowed: tuple[tuple[Any, ...], ...]) -> None:
    """Raise `ValueError` unless `shape` is one of `allowed`; a size that is not an int matches any size."""
    shape = tuple(shape)
    for sizes in allowed:
        if len(sizes) == len(shape) and all(_matches(*pair) for pair in zip(shape, sizes, strict=True)):
            return
    expected = " or ".join(
        str([size if isinstance(size, int) else "?" for size in sizes]) for sizes in dict.fromkeys(allowed)
    )
    raise ValueError(f"{name} has shape {list(shape)}; with these inputs it must be {expected}")


def _matches(size: Any, expected: Any) -> bool:
    return not (isinstance(size, int) and isinstance(expected, int)) or size == expected


def _check_cache(config: RobertaConfig, given: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a cache of another model or batch, or one of which only a part would be used."""
    cache = given["past_key_values"]
    if len(cache) != config.num_hidden_layers:
        raise ValueError(f"past_key_values has {len(cache)} layers; the model has {config.num_hidden_layers}")
    batch = given["input_ids" if "input_ids" in given else "inputs_embeds"].shape[0]
    _expect("past_key_values", cache[0][0].shape, ((batch, None, None, config.head_size),))
    if len(cache[0]) > 2 and "encoder_hidden_states" not in given:
        raise ValueError("past_key_values holds cross-attention keys: pass encoder_hidden_states again")


def _check_length(config: RobertaConfig, given: Mapping[str, Any], past_length: Any) -> None:
    """Raise `ValueError` if there are more tokens than positions; cached tokens count, padding does not."""
    ids = given.get("input_ids")
    if isinstance(ids, np.ndarray):
        length = int((ids != config.pad_token_id).sum(axis=1).max(initial=0))
    elif ids is None:
        length = given["inputs_embeds"].shape[1]
    else:
        return
    if isinstance(length, int) and isinstance(past_length, int) and length + past_length > config.max_sequence_length:
        raise ValueError(
            f"a sequence has {length + past_length} tokens, but this model accepts at most "
            f"{config.max_sequence_length}: "
            f"max_position_embeddings {config.max_position_embeddings} - pad_token_id {config.pad_token_id} - 1"
        )


def count_label_classes(config: RobertaConfig, architecture: str, inputs: Mapping[str, Any]) -> int | None:
    """Return the number of classes of the labels of a call; None if they are not classes, or cannot be read."""
    labels = inputs.get("labels")
    if not isinstance(labels, np.ndarray):
        return None
    if architecture == "ForMultipleChoice":
        return inputs["inputs_embeds" if inputs.get("input_ids") is None else "input_ids"].shape[1]
    if architecture == "ForSequenceClassification":
        single = labels.shape[1:] in ((), (1,)) and np.issubdtype(labels.dtype, np.integer)
        shown = "single_label_classification" if single and config.num_labels > 1 else None
        return config.num_labels if (config.problem_type or shown) == "single_label_classification" else None
    return getattr(config, CLASSES[architecture]) if architecture in CLASSES else None


def check_all_labels(config: RobertaConfig, architecture: str, inputs: Mapping[str, Any]) -> None:
    """Raise `ValueError` for labels or positions of a call that do not match its inputs or are out of range."""
    for name in TARGETS:
        if inputs.get(name) is not None:
            shape = tuple(inputs["inputs_embeds" if inputs.get("input_ids") is None else "input_ids"].shape)
            rows = ((shape[0],), (shape[0], 1), (shape[0], config.num_labels))
            _expect(name, inputs[name].shape, (shape[:2],) if architecture in BY_TOKEN else rows)
    classes = count_label_classes(config, architecture, inputs)
    if classes is not None:
        check_labels("labels", inputs["labels"], classes)


def check_targets(shape: Any, logits: Any) -> None:
    """Raise `ValueError` unless targets have a number for each logit [B, K]; if K is 1 they may be [B]."""
    whole = tuple(logits)
    _expect("labels", shape, (whole[:1], whole) if whole[1] == 1 else (whole,))


def check_label_shape(name: str, shape: Any, logits: Any) -> None:
    """Raise `ValueError` unless there is one label for each row of logits [..., K]."""
    _expect(name, shape, (tuple(logits)[:-1],))


def check_labels(name: str, labels: Any, classes: int, ignored: int = -100) -> None:
    """Raise `ValueError` unless every readable label is a class number or the ignored one."""
    if not isinstance(labels, np.ndarray):
        return
    wrong = labels[(labels != ignored) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise ValueError(
            f"{name} contains {wrong.flat[0]}; with {classes} classes it must be from 0 to {classes - 1}, "
            f"or {ignored} to be ignored"
        )
