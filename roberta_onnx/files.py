"""Run a folder that has an exported graph in the place of weights."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from roberta_core.checkpoints.exported import check_graph_class
from roberta_onnx.runtimes import Run, Runtime

DEFAULTS = {"attention_mask": 1, "token_type_ids": 0}  # the value of an input that a call does not give


def load_graph(graph: Path, architecture: str | None, runtime: Runtime, dtype: str = "float32") -> Run:
    """Return the function of an exported graph; it accepts ids, masks and token types of any integer type.

    `architecture` is the class that it must have been exported from, if that matters.

    Raises:
        CheckpointError: The graph was exported from another class.
        ValueError: The runtime cannot read it.
    """
    if architecture is not None:
        check_graph_class(graph, architecture)
    compiled = runtime.open(graph, dtype)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        refused = [name for name in inputs if name not in compiled.inputs and name not in DEFAULTS]
        if refused:
            known = ", ".join(compiled.inputs)
            raise ValueError(f"{graph} has no input {', '.join(refused)}; its inputs are {known}")
        ids = inputs["input_ids"]
        for name, array in inputs.items():
            if array.shape != ids.shape:
                raise ValueError(
                    f"{name} has the shape {list(array.shape)}, but the inputs of {graph} all have that of input_ids, "
                    f"{list(ids.shape)}"
                )
        given = {
            name: inputs.get(name, np.full_like(ids, DEFAULTS.get(name, 0))).astype(kind)
            for name, kind in compiled.inputs.items()
        }
        return compiled(given)

    return run
