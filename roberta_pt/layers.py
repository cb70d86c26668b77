"""PyTorch's layers, made without values: those come once, from a seed or from a checkpoint (`weights.assign`).

PyTorch would draw each parameter first, only for it to be replaced; on meta even that costs more than a second of
imports. A layer that a user makes, on another device, is drawn as PyTorch draws it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from roberta_pt.products import multiply


class _EqualsLinear(type):
    """Let a subclass of `nn.Linear` equal it as a key: quantize_dynamic looks modules up by their exact type."""

    def __eq__(cls, other: object) -> bool:
        return other is nn.Linear or cls is other

    def __hash__(cls) -> int:
        return hash(nn.Linear)


class Linear(nn.Linear, metaclass=_EqualsLinear):
    """A linear layer that waits for its values, and multiplies with the library that is fast on the CPU."""

    def reset_parameters(self) -> None:
        """Draw nothing on meta."""
        if self.weight.device.type != "meta":
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return multiply(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """A table that waits for its values; the row `padding_idx` gets no gradient from being looked up."""

    def reset_parameters(self) -> None:
        """Draw nothing on meta."""
        if self.weight.device.type != "meta":
            super().reset_parameters()


class Dropout(nn.Dropout):
    """Dropout that a `Trainer` on a CPU lets draw two elements from each word of the generator: three times as fast."""

    quick = False

    def forward(self, input: Tensor) -> Tensor:
        """[...] to [...]."""
        if self.quick and self.training and 0 < self.p < 1:
            return _Dropped.apply(input, self.p)
        return super().forward(input)


class _Dropped(torch.autograd.Function):
    """Each element is 0 with probability `rate`, in steps of 2^-32, else divided by what is left."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, rate: float) -> Tensor:
        words = torch.empty(-(-input.numel() // 2), dtype=torch.int64).random_(-(2**63), None)  # two elements in each
        halves = words.view(torch.int32)[: input.numel()].view(input.shape)
        kept = halves >= round(rate * 2**32) - 2**31
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - rate)
        return (input * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None


class LayerNorm(nn.LayerNorm):
    """A LayerNorm that waits for its values."""

    def reset_parameters(self) -> None:
        """Set nothing on meta."""
        if self.weight.device.type != "meta":
            super().reset_parameters()
