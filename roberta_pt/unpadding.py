"""Computing the encoder without padding: its rows are the tokens that a step needs, and attention alone sees sequences.

Shapes: B batch, S sequence, R rows, D hidden.
"""

from typing import Any

import torch
from torch import Tensor


class Unpadding:
    """The tokens that an encoder and its attention compute; all, unless `rows` names some.

    Attributes:
        rows: The places [R] of the tokens among all B*S, in order, or None.
        shape: B and S.
    """

    def __init__(self) -> None:
        self.rows: Tensor | None = None
        self.shape: tuple[int, int] = (0, 0)

    def unpad(self, x: Tensor) -> Tensor:
        """[B, S, D] to [R, D], or `x` itself if all tokens are computed."""
        return x if self.rows is None else _Gathered.apply(x.flatten(0, 1), self.rows)

    def pad(self, x: Tensor) -> Tensor:
        """[R, D] to [B, S, D] with zeros at the other tokens, or `x` itself if all tokens are computed."""
        if self.rows is None:
            return x
        return _Scattered.apply(x, self.rows, self.shape[0] * self.shape[1]).unflatten(0, self.shape)


ALL = Unpadding()  # of every model, until a Trainer gives it another one


class _Gathered(torch.autograd.Function):
    """Some rows of a matrix, each at most once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.count = len(x)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return _scatter(gradients[0], rows, ctx.count), None


class _Scattered(torch.autograd.Function):
    """A matrix of `count` rows, of which some are given and the others 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(rows)
        return _scatter(x, rows, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        return gradients[0].index_select(0, rows), None, None


def _scatter(x: Tensor, rows: Tensor, count: int) -> Tensor:
    return x.new_zeros(count, x.shape[1]).index_copy_(0, rows, x)
