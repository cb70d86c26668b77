"""RoBERTa in TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"roberta_tf is written for Keras with TensorFlow, but Keras runs on {keras.backend.backend()} here: "
        "set KERAS_BACKEND=tensorflow before Keras is imported"
    )

from roberta_tf import trees as trees
from roberta_tf.blocks import (
    TFRobertaAttention,
    TFRobertaEncoder,
    TFRobertaIntermediate,
    TFRobertaLayer,
    TFRobertaOutput,
    TFRobertaSelfAttention,
    TFRobertaSelfOutput,
)
from roberta_tf.encoder import Embeddings, Pooler, create_position_ids_from_input_ids
from roberta_tf.heads import ClassificationHead, PublishedLMHead
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
from roberta_tf.schedules import AdamWeightDecay, WarmUp, create_optimizer

# The published building blocks, for classes of one's own.
TFRobertaClassificationHead = ClassificationHead
TFRobertaEmbeddings = Embeddings
TFRobertaLMHead = PublishedLMHead
TFRobertaMainLayer = TFRobertaModel
TFRobertaPooler = Pooler

__all__ = [
    "AdamWeightDecay",
    "TFRobertaAttention",
    "TFRobertaClassificationHead",
    "TFRobertaEmbeddings",
    "TFRobertaEncoder",
    "TFRobertaForCausalLM",
    "TFRobertaForMaskedLM",
    "TFRobertaForMultipleChoice",
    "TFRobertaForQuestionAnswering",
    "TFRobertaForSequenceClassification",
    "TFRobertaForTokenClassification",
    "TFRobertaIntermediate",
    "TFRobertaLMHead",
    "TFRobertaLayer",
    "TFRobertaMainLayer",
    "TFRobertaModel",
    "TFRobertaOutput",
    "TFRobertaPooler",
    "TFRobertaPreTrainedModel",
    "TFRobertaSelfAttention",
    "TFRobertaSelfOutput",
    "WarmUp",
    "create_optimizer",
    "create_position_ids_from_input_ids",
]
