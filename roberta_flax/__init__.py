"""RoBERTa in Flax (NNX), and its building blocks as Linen modules."""

from roberta_flax import trees as trees
from roberta_flax.encoder import create_position_ids_from_input_ids
from roberta_flax.linen import (
    FlaxRobertaClassificationHead,
    FlaxRobertaForCausalLMModule,
    FlaxRobertaForMaskedLMModule,
    FlaxRobertaForMultipleChoiceModule,
    FlaxRobertaForQuestionAnsweringModule,
    FlaxRobertaForSequenceClassificationModule,
    FlaxRobertaForTokenClassificationModule,
    FlaxRobertaLMHead,
    FlaxRobertaModule,
)
from roberta_flax.linen_blocks import (
    FlaxRobertaAttention,
    FlaxRobertaEmbeddings,
    FlaxRobertaEncoder,
    FlaxRobertaIntermediate,
    FlaxRobertaLayer,
    FlaxRobertaLayerCollection,
    FlaxRobertaOutput,
    FlaxRobertaPooler,
    FlaxRobertaSelfAttention,
    FlaxRobertaSelfOutput,
)
from roberta_flax.models import (
    FlaxRobertaForCausalLM,
    FlaxRobertaForMaskedLM,
    FlaxRobertaForMultipleChoice,
    FlaxRobertaForQuestionAnswering,
    FlaxRobertaForSequenceClassification,
    FlaxRobertaForTokenClassification,
    FlaxRobertaModel,
)
from roberta_flax.pretrained import FlaxRobertaPreTrainedModel

__all__ = [
    "FlaxRobertaAttention",
    "FlaxRobertaClassificationHead",
    "FlaxRobertaEmbeddings",
    "FlaxRobertaEncoder",
    "FlaxRobertaForCausalLM",
    "FlaxRobertaForCausalLMModule",
    "FlaxRobertaForMaskedLM",
    "FlaxRobertaForMaskedLMModule",
    "FlaxRobertaForMultipleChoice",
    "FlaxRobertaForMultipleChoiceModule",
    "FlaxRobertaForQuestionAnswering",
    "FlaxRobertaForQuestionAnsweringModule",
    "FlaxRobertaForSequenceClassification",
    "FlaxRobertaForSequenceClassificationModule",
    "FlaxRobertaForTokenClassification",
    "FlaxRobertaForTokenClassificationModule",
    "FlaxRobertaIntermediate",
    "FlaxRobertaLMHead",
    "FlaxRobertaLayer",
    "FlaxRobertaLayerCollection",
    "FlaxRobertaModel",
    "FlaxRobertaModule",
    "FlaxRobertaOutput",
    "FlaxRobertaPooler",
    "FlaxRobertaPreTrainedModel",
    "FlaxRobertaSelfAttention",
    "FlaxRobertaSelfOutput",
    "create_position_ids_from_input_ids",
]
