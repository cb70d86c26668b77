"""The layers in ONNX. Each knows the published path of its parameters, which the graph of its input holds."""

from roberta_onnx.graph import Tensor


class Linear:
    """A linear layer: [..., I] to [..., O].

    Args:
        path: The published path of its parameters.
    """

    def __init__(self, path: str):
        self.path = path

    def __call__(self, x: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        weight = x.graph.parameter(f"{self.path}.weight", transposed=True)
        return x @ weight + x.graph.parameter(f"{self.path}.bias")


class Embedding:
    """A table of vectors: ids [...] to [..., D].

    Args:
        path: The published path of its parameter.
    """

    def __init__(self, path: str):
        self.path = path

    def __call__(self, ids: Tensor) -> Tensor:
        """[...] to [..., D]."""
        return ids.graph.parameter(f"{self.path}.weight").add("Gather", ids, axis=0)


class LayerNorm:
    """LayerNorm over the last axis.

    Args:
        path: The published path of its parameters.
        eps: What is added to the variance.
    """

    def __init__(self, path: str, eps: float):
        self.path, self.eps = path, eps

    def __call__(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        weight, bias = (x.graph.parameter(f"{self.path}.{leaf}") for leaf in ("weight", "bias"))
        return x.add("LayerNormalization", weight, bias, axis=-1, epsilon=self.eps)
