"""The caller's functions that take part in decoding: they receive tensors of the framework, the search NumPy arrays.

Shapes: R rows, T tokens so far, V vocabulary.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

# Names of the callbacks among the arguments of `generate`.
CALLBACKS = ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn")
ToTensor = Callable[[np.ndarray], Any]


def wrap_callbacks(
    arguments: Mapping[str, Any],
    to_tensor: ToTensor,
    to_numpy: Callable[[Any], np.ndarray] = np.asarray,
    *,
    with_length: bool = False,
) -> dict[str, Any]:
    """Return the arguments of `generate` with callbacks that receive and return NumPy arrays.

    Args:
        arguments: The arguments by name.
        to_tensor: Makes a tensor of the framework of an array.
        to_numpy: Makes an array of a tensor.
        with_length: Whether a processor's third argument is the number of tokens so far, as in the published
            TensorFlow and Flax classes.
    """
    found = {name: value for name, value in arguments.items() if name not in CALLBACKS or value is not None}
    if "logits_processor" in found:
        processors = list_functions("logits_processor", found["logits_processor"])

        def process(sequences: np.ndarray, scores: np.ndarray) -> np.ndarray:
            ids, made = to_tensor(sequences), to_tensor(scores.astype(np.float32))
            length = (sequences.shape[1],) if with_length else ()
            for processor in processors:
                made = processor(ids, made, *length)
            return to_numpy(made).astype(np.float64)

        found["logits_processor"] = process
    if "stopping_criteria" in found:
        criteria = list_functions("stopping_criteria", found["stopping_criteria"])

        def stop(sequences: np.ndarray, scores: tuple[np.ndarray, ...] | None) -> np.ndarray:
            ids = to_tensor(sequences)
            kept = None if scores is None else tuple(map(to_tensor, scores))
            ended = np.zeros(len(sequences), bool)
            for criterion in criteria:
                ended |= np.broadcast_to(to_numpy(criterion(ids, kept)), ended.shape).astype(bool)
            return ended

        found["stopping_criteria"] = stop
    if "prefix_allowed_tokens_fn" in found:
        allowed = found["prefix_allowed_tokens_fn"]
        found["prefix_allowed_tokens_fn"] = lambda prompt, sequence: allowed(prompt, to_tensor(sequence))
    return found


def list_functions(name: str, value: Any) -> list[Callable[..., Any]]:
    """Return one function or a list of functions as a list; raise `TypeError` for something else."""
    functions = list(value) if isinstance(value, Iterable) else [value]
    for function in functions:
        if not callable(function):
            raise TypeError(f"{name} must be a function or a list of functions, not {function!r:.60}")
    return functions


def restrict_tokens(scores: np.ndarray, sequences: np.ndarray, copies: int, allowed: Callable[..., Any]) -> np.ndarray:
    """Return scores [R, V] in which only the allowed tokens of each row can be chosen.

    Args:
        scores: [R, V].
        sequences: [R, T].
        copies: The rows of each prompt.
        allowed: Returns the tokens that may follow, for the number of the prompt and the tokens so far.

    Raises:
        ValueError: No token is allowed.
    """
    kept = np.full_like(scores, -np.inf)
    for row, sequence in enumerate(sequences):
        tokens = np.asarray(list(allowed(row // copies, sequence)), int)
        if not len(tokens):
            raise ValueError(f"prefix_allowed_tokens_fn allows no token after {sequence.tolist()}")
        kept[row, tokens] = scores[row, tokens]
    return kept
