"""Compare the gradient of every parameter with the float64 model's.

The error of a tensor is its largest difference divided by its largest gradient, or by a thousandth of the model's
largest gradient if that is larger: below it float32 has no digits left.
"""

import fnmatch
from collections.abc import Mapping

import numpy as np

from roberta_core.parameters import BASE_PREFIX

from ..oracle import Stages
from ..oracle.autodiff import differentiate
from .case import Case
from .judge import Verdict, compare
from .subject import Subject

LEAST = 1e-3  # of the model's largest gradient
NULL_LEAST = 1.0  # the same, for a null direction

# Tensors whose gradient is exactly zero, by class: adding to them changes no output or no loss. A framework returns the
# rounding noise of its other gradients for them, so their error is divided by the model's largest gradient.
NULL_DIRECTIONS = {
    "*": ("encoder.layer.*.attention.self.key.bias", "encoder.layer.*.crossattention.self.key.bias"),  # softmax of keys
    "ForMultipleChoice": ("classifier.bias",),  # softmax of choices
    "ForQuestionAnswering": ("qa_outputs.bias", "encoder.layer.{last}.output.LayerNorm.bias"),  # softmax of positions
}


def is_null(name: str, architecture: str, layers: int) -> bool:
    """Return whether a tensor is a null direction of a class."""
    patterns = (*NULL_DIRECTIONS["*"], *NULL_DIRECTIONS.get(architecture, ()))
    return any(
        fnmatch.fnmatchcase(name.removeprefix(BASE_PREFIX), pattern.format(last=layers - 1)) for pattern in patterns
    )


def expected_gradients(subject: Subject, weights: Mapping[str, np.ndarray]) -> Stages:
    """Return the gradients of a float64 model, by tensor."""
    return differentiate(subject.model, subject.config, subject.architecture, subject.tensors, subject.inputs, weights)


def judge_gradients(got: Mapping[str, np.ndarray], want: Stages, case: Case) -> list[Verdict]:
    """Compare the gradient of each tensor. Raises `ValueError` if the case compares no gradients."""
    if case.gradients is None:
        raise ValueError(f"case {case.name} has no tolerance for gradients")
    largest = max(float(np.abs(value).max()) for value in want.values())
    layers, rtol = case.configuration.num_hidden_layers, case.gradients["rtol"]
    least = {name: NULL_LEAST if is_null(name, case.architecture, layers) else LEAST for name in want}
    names = [*want, *(name for name in got if name not in want)]
    return [compare(name, got.get(name), want.get(name), rtol, least.get(name, 0.0) * largest) for name in names]
