"""The adapter of an exported model: `roberta parity CHECKPOINT --against onnx:model.onnx`, run by ONNX Runtime.

The names of outputs are those of the published classes: `logits`, `last_hidden_state`, `hidden_states.1` and so on. If
a model has a single output, any name is the main output. Outputs of other names are not compared.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.config import RobertaConfig

from .port import MAIN

PREFIX = "onnx:"
STAGE = re.compile(
    r"(logits|loss|last_hidden_state|pooler_output|start_logits|end_logits|(hidden_states|attentions)\.\d+)"
)
TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}


class Onnx:
    """A model file of ONNX Runtime.

    Args:
        path: The file.

    Raises:
        ValueError: If the file does not exist, ONNX Runtime is missing, or it cannot read the file.
    """

    partial = True  # it may return only some of the stages

    def __init__(self, path: str):
        self.name, self.path = f"{PREFIX}{path}", path
        if not Path(path).is_file():
            raise ValueError(f"{self.name}: {path} is not a file")
        try:
            import onnxruntime  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(f"{self.name} requires ONNX Runtime: pip install onnxruntime") from None
        self.title, self.version = f"ONNX Runtime {path}", str(onnxruntime.__version__)
        try:
            self.session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises a different type for each reason
            raise ValueError(f"ONNX Runtime cannot read {path}: {error}") from None

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Not supported: the file contains the weights."""
        raise NotImplementedError(f"{self.name} runs checkpoints only")

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Return what naming the outputs requires: the class and the number of layers."""
        config = RobertaConfig.from_pretrained(resolve(source))
        return architecture, config.num_hidden_layers

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Run the file and name its stages; `token_type_ids` of 0 are added if it requires them.

        Raises:
            ValueError: If the file requires another input, or has no output of a known name.
        """
        architecture, layers = model
        given = {**inputs, "token_type_ids": np.zeros_like(inputs["input_ids"])}
        wanted = {one.name: TYPES.get(one.type, np.float32) for one in self.session.get_inputs()}
        lacking = sorted(wanted.keys() - given.keys())
        if lacking:
            raise ValueError(f"{self.name} requires {', '.join(lacking)}; the inputs are {', '.join(given)}")
        names = [one.name for one in self.session.get_outputs()]
        values = self.session.run(None, {name: given[name].astype(kind) for name, kind in wanted.items()})
        output = dict(zip(names, values, strict=True))
        stages = {name: value for name, value in output.items() if STAGE.fullmatch(name)}
        if not stages and len(output) == 1:
            stages = {MAIN[architecture == "Model"]: values[0]}
        if not stages:
            raise ValueError(f"{self.name} returned {', '.join(names)}; name the main output logits or {MAIN[1]}")
        if architecture != "Model" and "last_hidden_state" in stages:
            stages[f"hidden_states.{layers}"] = stages.pop("last_hidden_state")
        return stages
