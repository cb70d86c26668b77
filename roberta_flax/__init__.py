"""RoBERTa in Flax (NNX), and its building blocks as Linen modules."""

from roberta_flax import trees as trees
from roberta_flax.encoder import create_position_ids_from_input_ids
from roberta_flax.linen import (
    FlaxRobertaClassificationHead,
    FlaxRobertaForMaskedLMModule,
    FlaxRobertaForMultipleChoiceModule,
    FlaxRobertaForQuestionAnsweringModule,
    FlaxRobertaForSequenceClassificationModule,
    FlaxRobertaForTokenClassificationModule,
    FlaxRobertaLMHead,
    FlaxRobertaModule,
    FlaxRobertaPooler,
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
    "FlaxRobertaClassificationHead",
    "FlaxRobertaForCausalLM",
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
    "FlaxRobertaLMHead",
    "FlaxRobertaModel",
    "FlaxRobertaModule",
    "FlaxRobertaPooler",
    "FlaxRobertaPreTrainedModel",
    "create_position_ids_from_input_ids",
]
