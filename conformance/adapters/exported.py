"""The adapter of exported files: what `roberta export --to onnx` writes, in ONNX Runtime or OpenVINO."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from roberta_core.backend import load
from roberta_core.checkpoints import save
from roberta_core.config import RobertaConfig
from roberta_core.exports import export

from . import flatten

LABELS = ("labels", "start_positions", "end_positions")  # an exported model computes no loss


class Exported:
    """An exported file, loaded as a model of `roberta_onnx`.

    Args:
        runtime: The backend that runs it: "onnx" or "openvino".
    """

    offers = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")

    def __init__(self, runtime: str):
        self.backend = load(runtime)
        self.name, self.title = f"exported-{runtime}", f"{self.backend.title}, exported"

    @property
    def version(self) -> str:
        """The runtime's version."""
        return self.backend.version

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Save a checkpoint, export it and load the file."""
        with TemporaryDirectory() as folder:
            source, target = Path(folder) / "checkpoint", Path(folder) / "exported"
            save(source, config, architecture, tensors)
            export(source, target, "onnx", architecture=architecture, check=False)  # the cases check it
            return self.load(architecture, target)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load an exported file from its folder."""
        return self.backend.from_pretrained(architecture, source)

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: the file contains a graph."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the main outputs as stages; labels are ignored."""
        return flatten(self.backend.run(model, {key: value for key, value in inputs.items() if key not in LABELS}))
