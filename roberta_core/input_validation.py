"""The checks of a model's inputs: one sentence for each mistake, the same in every framework.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, L layers.
A framework hands over what it has: NumPy arrays where the host can read the values, else its own tensors, of which only
the shape is looked at. A size that is not known yet (None, or symbolic) is let through. docs/numerics.md says what
happens to wrong values that nobody could read.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig

# The table that each kind of id is looked up in.
TABLES = {"input_ids": "vocab_size", "token_type_ids": "type_vocab_size", "position_ids": "max_position_embeddings"}
# Where the configuration counts the classes that a class's labels choose from.
CLASSES = {"ForCausalLM": "vocab_size", "ForMaskedLM": "vocab_size", "ForTokenClassification": "num_labels"}
# What a class learns from has a label for each token, or for each row of ids.
BY_TOKEN = ("ForCausalLM", "ForMaskedLM", "ForTokenClassification")
TARGETS = ("labels", "start_positions", "end_positions")
AXES = {"input_ids": ("batch", "sequence"), "inputs_embeds": ("batch", "sequence", "hidden")}


def check_inputs(
    config: RobertaConfig, inputs: Mapping[str, Any], past_length: Any = 0, key_length: int | None = None
) -> None:
    """Raise `ValueError` for inputs that a model cannot take, naming the value, the limit and the argument.

    `inputs` are the arguments of Model by name: input_ids, token_type_ids, position_ids [B, S], inputs_embeds
    [B, S, D], attention_mask [B, T], [B, S, T] or [B, 1, S, T], head_mask [N] or [L, N], encoder_hidden_states
    [B, E, D], encoder_attention_mask [B, E], past_key_values as a tuple a layer; None counts as absent.
    `past_length` tokens are cached; `key_length` is the length T of a cache that does not grow.
    """
    given = {name: value for name, value in inputs.items() if value is not None}
    if ("input_ids" in given) == ("inputs_embeds" in given):
        both = "both" if "input_ids" in given else "neither"
        raise ValueError(f"give either input_ids or inputs_embeds: {both} of them came")
    _check_shapes(config, given, past_length, key_length)
    for name in TABLES:
        if isinstance(given.get(name), np.ndarray):
            check_ids(config, name, given[name])
    if "position_ids" not in given:
        _check_length(config, given, past_length)
    if "encoder_hidden_states" in given and not config.add_cross_attention:
        raise ValueError("encoder_hidden_states needs a model with cross attention: is_decoder and add_cross_attention")
    if "encoder_attention_mask" in given and "encoder_hidden_states" not in given:
        raise ValueError("encoder_attention_mask says which encoder_hidden_states to attend, and those did not come")
    if "past_key_values" in given:
        _check_cache(config, given)


def check_ids(config: RobertaConfig, name: str, ids: np.ndarray) -> None:
    """Raise `ValueError` unless all ids are whole numbers inside their table."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"{name} holds {ids.dtype}; ids are whole numbers")
    if not ids.size:
        return
    low, high, limit = int(ids.min()), int(ids.max()), getattr(config, TABLES[name])
    if low < 0 or high >= limit:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} has the id {wrong}, but {TABLES[name]} is {limit}: ids run from 0 to {limit - 1}")


