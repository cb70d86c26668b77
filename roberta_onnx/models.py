"""The seven RoBERTa classes as ONNX graphs. Inputs and outputs are the published ones (transformers 4.57.6).

`forward` writes the graph; calling a model runs it on NumPy arrays (`OnnxRobertaPreTrainedModel`).

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, H head, V vocabulary, K labels, C choices.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.input_validation import check_choices
from roberta_core.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from roberta_onnx.caches import Cache, count_real_tokens
from roberta_onnx.encoder import Embeddings, Encoder, Pooler
from roberta_onnx.graph import Tensor
from roberta_onnx.heads import ClassificationHead, LMHead
from roberta_onnx.layers import Linear
from roberta_onnx.losses import causal_loss, sequence_loss, span_loss, token_loss
from roberta_onnx.masks import combine_masks, expand_head_mask, to_additive_mask
from roberta_onnx.pretrained import OnnxRobertaPreTrainedModel


class OnnxRobertaModel(OnnxRobertaPreTrainedModel):
    """RoBERTa encoder and pooler; a decoder if `config.is_decoder`, with cross-attention if `add_cross_attention`.

    Args:
        config: The configuration.
        add_pooling_layer: Whether to add the pooler, which computes `pooler_output` from the first token.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).

    Example:
        >>> import numpy as np
        >>> from roberta_core import RobertaConfig
        >>> from roberta_onnx import OnnxRobertaModel
        >>> model = OnnxRobertaModel(RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3))
        >>> tuple(model(np.array([[0, 45, 9, 2]])).last_hidden_state.shape)
        (1, 4, 12)
    """

    architecture = "Model"
    output_class = BaseModelOutputWithPoolingAndCrossAttentions

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True, **settings: Any):
        super().__init__(config, **settings)
        self.embeddings = Embeddings(config, f"{self.prefix}embeddings")
        self.encoder = Encoder(config, f"{self.prefix}encoder")
        self.pooler = Pooler(f"{self.prefix}pooler") if add_pooling_layer else None
        self._initialise()

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]  # the base is called by name only
        self,
        input_ids: Tensor | None = None,  # [B, S]
        attention_mask: Tensor | None = None,  # [B, T], [B, S, T] or [B, 1, S, T]
        token_type_ids: Tensor | None = None,  # [B, S]
        position_ids: Tensor | None = None,  # [B, S]
        head_mask: Tensor | None = None,  # [N] or [L, N]
        inputs_embeds: Tensor | None = None,  # [B, S, D]
        encoder_hidden_states: Tensor | None = None,  # [B, T, D]
        encoder_attention_mask: Tensor | None = None,  # [B, T]
        past_key_values: Cache | None = None,  # L of (key, value), or with the cross pair, each [B, N, T, H]
        past_real: Tensor | None = None,  # [B, 1], the cached tokens that are not padding, if the cache counted them
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[Tensor]:
        """Hidden states of ids or embeddings: last_hidden_state [B, S, D], pooler_output [B, D]."""
        given: Any = input_ids if inputs_embeds is None else inputs_embeds
        past_length = None if past_key_values is None else past_key_values[0][0].count(2)
        if position_ids is None:
            real = self._find_real_tokens(input_ids, inputs_embeds)
            before = None if past_length is None else count_real_tokens(past_real, attention_mask, past_length)
            position_ids = self.embeddings.positions(real, before)
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        key_length = given.count(1) if past_length is None else given.count(1) + past_length
        states_mask = None if encoder_attention_mask is None else to_additive_mask(encoder_attention_mask, embedded)
        hidden_states, attentions, cross_attentions, present = self.encoder(
            embedded,
            combine_masks(self.config, attention_mask, embedded, past_length, key_length),
            expand_head_mask(self.config, head_mask, embedded),
            encoder_hidden_states,
            states_mask,
            past_key_values,
        )
        fields = {
            "last_hidden_state": hidden_states[-1],
            "pooler_output": None if self.pooler is None else self.pooler(hidden_states[-1]),
            "hidden_states": hidden_states,
            "past_key_values": present,
            "attentions": attentions,
            "cross_attentions": cross_attentions,
        }
        return BaseModelOutputWithPoolingAndCrossAttentions(fields)

    def _find_real_tokens(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """[B, S] of 1 where a token is not padding, else 0; embeddings hide which of them are pads, so none is."""
        if input_ids is not None:
            return (~input_ids.equals(self.config.pad_token_id)).cast(np.int64)
        shape: Any = inputs_embeds and inputs_embeds.shape(0, 2)
        return shape.graph.constant(1, np.int64).add("Expand", shape)


class OnnxRobertaForCausalLM(OnnxRobertaPreTrainedModel):
    """RoBERTa with a language-model head that predicts the next token; requires `config.is_decoder` to be causal.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForCausalLM"
    output_class = CausalLMOutputWithCrossAttentions

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel)
        self.lm_head = LMHead(config, "lm_head")
        self._initialise()

    def forward(self, labels: Tensor | None = None, **inputs: Any) -> CausalLMOutputWithCrossAttentions[Tensor]:
        """Logits [B, S, V] of the next tokens; with labels [B, S] the loss."""
        body = self.roberta.forward(**inputs)
        logits = self.lm_head(body["last_hidden_state"])
        loss = None if labels is None else causal_loss(logits, labels)
        return self._add_fields(body, loss=loss, logits=logits)


