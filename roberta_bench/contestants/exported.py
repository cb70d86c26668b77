"""ONNX Runtime and OpenVINO, on a graph that transformers' PyTorch model is exported to; sizes stay free."""

import os
import tempfile
import warnings
from importlib import import_module
from importlib.metadata import version as installed

import torch
import transformers


class Encoder(torch.nn.Module):
    """Ids and mask to the last hidden state, which is what is exported."""

    def __init__(self, folder):
        super().__init__()
        self.model = transformers.RobertaModel.from_pretrained(
            folder, add_pooling_layer=False, attn_implementation="eager"
        )

    def forward(self, ids, mask):
        """[B, S] to [B, S, D]."""
        return self.model(ids, attention_mask=mask).last_hidden_state


def version(name):
    """Of the runtime."""
    return installed(name.partition("-")[0])


def begin(name):
    """Import the runtime."""
    import_module(name.partition("-")[0])
    transformers.RobertaModel  # noqa: B018  # is imported when it is asked for


def load(name, folder):
    """`onnxruntime` or `openvino`, in float32, or `openvino-bf16`."""
    runtime, _, way = name.partition("-")
    ids = torch.randint(4, 100, (2, 9))
    example = (ids, torch.ones_like(ids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"onnxruntime": onnxruntime, "openvino": openvino}[runtime](
            Encoder(folder).eval(), example, way or "f32"
        )


def onnxruntime(model, example, precision):
    """A session with the runtime's own settings."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        sizes = {name: {0: "batch", 1: "length"} for name in ("ids", "mask", "states")}
        torch.onnx.export(
            model, example, path, input_names=["ids", "mask"], output_names=["states"], dynamic_axes=sizes, dynamo=False
        )
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]


def openvino(model, example, precision):
    """A compiled model of that precision; by itself it would choose bfloat16 where the CPU knows that."""
    import openvino

    graph = openvino.convert_model(model, example_input=example)
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.compile_model(graph, "CPU", settings)
    return lambda ids, mask: compiled([ids, mask])[0]