def check_choices(name: str, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a multiple-choice input has its three axes [B, C, S]."""
    if len(shape) < 3:
        raise ValueError(f"{name} has the shape {list(shape)}; multiple choice takes [batch, choices, sequence]")


def _check_shapes(config: RobertaConfig, given: Mapping[str, Any], past_length: Any, key_length: int | None) -> None:
    name = "input_ids" if "input_ids" in given else "inputs_embeds"
    shape, axes = tuple(given[name].shape), AXES[name]
    if len(shape) != len(axes):
        raise ValueError(f"{name} has the shape {list(shape)}; it must be [{', '.join(axes)}]")
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
            raise ValueError(f"head_mask has an entry for each head, but this model lost some: {config.pruned_heads}")
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        _expect("head_mask", given["head_mask"].shape, ((heads,), (layers, heads)))


def _expect(name: str, shape: Any, allowed: tuple[tuple[Any, ...], ...]) -> None:
    """Raise `ValueError` unless `shape` is one of `allowed`, a size that is not an int fitting any."""
    shape = tuple(shape)
    for sizes in allowed:
        if len(sizes) == len(shape) and all(_fits(*pair) for pair in zip(shape, sizes, strict=True)):
            return
    wanted = " or ".join(
        str([size if isinstance(size, int) else "?" for size in sizes]) for sizes in dict.fromkeys(allowed)
    )
    raise ValueError(f"{name} has the shape {list(shape)}; with these inputs it must be {wanted}")


def _fits(size: Any, wanted: Any) -> bool:
    return not (isinstance(size, int) and isinstance(wanted, int)) or size == wanted


def _check_cache(config: RobertaConfig, given: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a cache of another model or batch, or one that would be read in part."""
    cache = given["past_key_values"]
    if len(cache) != config.num_hidden_layers:
        raise ValueError(f"past_key_values has {len(cache)} layers; the model has {config.num_hidden_layers}")
    batch = given["input_ids" if "input_ids" in given else "inputs_embeds"].shape[0]
    _expect("past_key_values", cache[0][0].shape, ((batch, None, None, config.head_size),))
    if len(cache[0]) > 2 and "encoder_hidden_states" not in given:
        raise ValueError("past_key_values has an encoder's keys too: give its encoder_hidden_states again")


def _check_length(config: RobertaConfig, given: Mapping[str, Any], past_length: Any) -> None:
    """Raise `ValueError` if the positions run out: real tokens count, those of the cache too, pads do not."""
    ids = given.get("input_ids")
    if isinstance(ids, np.ndarray):
        length = int((ids != config.pad_token_id).sum(axis=1).max(initial=0))
    elif ids is None:
        length = given["inputs_embeds"].shape[1]
    else:
        return
    if isinstance(length, int) and isinstance(past_length, int) and length + past_length > config.max_sequence_length:
        raise ValueError(
            f"a sequence has {length + past_length} tokens, but this model takes at most {config.max_sequence_length}: "
            f"max_position_embeddings {config.max_position_embeddings} less pad_token_id {config.pad_token_id} less 1"
        )


def label_classes(config: RobertaConfig, architecture: str, inputs: Mapping[str, Any]) -> int | None:
    """How many classes the labels of a call choose from; None where they choose from none, or cannot be read."""
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


def check_learning(config: RobertaConfig, architecture: str, inputs: Mapping[str, Any]) -> None:
    """Raise `ValueError` for labels or positions of a call that do not fit its inputs, or that no class has."""
    for name in TARGETS:
        if inputs.get(name) is not None:
            shape = tuple(inputs["inputs_embeds" if inputs.get("input_ids") is None else "input_ids"].shape)
            rows = ((shape[0],), (shape[0], 1), (shape[0], config.num_labels))
            _expect(name, inputs[name].shape, (shape[:2],) if architecture in BY_TOKEN else rows)
    classes = label_classes(config, architecture, inputs)
    if classes is not None:
        check_labels("labels", inputs["labels"], classes)


def check_targets(shape: Any, logits: Any) -> None:
    """Raise `ValueError` unless targets have a number for each logit [B, K]; where K is 1 they may be [B]."""
    whole = tuple(logits)
    _expect("labels", shape, (whole[:1], whole) if whole[1] == 1 else (whole,))


def check_label_shape(name: str, shape: Any, logits: Any) -> None:
    """Raise `ValueError` unless there is a label for each row of logits [..., K]."""
    _expect(name, shape, (tuple(logits)[:-1],))


def check_labels(name: str, labels: Any, classes: int, ignored: int = -100) -> None:
    """Raise `ValueError` unless every label that can be read is a class number or the one that is ignored."""
    if not isinstance(labels, np.ndarray):
        return
    wrong = labels[(labels != ignored) & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise ValueError(
            f"{name} has {wrong.flat[0]}; with {classes} classes it must be from 0 to {classes - 1}, "
            f"or {ignored} to be ignored"
        )
