"""RoBERTa in PyTorch."""

from roberta_pt import trees as trees
from roberta_pt.block_caches import DynamicCache, EncoderDecoderCache
from roberta_pt.blocks import (
    RobertaAttention,
    RobertaEncoder,
    RobertaIntermediate,
    RobertaLayer,
    RobertaOutput,
    RobertaSelfAttention,
    RobertaSelfOutput,
)
from roberta_pt.encoder import Embeddings, Pooler, create_position_ids_from_input_ids
from roberta_pt.heads import ClassificationHead, LMHead
from roberta_pt.models import (
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)
from roberta_pt.pretrained import RobertaPreTrainedModel

# The published building blocks, for classes of one's own.
RobertaClassificationHead = ClassificationHead
RobertaEmbeddings = Embeddings
RobertaLMHead = LMHead
RobertaPooler = Pooler

__all__ = [
    "DynamicCache",
    "EncoderDecoderCache",
    "RobertaAttention",
    "RobertaClassificationHead",
    "RobertaEmbeddings",
    "RobertaEncoder",
    "RobertaForCausalLM",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaIntermediate",
    "RobertaLMHead",
    "RobertaLayer",
    "RobertaModel",
    "RobertaOutput",
    "RobertaPooler",
    "RobertaPreTrainedModel",
    "RobertaSelfAttention",
    "RobertaSelfOutput",
    "create_position_ids_from_input_ids",
]
