"""Gradients of the float64 model, by reverse-mode differentiation of its own NumPy code.

A `Traced` array passes through the model in the place of a weight and remembers each step. Nothing of the model is
written twice, so a model with a planted fault has that fault's gradients.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from conformance.functions import ERF, Array
from conformance.oracle import Oracle, Stages
from roberta_core.parameters import BASE_PREFIX

Pullback = Callable[[Array], Array]  # from the gradient of a step's output to that of one of its inputs

NUMBERS = itertools.count()

# The derivative of each elementwise step by each of its inputs, from its output and its inputs.
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
    """An array of float64, and the steps that it came from."""

    def __init__(self, value: Any, parents: Iterable[tuple["Traced", Pullback]] = ()):
        self.value = np.asarray(value, np.float64)
        self.parents = tuple(parents)
        self.number = next(NUMBERS)  # later than those of its parents

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy's."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """As NumPy's."""
        return self.value.ndim

    @property
    def T(self) -> "Traced":  # noqa: N802 -- NumPy's name
        """As NumPy's."""
        return self.moved(np.transpose)

    def moved(self, move: Callable[[Array], Array]) -> "Traced":
        """A step that only takes numbers to other places: the gradients go back to where they came from."""
        size, shape = self.value.size, self.shape
        places = move(np.arange(size).reshape(shape))

        def back(gradient: Array) -> Array:
            return np.bincount(places.ravel(), gradient.ravel(), size).reshape(shape)

        return Traced(self.value.ravel()[places], [(self, back)])

    def __getitem__(self, key: Any) -> "Traced":
        """As NumPy's, which raises the `IndexError` that ends an iteration too."""
        return self.moved(lambda array: np.asarray(array[key]))

    def reshape(self, *shape: int) -> "Traced":
        """As NumPy's."""
        return self.moved(lambda array: array.reshape(*shape))

    def swapaxes(self, one: int, other: int) -> "Traced":
        """As NumPy's."""
        return self.moved(lambda array: array.swapaxes(one, other))

    def transpose(self, *axes: int) -> "Traced":
        """As NumPy's."""
        return self.moved(lambda array: array.transpose(*axes))

    def sum(self, axis: Any = None, keepdims: bool = False) -> "Traced":
        """As NumPy's."""

        def back(gradient: Array) -> Array:
            spread = gradient if keepdims or axis is None else np.expand_dims(gradient, axis)
            return np.broadcast_to(spread, self.shape)

        return Traced(self.value.sum(axis=axis, keepdims=keepdims), [(self, back)])

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """As NumPy's."""
        total = self.sum(axis, keepdims)
        return total / (self.value.size / total.value.size)

    def var(self, axis: Any = None, keepdims: bool = False) -> Any:
        """As NumPy's."""
        return np.square(self - self.mean(axis, keepdims=True)).mean(axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Array:
        """A number like any other: the model subtracts it where that changes nothing."""
        return self.value.max(axis=axis, keepdims=keepdims)

    def astype(self, dtype: Any) -> "Traced":
        """Itself: it is float64 throughout."""
        return self

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """An elementwise step, or a product of matrices."""
        if method != "__call__" or options:
            return NotImplemented
        values = [one.value if isinstance(one, Traced) else np.asarray(one) for one in inputs]
        out = np.asarray(function(*values), np.float64)
        rules = _product_rules(values) if function is np.matmul else _elementwise_rules(function, out, values)
        pairs = [(one, rule) for one, rule in zip(inputs, rules, strict=False) if isinstance(one, Traced)]
        return Traced(out, pairs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        """The functions of NumPy that the model uses."""
        return FUNCTIONS[function](*args, **kwargs) if function in FUNCTIONS else NotImplemented


def _elementwise_rules(function: np.ufunc, out: Array, values: list[Array]) -> list[Pullback]:
    def back(derivative: Callable[..., Any], shape: tuple[int, ...]) -> Pullback:
        return lambda gradient: _gathered(gradient * derivative(out, *values), shape)

    return [back(rule, value.shape) for rule, value in zip(DERIVATIVES[function], values, strict=False)]


def _product_rules(values: list[Array]) -> list[Pullback]:
    left, right = values
    return [
        lambda gradient: _gathered(gradient @ right.swapaxes(-1, -2), left.shape),
        lambda gradient: _gathered(left.swapaxes(-1, -2) @ gradient, right.shape),
    ]


def _gathered(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an array that was broadcast: summed over the axes along which it was repeated."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


def _where(condition: Array, one: Any, other: Any) -> Traced:
    parents = [
        (part, lambda gradient, kept=kept, shape=part.shape: _gathered(gradient * kept, shape))
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
    np.moveaxis: lambda x, source, target: x.moved(lambda array: np.moveaxis(array, source, target)),
    np.take_along_axis: lambda x, at, axis: x.moved(lambda array: np.take_along_axis(array, at, axis)),
    np.zeros_like: lambda x: np.zeros(x.shape),
}


def backward(out: Traced) -> dict[int, Array]:
    """The gradient of a number by each array that it came from, by their numbers."""
    found, waiting = {out.number: np.ones(out.shape)}, [(-out.number, out)]
    while waiting:  # the latest first: by then all that it went into has been
        _, one = heapq.heappop(waiting)
        for parent, back in one.parents:
            if parent.number not in found:
                heapq.heappush(waiting, (-parent.number, parent))
            found[parent.number] = found.get(parent.number, 0.0) + back(found[one.number])
    return found


def differentiable(model: type[Oracle]) -> type[Oracle]:
    """A float64 model whose weights are traced; looking up the pad's row teaches it nothing, as published."""

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


def gradients(
    model: type[Oracle],
    config: Any,
    architecture: str,
    tensors: Mapping[str, Any],
    inputs: Mapping[str, Any],
    weights: Mapping[str, Array],
) -> Stages:
    """By every tensor, the gradient of the sum of the outputs named in `weights`, each times its weight there."""
    run = differentiable(model)(config, architecture, tensors)
    stages: Any = run.run(**inputs)
    parts: Any = [(stages[name] * weight).sum() for name, weight in weights.items()]
    total: Any = sum(parts[1:], parts[0])
    found = backward(total)
    return {name: found.get(leaf.number, np.zeros(leaf.shape)) for name, leaf in run.tensors.items()}
