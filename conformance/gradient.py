"""Gradients under judgement: those of every parameter, against the float64 model's own.

The error of a tensor is its largest difference over its largest gradient, or over a thousandth of the model's largest
where that is more: below it float32 has no digits left.
"""

import fnmatch
from collections.abc import Mapping

import numpy as np

from conformance.autodiff import gradients
from conformance.case import Case
from conformance.changes import Subject
from conformance.compare import Verdict, compare
from conformance.oracle import Stages
from roberta_core.parameters import BASE_PREFIX

LEAST = 1e-3  # of the model's largest gradient
NULL_LEAST = 1.0  # the same for a null direction

# Tensors whose gradient is exactly zero, by class: adding to them changes no output, or no loss. What a framework
# reports for them is rounding noise of its other gradients, and is held against those.
NULL_DIRECTIONS = {
    "*": ("encoder.layer.*.attention.self.key.bias", "encoder.layer.*.crossattention.self.key.bias"),  # softmax of keys
    "ForMultipleChoice": ("classifier.bias",),  # softmax of choices
    "ForQuestionAnswering": ("qa_outputs.bias", "encoder.layer.{last}.output.LayerNorm.bias"),  # softmax of positions
}


def is_null(name: str, architecture: str, layers: int) -> bool:
    """Whether a tensor is a null direction of a class."""
    patterns = (*NULL_DIRECTIONS["*"], *NULL_DIRECTIONS.get(architecture, ()))
    return any(
        fnmatch.fnmatchcase(name.removeprefix(BASE_PREFIX), pattern.format(last=layers - 1)) for pattern in patterns
    )


def expected(subject: Subject, weights: Mapping[str, np.ndarray]) -> Stages:
    """The gradients of a float64 model, by tensor."""
    return gradients(subject.model, subject.config, subject.architecture, subject.tensors, subject.inputs, weights)


def judge_gradients(got: Mapping[str, np.ndarray], want: Stages, case: Case) -> list[Verdict]:
    """The verdict on each tensor's gradient."""
    if case.gradients is None:
        raise ValueError(f"{case.name} says nothing of gradients")
    largest = max(float(np.abs(value).max()) for value in want.values())
    layers, rtol = case.configuration.num_hidden_layers, case.gradients["rtol"]
    least = {name: NULL_LEAST if is_null(name, case.architecture, layers) else LEAST for name in want}
    names = [*want, *(name for name in got if name not in want)]
    return [compare(name, got.get(name), want.get(name), rtol, least.get(name, 0.0) * largest) for name in names]
