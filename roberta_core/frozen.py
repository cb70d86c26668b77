"""What the views that `model.frozen()` returns share: they stand for their model, and say how they compute."""

import logging
from typing import Any


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

    def _report(self, obstacle: str | None) -> None:
        """Set `path`, and log it where it differs from the one before."""
        path = self._describe(obstacle)
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
