"""PyTorch's layers, made without values: those come once, from a seed or from a checkpoint (`weights.assign`).

PyTorch would draw each parameter first, only for it to be replaced; on meta even that costs more than a second of
imports.
"""

from torch import nn


class Linear(nn.Linear):
    """A linear layer that waits for its values."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class Embedding(nn.Embedding):
    """A table that waits for its values; the row `padding_idx` gets no gradient from being looked up."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class LayerNorm(nn.LayerNorm):
    """A LayerNorm that waits for its values."""

    def reset_parameters(self) -> None:
        """Set nothing."""
