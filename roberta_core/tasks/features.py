"""The rows that a model reads: collated into batches, and run through any framework in batches of similar length.

Shapes: B batch, S sequence, C choices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.backend import Backend, run_at
from roberta_core.data.batches import IGNORED, Batch
from roberta_core.data.streams import find_budget, plan_batches
from roberta_core.tokenization.rows import split_windows as split_tokens

INPUTS = ("input_ids", "attention_mask")

Output = Mapping[str, np.ndarray]  # a model's outputs for one feature, by name


@dataclass
class Feature:
    """A row for the model.

    Args:
        ids: token ids [S], or [C, S] as a list of choices.
        targets: labels of the model's loss by name, and their weights: a number, a list with one for each token, or an
            array with one for each class; empty if the example has none.
        example: index of the example that the row belongs to.
        notes: what the task needs to decode the row's outputs.
        truncated: whether tokens were cut off without a request: this is reported.
        predicted: of a row for a language model, the positions of the tokens whose logits are needed: the others are
            not computed. None for those of all.
    """

    ids: Any
    targets: dict[str, Any]
    example: int
    notes: Any = None
    truncated: bool = False
    predicted: Sequence[int] | None = None

    def length(self) -> int:
        """Return S, of the longest choice."""
        return max(map(len, self.ids)) if self.has_choices() else len(self.ids)

    def has_choices(self) -> bool:
        """Whether the row is a list of choices."""
        return isinstance(self.ids[0], list)

    def tokens(self) -> int:
        """Return the number of tokens that the row takes in a batch, padding of shorter choices counted."""
        return self.length() * (len(self.ids) if self.has_choices() else 1)


def describe_truncation(features: Iterable[Feature], length: int) -> str:
    """Return a sentence on how many examples were truncated; empty if none was."""
    count = len({feature.example for feature in features if feature.truncated})
    noun = "1 example was" if count == 1 else f"{count:,} examples were"
    return f"{noun} truncated: a row has at most {length} tokens" if count else ""


def collate(features: Sequence[Feature], pad_token_id: int, multiple: int = 1, most: int | None = None) -> Batch:
    """Return `input_ids` and `attention_mask` [B, S] or [B, C, S], and the targets of features.

    Args:
        features: rows of one kind, all with as many choices.
        pad_token_id: fills up shorter rows.
        multiple: S is a multiple of it, but at most `most`.
        most: the most tokens that the model accepts.
    """
    width = -(-max(feature.length() for feature in features) // multiple) * multiple
    width = width if most is None else min(width, most)
    choices = features[0].has_choices()
    shape = (len(features), len(features[0].ids), width) if choices else (len(features), width)
    ids, mask = np.full(shape, pad_token_id, np.int64), np.zeros(shape, np.int64)
    for row, feature in enumerate(features):
        for choice, values in enumerate(feature.ids) if choices else ((..., feature.ids),):
            ids[row, choice, : len(values)] = values
            mask[row, choice, : len(values)] = 1
    targets = {name: _pad_targets([f.targets[name] for f in features], width) for name in features[0].targets}
    return {"input_ids": ids, "attention_mask": mask, **targets}


def run_features(
    backend: Backend,
    model: Any,
    features: Sequence[Feature],
    pad_token_id: int,
    budget: int,
    keep: Callable[[Feature, Output], Output] = lambda feature, output: output,
) -> list[Output]:
    """Return a model's outputs for each feature, in their order.

    Args:
        backend: the framework.
        model: the framework's own model.
        features: rows of any length; those of similar length share a batch.
        pad_token_id: fills up shorter rows.
        budget: tokens per batch, padding counted.
        keep: what to hold of a feature's outputs, until all batches are done.

    Raises:
        ValueError: the outputs are not finite.
    """
    outputs: list[Output] = [{}] * len(features)
    for same in _by_choices(features):  # a batch is rectangular
        for places in plan_batches([features[place].tokens() for place in same], budget):
            rows = [same[place] for place in places]
            found = run_batch(backend, model, [features[row] for row in rows], pad_token_id)
            for row, output in zip(rows, found, strict=True):
                outputs[row] = keep(features[row], output)
    return outputs


def run_batch(backend: Backend, model: Any, features: Sequence[Feature], pad_token_id: int) -> list[Output]:
    """Return a model's outputs for each feature of one batch; `logits` are those of `predicted`, if it is given.

    Args:
        backend: the framework.
        model: the framework's own model.
        features: rows of similar length, all with choices or all without.
        pad_token_id: fills up shorter rows.

    Raises:
        ValueError: the outputs are not finite.
    """
    batch = collate(features, pad_token_id)
    inputs, places = {name: batch[name] for name in INPUTS}, [feature.predicted for feature in features]
    wanted = [place for place in places if place is not None]
    if len(wanted) == len(places):
        outputs = split_outputs(run_at(backend, model, inputs, _pad_positions(wanted)), len(features))
        return [
            {**output, "logits": output["logits"][: len(place)]} for output, place in zip(outputs, wanted, strict=True)
        ]
    outputs = split_outputs(backend.run(model, inputs), len(features))
    return [
        output if place is None else {**output, "logits": output["logits"][list(place)]}
        for output, place in zip(outputs, places, strict=True)
    ]


def measure_budget(
    backend: Backend, model: Any, token: int, length: int, choices: bool, predicted: bool = False
) -> int:
    """Return the tokens per batch that a short measurement finds fastest.

    Args:
        backend: the framework.
        model: the framework's own model.
        token: the id that the rows consist of.
        length: tokens of a row.
        choices: whether a row is a list of choices; one choice is measured.
        predicted: whether the logits of one token in each row are needed, not those of all.
    """

    def run_trial(size: int, length: int) -> None:
        ids = np.full((size, 1, length) if choices else (size, length), token, np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        if predicted:
            run_at(backend, model, inputs, np.zeros((size, 1), np.int64))
        else:
            backend.run(model, inputs)

    return find_budget(run_trial, length)


def split_outputs(found: Mapping[str, Any], count: int) -> list[dict[str, np.ndarray]]:
    """Return the outputs of each of the first `count` rows of a batch; raise `ValueError` if they are not finite."""
    arrays = {name: np.asarray(value)[:count] for name, value in found.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the model's {name} are not finite numbers: its weights are broken")
    return [{name: array[row] for name, array in arrays.items()} for row in range(count)]


def _pad_positions(positions: Sequence[Sequence[int]]) -> np.ndarray:
    """Return positions [B, K]; shorter rows end with the first token's."""
    made = np.zeros((len(positions), max(map(len, positions))), np.int64)
    for row, found in zip(made, positions, strict=True):
        row[: len(found)] = found
    return made


