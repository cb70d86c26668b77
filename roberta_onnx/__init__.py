"""RoBERTa as ONNX graphs, written from the table of parameters without a framework.

`OnnxRobertaForMaskedLM.from_pretrained(source)` loads any checkpoint and runs it in ONNX Runtime or OpenVINO, from
NumPy to NumPy. For inference only: there is no dropout, no gradient and no generation.
"""

from roberta_onnx.models import (
    OnnxRobertaForCausalLM,
    OnnxRobertaForMaskedLM,
    OnnxRobertaForMultipleChoice,
    OnnxRobertaForQuestionAnswering,
    OnnxRobertaForSequenceClassification,
    OnnxRobertaForTokenClassification,
    OnnxRobertaModel,
)
from roberta_onnx.pretrained import OnnxRobertaPreTrainedModel

__all__ = [
    "OnnxRobertaForCausalLM",
    "OnnxRobertaForMaskedLM",
    "OnnxRobertaForMultipleChoice",
    "OnnxRobertaForQuestionAnswering",
    "OnnxRobertaForSequenceClassification",
    "OnnxRobertaForTokenClassification",
    "OnnxRobertaModel",
    "OnnxRobertaPreTrainedModel",
]
