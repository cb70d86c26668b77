"""The float64 reference model in NumPy, its functions and its gradients."""

from .model import Oracle, Stages, run

__all__ = ["Oracle", "Stages", "run"]
