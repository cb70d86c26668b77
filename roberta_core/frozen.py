"""What the views that `model.frozen()` returns share: they stand for their model, and say how they compute."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class HeadAt:
    """Stands in for the head of a language model during one call: the logits of some tokens only.

    Args:
        head: the model's head, which is called.
        select: a function from hidden states [B, S, D] to those of the tokens, [B, K, D].
    """

    def __init__(self, head: Any, select: Callable[[Any], Any]):
        self.head, self.select = head, select

    def __call__(self, hidden: Any, *args: Any, **kwargs: Any) -> Any:
        """Logits [B, K, V]."""
        return self.head(self.select(hidden), *args, **kwargs)


class FrozenView:
    """A view of a model: its attributes are the model's.

    Attributes:
        model: The model, which stays as it is.
        path: How the latest call was computed, and why, in one sentence.
    """

    def __init__(self, model: Any):
        self.model = model
        self.refresh()

    def refresh(self) -> None:
        """Look at the model again."""
        raise NotImplementedError

    def _describe(self, obstacle: str | None) -> str:
        """How calls are computed: plainly because of an obstacle, or faster."""
        raise NotImplementedError

    def _check_positions(self, positions: Any, given: Mapping[str, Any]) -> np.ndarray | None:
        """Return the positions [B, K] of the tokens whose logits are requested; None if those of all are.

        Args:
            positions: what the caller passed.
            given: the arguments of the call by name.

        Raises:
            TypeError: The model has no logits for each token and word.
            ValueError: They are not positions of these rows, or labels need the logits of all tokens.
        """
        if positions is None:
            return None
        if not hasattr(self.model, "lm_head"):
            raise TypeError(f"{type(self.model).__name__} has no logits for each word: call it without positions")
        if given.get("labels") is not None:
            raise ValueError(
                "positions and labels were passed: the loss needs the logits of all tokens; pass one of them"
            )
        table = np.asarray(positions)
        tokens: Any = given.get("inputs_embeds") if given.get("input_ids") is None else given["input_ids"]
        shape: Any = np.shape(tokens)
        is_table = table.ndim == 2 and table.dtype.kind in "iu" and table.size > 0 and len(shape) >= 2
        fits = is_table and len(table) == shape[0] and table.shape[1] <= shape[1]
        if not fits or table.min() < 0 or table.max() >= shape[1]:
            raise ValueError(
                f"positions must be integers from 0 to {shape[1] - 1 if len(shape) > 1 else 0} of shape "
                f"[{shape[0] if shape else 0}, K], not {table.dtype} {list(table.shape)}"
            )
        return table.astype(np.int64)

    def _report(self, obstacle: str | None) -> None:
        """Set `path` by why a call cannot be faster; None if it is."""
        self._set_path(self._describe(obstacle))

    def _set_path(self, path: str) -> None:
        """Set `path`, and log it where it differs from the one before."""
        if path != getattr(self, "path", None):
            self.path = path
            logging.getLogger(type(self).__module__).info("%s runs %s", type(self.model).__name__, path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "model" not in vars(self):
            raise AttributeError(name)
        return getattr(self.model, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model,)  # packed weights, graphs and compiled functions cannot be copied or pickled

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.model).__name__}, {self.path})"


def unwrap(model: Any) -> Any:
    """The model of a view; a model itself."""
    return model.model if isinstance(model, FrozenView) else model
