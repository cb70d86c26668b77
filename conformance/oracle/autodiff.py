"""Gradients of the float64 model, by reverse-mode differentiation of its own NumPy code.

A `Traced` array replaces each parameter and records every operation on it. No part of the model is written twice, so a
model with a fault has that fault's gradients.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from roberta_core.parameters import BASE_PREFIX

from .functions import ERF, Array
from .model import Oracle, Stages

Pullback = Callable[[Array], Array]  # maps the gradient of an operation's output to that of one of its inputs

NUMBERS = itertools.count()

# The derivative of each elementwise operation by each of its inputs, given its output and inputs.
DERIVATIVES: dict[np.ufunc, tuple[Callable[..., Any], ...]] = {
    np.add: (lambda out, x, y: 1.0, lambda out, x, y: 1.0),
    np.subtract: (lambda out, x, y: 1.0, lambda out, x, y: -1.0),
    np.multiply: (lambda out, x, y: y, lambda out, x, y: x),
    np.divide: (lambda out, x, y: 1 / y, lambda out, x, y: -out / y),
    np.power: (lambda out, x, n: n * x ** (n - 1),),
    np.negative: (lambda out, x: -1.0,),
    np.sqrt: (lambda out, x: 0.5 / out,),
    np.square: (lambda out, x: 2 * x,),
    np.exp: (lambda out, x: out,),
    np.log: (lambda out, x: 1 / x,),
    np.tanh: (lambda out, x: 1 - out**2,),
    np.maximum: (lambda out, x, y: x > y, lambda out, x, y: y > x),
    np.minimum: (lambda out, x, y: x < y, lambda out, x, y: y < x),
    np.logaddexp: (lambda out, x, y: np.exp(x - out), lambda out, x, y: np.exp(y - out)),
    ERF: (lambda out, x: 2 / math.sqrt(math.pi) * np.exp(-np.square(x)),),
}


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A float64 array with the operations that produced it."""

    dtype = np.dtype(np.float64)

    def __init__(self, value: Any, parents: Iterable[tuple["Traced", Pullback]] = ()):
        self.value = np.asarray(value, np.float64)
        self.parents = tuple(parents)
        self.number = next(NUMBERS)  # larger than those of its parents

    @property
    def shape(self) -> tuple[int, ...]:
        """See `numpy.ndarray`."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """See `numpy.ndarray`."""
        return self.value.ndim

    @property
    def T(self) -> "Traced":  # noqa: N802 -- NumPy's name
        """See `numpy.ndarray`."""
        return self.rearrange(np.transpose)

    def rearrange(self, move: Callable[[Array], Array]) -> "Traced":
        """Apply an operation that only rearranges elements; gradients are scattered back to their origin."""
        size, shape = self.value.size, self.shape
        places = move(np.arange(size).reshape(shape))

        def back(gradient: Array) -> Array:
            return np.bincount(places.ravel(), gradient.ravel(), size).reshape(shape)

        return Traced(self.value.ravel()[places], [(self, back)])

    def __getitem__(self, key: Any) -> "Traced":
        """Return `self[key]`; raises `IndexError` like NumPy, which also ends an iteration."""
        return self.rearrange(lambda array: np.asarray(array[key]))

    def reshape(self, *shape: int) -> "Traced":
        """See `numpy.ndarray`."""
        return self.rearrange(lambda array: array.reshape(*shape))

    def swapaxes(self, one: int, other: int) -> "Traced":
        """See `numpy.ndarray`."""
        return self.rearrange(lambda array: array.swapaxes(one, other))

    def transpose(self, *axes: int) -> "Traced":
        """See `numpy.ndarray`."""
        return self.rearrange(lambda array: array.transpose(*axes))

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Traced":
        """See `numpy.ndarray`."""

        def back(gradient: Array) -> Array:
            spread = gradient if keepdims or axis is None else np.expand_dims(gradient, axis)
            return np.broadcast_to(spread, self.shape)

        return Traced(self.value.sum(axis=axis, keepdims=keepdims), [(self, back)])

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """See `numpy.ndarray`."""
        total = self.sum(axis, keepdims)
        return total / (self.value.size / total.value.size)

    def var(self, axis: Any = None, keepdims: bool = False) -> Any:
        """See `numpy.ndarray`."""
        return np.square(self - self.mean(axis, keepdims=True)).mean(axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Array:
        """Return the maximum as a constant: the model subtracts it only where that changes no result."""
        return self.value.max(axis=axis, keepdims=keepdims)

    def astype(self, dtype: Any) -> "Traced":
        """Return the array itself, which is always float64."""
        return self

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply an elementwise operation or a matrix product."""
        if method != "__call__" or options:
            return NotImplemented
        values = [one.value if isinstance(one, Traced) else np.asarray(one) for one in inputs]
        out = np.asarray(function(*values), np.float64)
        rules = _matmul_pullbacks(values) if function is np.matmul else _elementwise_pullbacks(function, out, values)
        pairs = [(one, rule) for one, rule in zip(inputs, rules, strict=False) if isinstance(one, Traced)]
        return Traced(out, pairs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        """Apply one of the NumPy functions that the model uses."""
        return FUNCTIONS[function](*args, **kwargs) if function in FUNCTIONS else NotImplemented


def _elementwise_pullbacks(function: np.ufunc, out: Array, values: list[Array]) -> list[Pullback]:
    def back(derivative: Callable[..., Any], shape: tuple[int, ...]) -> Pullback:
        return lambda gradient: _reduce_to(gradient * derivative(out, *values), shape)

    return [back(rule, value.shape) for rule, value in zip(DERIVATIVES[function], values, strict=False)]


def _matmul_pullbacks(values: list[Array]) -> list[Pullback]:
    left, right = values
    return [
        lambda gradient: _reduce_to(gradient @ right.swapaxes(-1, -2), left.shape),
        lambda gradient: _reduce_to(left.swapaxes(-1, -2) @ gradient, right.shape),
    ]


def _reduce_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Sum the gradient of a broadcast array over the axes along which it was repeated."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def _where(condition: Array, one: Any, other: Any) -> Traced:
    parents = [
        (part, lambda gradient, kept=kept, shape=part.shape: _reduce_to(gradient * kept, shape))
        for part, kept in ((one, condition), (other, ~condition))
        if isinstance(part, Traced)
    ]
    return Traced(np.where(condition, *(_value(part) for part in (one, other))), parents)


def _concatenate(parts: Any, axis: int = 0) -> Traced:
    cuts = np.split(np.arange(sum(part.shape[axis] for part in parts)), np.cumsum([part.shape[axis] for part in parts]))
    parents = [
        (part, lambda gradient, cut=cut: gradient.take(cut, axis))
        for part, cut in zip(parts, cuts, strict=False)
        if isinstance(part, Traced)
    ]
    return Traced(np.concatenate([_value(part) for part in parts], axis), parents)


def _value(part: Any) -> Any:
    return part.value if isinstance(part, Traced) else part


FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    np.where: _where,
    np.concatenate: _concatenate,
    np.moveaxis: lambda x, source, target: x.rearrange(lambda array: np.moveaxis(array, source, target)),
    np.take_along_axis: lambda x, at, axis: x.rearrange(lambda array: np.take_along_axis(array, at, axis)),
    np.zeros_like: lambda x: np.zeros(x.shape),
}


