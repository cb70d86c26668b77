"""Export to ONNX."""

from pathlib import Path

from roberta_core.checkpoints.conversion import Opened
from roberta_core.checkpoints.exported import GRAPH
from roberta_core.exports import Exporter, Function, keep_pooler
from roberta_onnx.files import load_graph
from roberta_onnx.models import CLASSES
from roberta_onnx.runtimes import RUNTIMES


def write_onnx(opened: Opened, folder: Path, dtype: str, ids: str) -> None:
    """Write the graph of a checkpoint."""
    model = CLASSES[opened.architecture](opened.config, seed=None, dtype=dtype, **keep_pooler(opened))
    model._assign(opened.tensors.items())
    model.save_graph(folder / GRAPH, ids)


def open_onnx(folder: Path) -> Function:
    """Return the function of an exported graph in ONNX Runtime."""
    run = load_graph(folder / GRAPH, None, RUNTIMES["onnx"])
    return lambda **inputs: run(inputs)


ONNX = Exporter("onnx", GRAPH, write_onnx, open_onnx, ("float32", "float16", "int8"), ("int64", "int32"))
