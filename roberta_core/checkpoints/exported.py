"""A folder whose model is an exported ONNX graph instead of weights, as `roberta export --to onnx` writes it."""

import os
from pathlib import Path

from roberta_core.checkpoints import formats
from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.config import RobertaConfig

GRAPH = "model.onnx"


def find_graph(source: str | os.PathLike[str]) -> Path | None:
    """Return the graph of a folder that has one and no weights; None for everything else."""
    folder = Path(source)
    graph = folder / GRAPH
    if not graph.is_file() or any(formats.has_format(folder, kind) for kind in formats.FORMATS):
        return None
    return graph


def check_graph_class(graph: Path, architecture: str) -> None:
    """Raise `CheckpointError` unless a graph was exported from this class: it has the outputs of no other."""
    found = (RobertaConfig.from_pretrained(graph.parent).architectures or ["an unknown class"])[0]
    if not found.endswith(f"Roberta{architecture}"):
        raise CheckpointError(
            f"{graph.parent} has the graph of {found}, not of Roberta{architecture}: export a checkpoint of that class"
        )
