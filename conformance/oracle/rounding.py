"""Expected rounding: the model's steps evaluated in float32, bfloat16, float16 or int8, in NumPy.

The difference from float64 shows what rounding alone does to each stage of a model. An implementation that computes
in the same type must be about as close to float64.
"""

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from .functions import Array
from .model import Oracle, Stages

TYPES: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
# An error fails if it is more than this many times the expected rounding. The largest measured ratios are in
# docs/conformance.md.
MULTIPLE = 10.0


class Float32Model(Oracle):
    """The model in float32."""

    dtype = np.float32


class ReversedSums(Float32Model):
    """The model in float32, whose linear layers add in the opposite order."""

    def linear(self, path: str, x: Array) -> Array:
        """Apply a linear layer, adding from the last input to the first."""
        weight = self.tensor(f"{path}.weight")
        return x[..., ::-1] @ weight[:, ::-1].T + self.tensor(f"{path}.bias")


def round_after_each_step(precision: Any) -> type[Oracle]:
    """Return a model whose parameters and results of each step are rounded to a type below float32."""

    def rounded(x: Array) -> Array:
        return x.astype(precision).astype(np.float32)

    class Rounded(Float32Model):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            activation, head_activation = self.activation, self.head_activation
            self.activation = lambda x: rounded(activation(x))
            self.head_activation = lambda x: rounded(head_activation(x))

        @property
        def masked(self) -> Any:
            return np.float32(ml_dtypes.finfo(precision).min)

        def tensor(self, name: str, rows: Any = ()) -> Array:
            return rounded(super().tensor(name, rows))

        def linear(self, path: str, x: Array) -> Array:
            return rounded(super().linear(path, x))

        def norm(self, path: str, x: Array) -> Array:
            return rounded(super().norm(path, rounded(x)))

        def weights(self, query: Array, key: Array, mask: Any) -> Array:
            return rounded(super().weights(query, key, mask))

        def join(self, x: Array) -> Array:
            return rounded(super().join(x))

        def pooler(self, hidden: Array) -> Array:
            return rounded(super().pooler(hidden))

        def lm_head(self, hidden: Array) -> Array:
            return rounded(super().lm_head(hidden))

    return Rounded


class Int8Model(Float32Model):
    """The model with dynamic quantisation, as ONNX Runtime does it.

    Matrices and tables are int8 with one scale each, the inputs of linear layers are uint8 with a scale and a zero
    point for each call; everything else is float32.
    """

    def tensor(self, name: str, rows: Any = ()) -> Array:
        """Return a tensor; a matrix is rounded to int8 and back."""
        value = super().tensor(name)
        if value.ndim == 2:
            scale = np.abs(value).max() / 127 or 1.0
            value = (np.round(value / scale) * scale).astype(np.float32)
        return value[rows]

    def linear(self, path: str, x: Array) -> Array:
        """Apply a linear layer to an input rounded to uint8."""
        return super().linear(path, round_to_uint8(x))


def round_to_uint8(x: Array) -> Array:
    """Return an array rounded to 256 evenly spaced values that cover its range and 0."""
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / 255 or 1.0
    zero = np.round(-low / scale)
    return ((np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale).astype(np.float32)


def models_of(precision: str) -> tuple[type[Oracle], ...]:
    """Return the models whose differences from float64 are the expected rounding of a type.

    Raises:
        ValueError: If the type is unknown.
    """
    if precision == "int8":
        return (Int8Model,)
    if precision not in TYPES:
        raise ValueError(f"unknown precision {precision!r}; choose from {', '.join(TYPES)}, int8")
    return (Float32Model, ReversedSums) if precision == "float32" else (round_after_each_step(TYPES[precision]),)


def expected_rounding(model: Oracle, inputs: Mapping[str, Any], want: Stages, precision: str) -> dict[str, float]:
    """Return the expected error of each stage: the largest of the models of a type, and at least one unit of rounding.

    Args:
        model: The float64 model.
        inputs: The arguments of the class by name.
        want: The float64 stages.
        precision: "float32", "bfloat16", "float16" or "int8".
    """
    found = dict.fromkeys(want, float(ml_dtypes.finfo(TYPES.get(precision, np.float32)).eps))
    for kind in models_of(precision):
        stages = kind(model.config, model.architecture, model.tensors).run(**inputs)
        for name, value in want.items():
            largest = float(np.abs(value).max(initial=0))
            error = float(np.abs(stages[name].astype(np.float64) - value).max(initial=0))
            found[name] = max(found[name], error / largest if largest else 0.0)
    return found
