"""PyTorch's layers, made without values: those come once, from a seed or from a checkpoint (`weights.assign`).

PyTorch would draw each parameter first, only for it to be replaced; on meta even that costs more than a second of
imports.
"""

from torch import Tensor, nn

from roberta_pt.products import product


class Linear(nn.Linear):
    """A linear layer that waits for its values, and multiplies with the library that is fast on the CPU."""

    def reset_parameters(self) -> None:
        """Draw nothing."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return product(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """A table that waits for its values; the row `padding_idx` gets no gradient from being looked up."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class LayerNorm(nn.LayerNorm):
    """A LayerNorm that waits for its values."""

    def reset_parameters(self) -> None:
        """Set nothing."""
