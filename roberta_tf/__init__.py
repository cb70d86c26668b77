"""RoBERTa in TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"roberta_tf is written for Keras with TensorFlow, but Keras runs on {keras.backend.backend()} here: "
        "set KERAS_BACKEND=tensorflow before Keras is imported"
    )

from roberta_tf import trees as trees
from roberta_tf.models import (
    TFRobertaForCausalLM,
    TFRobertaForMaskedLM,
    TFRobertaForMultipleChoice,
    TFRobertaForQuestionAnswering,
    TFRobertaForSequenceClassification,
    TFRobertaForTokenClassification,
    TFRobertaModel,
)
from roberta_tf.pretrained import TFRobertaPreTrainedModel

__all__ = [
    "TFRobertaForCausalLM",
    "TFRobertaForMaskedLM",
    "TFRobertaForMultipleChoice",
    "TFRobertaForQuestionAnswering",
    "TFRobertaForSequenceClassification",
    "TFRobertaForTokenClassification",
    "TFRobertaModel",
    "TFRobertaPreTrainedModel",
]
