"""What the float64 model runs: a case as it stands, or with a fault in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from roberta_core.config import RobertaConfig

from ..oracle import Oracle, Stages
from .case import Case


@dataclass(frozen=True)
class Subject:
    """A configuration, a class, its weights and inputs, and the float64 model that runs them."""

    config: RobertaConfig
    architecture: str
    tensors: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]
    model: type[Oracle] = Oracle

    @classmethod
    def of(cls, case: Case) -> "Subject":
        """Return a case as it stands."""
        return cls(case.configuration, case.architecture, case.tensors, case.arrays)

    def run(self) -> Stages:
        """Run the model and return every stage."""
        return self.model(self.config, self.architecture, self.tensors).run(**self.inputs)

    @property
    def portable(self) -> bool:
        """Whether any implementation can run it: the fault is not in the model's code."""
        return self.model is Oracle
