"""The activations of the feed-forward network in ONNX, by their published names."""

from collections.abc import Callable

from roberta_onnx.graph import Tensor


def gelu(x: Tensor) -> Tensor:
    """GELU by the error function."""
    return x.add("Gelu", approximate="none")


def _silu(x: Tensor) -> Tensor:
    return x * x.add("Sigmoid")


def _gelu_tanh(x: Tensor) -> Tensor:
    return x.add("Gelu", approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x * (x * 1.702).add("Sigmoid"),
    "relu": lambda x: x.add("Relu"),
    "silu": _silu,
    "swish": _silu,
    "tanh": lambda x: x.add("Tanh"),
}
