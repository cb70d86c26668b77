"""ONNX Runtime and OpenVINO, on a graph exported from transformers' PyTorch model, with dynamic sizes."""

import os
import sys
import tempfile
import warnings
from importlib import import_module
from importlib.metadata import version as installed

import torch
import transformers


class Encoder(torch.nn.Module):
    """The exported module: ids and mask to the last hidden state."""

    def __init__(self, folder):
        super().__init__()
        self.model = transformers.RobertaModel.from_pretrained(
            folder, add_pooling_layer=False, attn_implementation="eager"
        )

    def forward(self, ids, mask):
        """Return the last hidden state [B, S, D]."""
        return self.model(ids, attention_mask=mask).last_hidden_state


def split_name(name):
    """Return the runtime and the precision, such as `bf16`."""
    runtime, _, way = name.removeprefix("transformers-").partition("-")
    return runtime, way or "f32"


def version(name):
    """Return the version of the runtime."""
    return installed(split_name(name)[0])


def import_libraries(name):
    """Import the runtime."""
    import_module(split_name(name)[0])
    transformers.RobertaModel  # noqa: B018  # imports the class


def load(name, folder):
    """Load `onnxruntime` or `openvino` in float32, or `openvino-bf16`, prefixed by `transformers-`."""
    runtime, precision = split_name(name)
    ids = torch.randint(4, 100, (2, 9))
    example = (ids, torch.ones_like(ids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"onnxruntime": load_onnxruntime, "openvino": load_openvino}[runtime](
            Encoder(folder).eval(), example, precision
        )


def load_onnxruntime(model, example, precision):
    """Return a session with the runtime's default settings."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        sizes = {name: {0: "batch", 1: "length"} for name in ("ids", "mask", "states")}
        torch.onnx.export(
            model, example, path, input_names=["ids", "mask"], output_names=["states"], dynamic_axes=sizes, dynamo=False
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]


def load_openvino(model, example, precision):
    """Return a compiled model of a precision; by default OpenVINO uses bfloat16 if the CPU supports it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it reports imports over the network
    import openvino

    graph = openvino.convert_model(model, example_input=example)
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(graph, "CPU", settings)
    return lambda ids, mask: compiled([ids, mask])[0]
