"""The machine's limit: the encoder's matrix products alone, by oneDNN in float32."""

import json
import os

import torch

OPERATOR = torch.ops.mkldnn._linear_pointwise


def version(name):
    """Of the library that has oneDNN."""
    return torch.__version__


def load(name, folder):
    """A function that multiplies as an encoder of that shape does, and answers nothing."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    sizes = [(hidden, hidden)] * 4 + [(hidden, inner), (inner, hidden)]
    weights = [[torch.randn(out, size) for size, out in sizes] for _ in range(config["num_hidden_layers"])]

    def run(ids, mask):
        rows = {size: torch.randn(ids.size, size) for size in (hidden, inner)}
        for layer in weights:
            for weight in layer:
                OPERATOR(rows[weight.shape[1]], weight, None, "none", [], "")

    return run