class OnnxRobertaForMaskedLM(OnnxRobertaPreTrainedModel):
    """RoBERTa with a language-model head: predictions for each `<mask>`.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForMaskedLM"
    output_class = MaskedLMOutput

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel)
        self.lm_head = LMHead(config, "lm_head")
        self._initialise()

    def forward(self, labels: Tensor | None = None, **inputs: Any) -> MaskedLMOutput[Tensor]:
        """Logits [B, S, V]; with labels [B, S] the loss over those that are not -100."""
        body = self.roberta.forward(**inputs)
        logits = self.lm_head(body["last_hidden_state"])
        loss = None if labels is None else token_loss(logits, labels)
        return self._add_fields(body, loss=loss, logits=logits)


class OnnxRobertaForSequenceClassification(OnnxRobertaPreTrainedModel):
    """RoBERTa with a head over the first token (`<s>`), for single-label or multi-label classification or regression.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForSequenceClassification"
    output_class = SequenceClassifierOutput

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel)
        self.classifier = ClassificationHead("classifier")
        self._initialise()

    def forward(
        self, labels: Tensor | None = None, problem_type: str = "", **inputs: Any
    ) -> SequenceClassifierOutput[Tensor]:
        """Logits [B, K]; with labels the loss of `problem_type`."""
        body = self.roberta.forward(**inputs)
        logits = self.classifier(body["last_hidden_state"])
        loss = None if labels is None else sequence_loss(logits, labels, problem_type)
        return self._add_fields(body, loss=loss, logits=logits)


class OnnxRobertaForMultipleChoice(OnnxRobertaPreTrainedModel):
    """RoBERTa with one score for each of C choices, computed from the pooled first token.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForMultipleChoice"
    output_class = MultipleChoiceModelOutput

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel, add_pooling_layer=True)
        self.classifier = Linear("classifier")
        self._initialise()

    def forward(
        self, labels: Tensor | None = None, head_mask: Tensor | None = None, **inputs: Any
    ) -> MultipleChoiceModelOutput[Tensor]:
        """Logits [B, C]; hidden states and attentions have B*C rows. The inputs are [B, C, S]."""
        given: Any = inputs.get("input_ids") or inputs.get("inputs_embeds")
        flat = {name: flatten_choices(value) for name, value in inputs.items()}
        body = self.roberta.forward(head_mask=head_mask, **flat)
        scores = self.classifier(body["pooler_output"])
        logits = scores.reshape(given.shape(0, 2))
        loss = None if labels is None else token_loss(logits, labels.reshape([-1]))
        return self._add_fields(body, loss=loss, logits=logits)

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in ("input_ids", "inputs_embeds"):
            if name in inputs:
                check_choices(name, inputs[name].shape)
        given = {name: value for name, value in inputs.items() if name != "labels"}
        return {
            name: value if name == "head_mask" else value.reshape(-1, *value.shape[2:]) for name, value in given.items()
        }


class OnnxRobertaForTokenClassification(OnnxRobertaPreTrainedModel):
    """RoBERTa with K scores for each token: token classification.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForTokenClassification"
    output_class = TokenClassifierOutput

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel)
        self.classifier = Linear("classifier")
        self._initialise()

    def forward(self, labels: Tensor | None = None, **inputs: Any) -> TokenClassifierOutput[Tensor]:
        """Logits [B, S, K]; with labels [B, S] the loss over those that are not -100."""
        body = self.roberta.forward(**inputs)
        logits = self.classifier(body["last_hidden_state"])
        loss = None if labels is None else token_loss(logits, labels)
        return self._add_fields(body, loss=loss, logits=logits)


class OnnxRobertaForQuestionAnswering(OnnxRobertaPreTrainedModel):
    """RoBERTa with a start and an end score for each token: extractive question answering.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `OnnxRobertaPreTrainedModel`, e.g. `runtime` ("onnx" or "openvino"), `dtype`
            and `seed` (of the initial values).
    """

    architecture = "ForQuestionAnswering"
    output_class = QuestionAnsweringModelOutput

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        self.roberta = self._build_body(OnnxRobertaModel)
        self.qa_outputs = Linear("qa_outputs")
        self._initialise()

    def forward(
        self, start_positions: Tensor | None = None, end_positions: Tensor | None = None, **inputs: Any
    ) -> QuestionAnsweringModelOutput[Tensor]:
        """Start and end logits [B, S]; with both positions [B] the loss over those inside the sequence."""
        body = self.roberta.forward(**inputs)
        scores = self.qa_outputs(body["last_hidden_state"])
        start, end = (scores.take(index, axis=2) for index in range(2))
        loss = None
        if start_positions is not None or end_positions is not None:
            if start_positions is None or end_positions is None:
                raise ValueError("an answer has two ends: give start_positions and end_positions, or neither")
            loss = span_loss(start, end, start_positions, end_positions)
        return self._add_fields(body, loss=loss, start_logits=start, end_logits=end)


def flatten_choices(x: Tensor) -> Tensor:
    """[B, C, ...] to [B*C, ...]."""
    rank = None if x.rank is None else x.rank - 1
    rest = x.shape(2)
    shape = x.graph.constant([-1], np.int64).add("Concat", rest, axis=0)
    return x.add("Reshape", shape, rank=rank)


CLASSES: dict[str, type[OnnxRobertaPreTrainedModel]] = {
    one.architecture: one
    for one in (
        OnnxRobertaModel,
        OnnxRobertaForCausalLM,
        OnnxRobertaForMaskedLM,
        OnnxRobertaForSequenceClassification,
        OnnxRobertaForMultipleChoice,
        OnnxRobertaForTokenClassification,
        OnnxRobertaForQuestionAnswering,
    )
}
