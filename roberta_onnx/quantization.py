"""Dynamic quantisation by ONNX Runtime: the matrices of linear layers as int8, one scale for each output channel.

Embeddings stay as they are, and so does a vocabulary projection that is tied to them. The inputs of linear layers are
rounded to uint8 with a scale for each call.
"""

import logging
import tempfile
from pathlib import Path

from roberta_onnx.graph import EMBEDDED, Graph


def save_quantized(graph: Graph, path: Path) -> None:
    """Write a graph with int8 matrices.

    The weights have 7 bits: with 8, the sums of two products overflow on CPUs without the VNNI instructions, and the
    results are wrong.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model.onnx"
        graph.save(plain)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # its advice is for graphs of other exporters
        try:
            quantize_dynamic(
                plain,
                path,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=graph.size > EMBEDDED,
                extra_options={"MatMulConstBOnly": True},
            )
        finally:
            logging.getLogger().setLevel(level)
