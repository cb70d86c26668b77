"""The machine's limit: the encoder's matrix products alone, by oneDNN in float32.

`limit` multiplies by the weights as a model keeps them, `limit-packed` by copies that oneDNN has put in its own order.
"""

import json
import os

import torch

OPERATOR = torch.ops.mkldnn._linear_pointwise


def version(name):
    """Of the library that has oneDNN."""
    return torch.__version__


def begin(name):
    """All is imported."""


def load(name, folder):
    """A function that multiplies as an encoder of that shape does, and answers nothing."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layer = [(hidden, hidden)] * 4 + [(inner, hidden), (hidden, inner)]
    weights = [torch.randn(size) for _ in range(config["num_hidden_layers"]) for size in layer]
    steps = [(weight.shape[1], packed(weight) if name == "limit-packed" else weight) for weight in weights]
    drawn = {}

    def run(ids, mask):
        for size in (hidden, inner):  # in a shape's first call, whose time counts apart
            if (ids.size, size) not in drawn:
                drawn[ids.size, size] = torch.randn(ids.size, size)
        for size, weight in steps:
            OPERATOR(drawn[ids.size, size], weight, None, "none", [], "")

    return run


def packed(weight):
    """A weight in oneDNN's own order."""
    return torch.ops.mkldnn._reorder_linear_weight(weight)