def _pad_targets(values: list[Any], width: int) -> np.ndarray:
    if isinstance(values[0], np.ndarray):
        return np.stack(values)
    if not isinstance(values[0], list):
        return np.array(values, np.float32 if isinstance(values[0], float) else np.int64)
    weights = any(isinstance(value, float) for value in values[0])
    found = np.zeros((len(values), width), np.float32) if weights else np.full((len(values), width), IGNORED, np.int64)
    for row, labels in enumerate(values):
        found[row, : len(labels)] = labels
    return found


def _by_choices(features: Sequence[Feature]) -> list[list[int]]:
    """Return the indices of features in groups of one number of choices each."""
    groups: dict[int, list[int]] = {}
    for number, feature in enumerate(features):
        groups.setdefault(len(feature.ids) if feature.has_choices() else 0, []).append(number)
    return list(groups.values())


def split_windows(count: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Return the windows (begin, end) of `count` tokens, each of at most `room` and sharing `overlap` with the next.

    They are those of the tokenizers' `stride`.

    Raises:
        ValueError: `overlap` leaves no room for new tokens.
    """
    if overlap >= room and count > room:
        raise ValueError(f"windows of {room} tokens cannot share {overlap} of them: lower the overlap")
    return split_tokens(count, room, overlap, left=False, overflow=True)