def backward(out: Traced) -> dict[int, Array]:
    """Return the gradient of a scalar by each array that it depends on, keyed by their `number`."""
    found, waiting = {out.number: np.ones(out.shape)}, [(-out.number, out)]
    while waiting:  # latest first: everything that uses an array is processed before it
        _, one = heapq.heappop(waiting)
        for parent, back in one.parents:
            if parent.number not in found:
                heapq.heappush(waiting, (-parent.number, parent))
            found[parent.number] = found.get(parent.number, 0.0) + back(found[one.number])
    return found


def trace_parameters(model: type[Oracle]) -> type[Oracle]:
    """Return a model class with traced parameters; a lookup of the padding row gives it no gradient, as published."""

    class Differentiable(model):
        def __init__(self, config: Any, architecture: str, tensors: Mapping[str, Any]):
            super().__init__(config, architecture, {name: Traced(value) for name, value in tensors.items()})

        def tensor(self, name: str, rows: Any = ()) -> Any:
            stored = self.tensors[name] if name in self.tensors else self.tensors[BASE_PREFIX + name]
            return stored if isinstance(rows, tuple) else stored[rows]

        def table(self, name: str, ids: Any) -> Any:
            rows: Any = super().table(name, ids)
            if name not in self.unlearned:
                return rows
            return np.where((ids == self.config.pad_token_id)[..., None], _value(rows), rows)

    return Differentiable


def differentiate(
    model: type[Oracle],
    config: Any,
    architecture: str,
    tensors: Mapping[str, Any],
    inputs: Mapping[str, Any],
    weights: Mapping[str, Array],
) -> Stages:
    """Return the gradient by each tensor of a weighted sum of outputs; `weights` has a weight for each output."""
    run = trace_parameters(model)(config, architecture, tensors)
    stages: Any = run.run(**inputs)
    parts: Any = [(stages[name] * weight).sum() for name, weight in weights.items()]
    total: Any = sum(parts[1:], parts[0])
    found = backward(total)
    return {name: found.get(leaf.number, np.zeros(leaf.shape)) for name, leaf in run.tensors.items()}
