"""The adapter of the float64 model, which computes the expected values."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.checkpoints import load
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig

from ..oracle import Oracle


class Reference:
    """The float64 model."""

    name, title = "oracle", "NumPy float64"
    version = np.__version__

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build the model of a class."""
        return Oracle(config, architecture, tensors)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load the model of a checkpoint."""
        folder = resolve(source)
        config = RobertaConfig.from_pretrained(folder)
        tensors, _ = load(folder, config, architecture)
        return Oracle(config, architecture, tensors)

    def tensors(self, model: Oracle) -> dict[str, np.ndarray]:
        """Return the tensors that the model was built from."""
        return dict(model.tensors)

    def run(self, model: Oracle, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return every stage; attentions only if requested."""
        stages = model.run(**inputs)
        return {name: value for name, value in stages.items() if attentions or "attentions" not in name}
