"""The seven RoBERTa classes in TensorFlow. Signatures and outputs are the published ones (transformers 4.57.6).

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, H head, V vocabulary, K labels, C choices.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

import tensorflow as tf
from keras.layers import Dropout

from roberta_core.config import RobertaConfig
from roberta_core.generation import choose_prompt
from roberta_core.input_validation import check_choices, check_inputs
from roberta_core.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    GenerateOutput,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from roberta_tf.caches import Cache, count_real_tokens, pack_cache, unpack_cache
from roberta_tf.encoder import Embeddings, Encoder, Pooler
from roberta_tf.generation import generate
from roberta_tf.heads import ClassificationHead, LMHead
from roberta_tf.layers import Linear, get_shape
from roberta_tf.losses import causal_loss, sequence_loss, span_loss, token_loss
from roberta_tf.masks import combine_masks, expand_head_mask, to_additive_mask
from roberta_tf.pretrained import TFRobertaPreTrainedModel, typed_as
from roberta_tf.published_methods import GenerationMethods
from roberta_tf.weights import as_concrete

CHOICES = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds")  # [B, C, ...]


class TFRobertaModel(TFRobertaPreTrainedModel):
    """RoBERTa encoder and pooler; a decoder if `config.is_decoder`, with cross-attention if `add_cross_attention`.

    Args:
        config: The configuration.
        add_pooling_layer: Whether to add the pooler, which computes `pooler_output` from the first token.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaModel
        >>> model = TFRobertaModel(RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3))
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).last_hidden_state.shape)
        (1, 4, 12)
    """

    architecture = "Model"

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.embeddings = Embeddings(config)
            self.encoder = Encoder(config)
            self.pooler = Pooler(config) if add_pooling_layer else None
        self._initialise()

    def get_config(self) -> dict[str, Any]:
        """What Keras stores to build the model again: the arguments of the constructor."""
        return {**super().get_config(), "add_pooling_layer": self.has_pooler}

    def call(
        self,
        input_ids: tf.Tensor | None = None,  # [B, S]
        attention_mask: tf.Tensor | None = None,  # [B, T], [B, S, T] or [B, 1, S, T]
        token_type_ids: tf.Tensor | None = None,  # [B, S]
        position_ids: tf.Tensor | None = None,  # [B, S]
        head_mask: tf.Tensor | None = None,  # [N] or [L, N]
        inputs_embeds: tf.Tensor | None = None,  # [B, S, D]
        encoder_hidden_states: tf.Tensor | None = None,  # [B, T, D]
        encoder_attention_mask: tf.Tensor | None = None,  # [B, T]
        past_key_values: Cache | None = None,  # L of (key, value), or with the cross pair, each [B, N, T, H]
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = False,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[tf.Tensor]:
        """Hidden states of ids or embeddings: last_hidden_state [B, S, D], pooler_output [B, D].

        `ValueError` for ids, lengths and shapes that the model does not accept.
        """
        output_attentions = self._resolve_option("output_attentions", output_attentions)
        past, filled, real = unpack_cache(past_key_values)
        cached_length = get_shape(past[0][0])[2] if past else 0
        past_length = cached_length if filled is None else filled
        inputs = {"input_ids": input_ids, "inputs_embeds": inputs_embeds, "attention_mask": attention_mask}
        inputs |= {"token_type_ids": token_type_ids, "position_ids": position_ids, "head_mask": head_mask}
        inputs |= {"encoder_hidden_states": encoder_hidden_states, "encoder_attention_mask": encoder_attention_mask}
        inputs = {name: as_concrete(value) for name, value in inputs.items()} | {"past_key_values": past}
        check_inputs(self.config, inputs, past_length, None if filled is None else cached_length)
        given: Any = input_ids
        if inputs_embeds is not None:  # they hide which of them are pads, so none is
            given = tf.fill(tf.shape(inputs_embeds)[:2], self.config.pad_token_id + 1)
        if token_type_ids is None:
            token_type_ids = tf.zeros_like(given, tf.int32)
        real = count_real_tokens(real, attention_mask, past_length)
        if position_ids is None:
            position_ids = self.embeddings.positions(given, real)
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        key_length = get_shape(given)[1] + past_length if filled is None else cached_length
        states_mask = None if encoder_attention_mask is None else to_additive_mask(encoder_attention_mask, embedded)
        hidden_states, attentions, cross_attentions, present = self.encoder(
            embedded,
            combine_masks(self.config, attention_mask, embedded, past_length, key_length),
            expand_head_mask(self.config, head_mask, embedded),
            encoder_hidden_states,
            states_mask,
            past,
            filled,
        )
        cache = None
        if self._resolve_use_cache(use_cache):
            cache = pack_cache(present, filled, real, tf.not_equal(given, self.config.pad_token_id))
        return self._pack_output(
            BaseModelOutputWithPoolingAndCrossAttentions,
            return_dict,
            last_hidden_state=hidden_states[-1],
            pooler_output=None if self.pooler is None else self.pooler(hidden_states[-1]),
            hidden_states=hidden_states if self._resolve_option("output_hidden_states", output_hidden_states) else None,
            past_key_values=cache,
            attentions=attentions if output_attentions else None,
            cross_attentions=cross_attentions if output_attentions and encoder_hidden_states is not None else None,
        )

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForCausalLM(GenerationMethods, TFRobertaPreTrainedModel):
    """RoBERTa with a language-model head that predicts the next token; requires `config.is_decoder` to be causal.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForCausalLM
        >>> model = TFRobertaForCausalLM(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, is_decoder=True)
        ... )
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 50265)
    """

    architecture = "ForCausalLM"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel)
            self.lm_head = LMHead(config)
        self._initialise()

    @overload
    def generate(
        self, inputs: tf.Tensor | None = None, *, return_dict_in_generate: Literal[False] = False, **arguments: Any
    ) -> tf.Tensor: ...
    @overload
    def generate(
        self, inputs: tf.Tensor | None = None, *, return_dict_in_generate: Literal[True], **arguments: Any
    ) -> GenerateOutput[tf.Tensor]: ...
    def generate(
        self,
        inputs: tf.Tensor | None = None,  # [B, S] ids; the beginning-of-sequence token if there are none
        *,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,  # [B, S]; padding is skipped if it is not given
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        **arguments: Any,
    ) -> Any:
        """Return text [R, T] that continues the prompts: `roberta_core.generation.Settings` has the arguments.

        A `GenerateOutput` if `return_dict_in_generate`. `ValueError` for prompts padded on the right or too long.
        """
        prompt = choose_prompt(inputs, input_ids)
        return generate(self, prompt, attention_mask, encoder_hidden_states, encoder_attention_mask, arguments)

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        encoder_hidden_states: tf.Tensor | None = None,
        encoder_attention_mask: tf.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,  # [B, S]
        training: bool | None = False,
        num_items_in_batch: tf.Tensor | int | None = None,
    ) -> CausalLMOutputWithCrossAttentions[tf.Tensor]:
        """Logits [B, S, V] of the next tokens; with labels the loss, divided by `num_items_in_batch` if given."""
        if use_cache is None and labels is not None:
            use_cache = False  # what learns reads whole texts
        body = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.lm_head(body.last_hidden_state, words=self.get_input_embeddings())
        loss = None if labels is None else causal_loss(logits, labels, self.loss_reduction, num_items_in_batch)
        return self._pack_output(CausalLMOutputWithCrossAttentions, return_dict, body, loss=loss, logits=logits)

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForMaskedLM(TFRobertaPreTrainedModel):
    """RoBERTa with a language-model head: predictions for each `<mask>`.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForMaskedLM
        >>> model = TFRobertaForMaskedLM(
        ...     RobertaConfig(vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 101)
    """

    architecture = "ForMaskedLM"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel)
            self.lm_head = LMHead(config)
        self._initialise()

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,  # [B, S], -100 where nothing is to be predicted
        training: bool | None = False,
    ) -> MaskedLMOutput[tf.Tensor]:
        """Logits [B, S, V]; with labels the loss over those that are not -100."""
        body = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.lm_head(body.last_hidden_state, words=self.get_input_embeddings())
        loss = None if labels is None else token_loss(logits, labels, self.loss_reduction)
        return self._pack_output(MaskedLMOutput, return_dict, body, loss=loss, logits=logits)

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForSequenceClassification(TFRobertaPreTrainedModel):
    """RoBERTa with a head over the first token (`<s>`), for single-label or multi-label classification or regression.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForSequenceClassification
        >>> model = TFRobertaForSequenceClassification(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, num_labels=5)
        ... )
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).logits.shape)
        (1, 5)
    """

    architecture = "ForSequenceClassification"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel)
            self.classifier = ClassificationHead(config)
        self._initialise()

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,  # [B] classes, [B, K] labels, [B] or [B, K] numbers
        training: bool | None = False,
    ) -> SequenceClassifierOutput[tf.Tensor]:
        """Logits [B, K]; with labels the loss of `config.problem_type`, or of the type that the labels show."""
        body = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.classifier(body.last_hidden_state)
        problem_type = self.config.problem_type
        loss = None if labels is None else sequence_loss(logits, labels, problem_type, self.loss_reduction)
        return self._pack_output(SequenceClassifierOutput, return_dict, body, loss=loss, logits=logits)

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForMultipleChoice(TFRobertaPreTrainedModel):
    """RoBERTa with one score for each of C choices, computed from the pooled first token.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForMultipleChoice
        >>> model = TFRobertaForMultipleChoice(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(tf.constant([[[0, 45, 9, 2], [0, 33, 80, 2]]])).logits.shape)
        (1, 2)
    """

    architecture = "ForMultipleChoice"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel, add_pooling_layer=True)
            self.dropout = Dropout(config.hidden_dropout_prob)
            self.classifier = Linear(config.hidden_size, 1)
        self._initialise()

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Each choice as a row of its own."""
        chosen = {name: inputs[name] for name in CHOICES if name in inputs}
        for name, value in chosen.items():
            check_choices(name, get_shape(value))
        return {**inputs, **{name: flatten_choices(value) for name, value in chosen.items()}}

    def call(
        self,
        input_ids: tf.Tensor | None = None,  # [B, C, S], as the other inputs
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,  # [B], the right choice
        training: bool | None = False,
    ) -> MultipleChoiceModelOutput[tf.Tensor]:
        """Logits [B, C]; hidden states and attentions have B*C rows."""
        for name, value in (("input_ids", input_ids), ("inputs_embeds", inputs_embeds)):
            if value is not None:
                check_choices(name, get_shape(value))
        given: Any = input_ids if input_ids is not None else inputs_embeds
        body = self.roberta(
            flatten_choices(input_ids),
            attention_mask=flatten_choices(attention_mask),
            token_type_ids=flatten_choices(token_type_ids),
            position_ids=flatten_choices(position_ids),
            head_mask=head_mask,
            inputs_embeds=flatten_choices(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        scores = self.classifier(self.dropout(body.pooler_output))
        logits = tf.reshape(scores, get_shape(given)[:2])
        loss = None if labels is None else token_loss(logits, tf.reshape(labels, [-1]), self.loss_reduction)
        return self._pack_output(MultipleChoiceModelOutput, return_dict, body, loss=loss, logits=logits)

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForTokenClassification(TFRobertaPreTrainedModel):
    """RoBERTa with K scores for each token: token classification.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForTokenClassification
        >>> model = TFRobertaForTokenClassification(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, num_labels=5)
        ... )
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 5)
    """

    architecture = "ForTokenClassification"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel)
            self.dropout = Dropout(rate)
            self.classifier = Linear(config.hidden_size, config.num_labels)
        self._initialise()

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: tf.Tensor | None = None,  # [B, S], -100 where a token has none
        training: bool | None = False,
    ) -> TokenClassifierOutput[tf.Tensor]:
        """Logits [B, S, K]; with labels the loss over those that are not -100."""
        body = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.classifier(self.dropout(body.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels, self.loss_reduction)
        return self._pack_output(TokenClassifierOutput, return_dict, body, loss=loss, logits=logits)

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


class TFRobertaForQuestionAnswering(TFRobertaPreTrainedModel):
    """RoBERTa with a start and an end score for each token: extractive question answering.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `TFRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import tensorflow as tf
        >>> from roberta_core import RobertaConfig
        >>> from roberta_tf import TFRobertaForQuestionAnswering
        >>> model = TFRobertaForQuestionAnswering(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(tf.constant([[0, 45, 9, 2]])).start_logits.shape)
        (1, 4)
    """

    architecture = "ForQuestionAnswering"

    def __init__(self, config: RobertaConfig, **settings: Any):
        super().__init__(config, **settings)
        with self._layer_context():
            self.roberta = self._build_body(TFRobertaModel)
            self.qa_outputs = Linear(config.hidden_size, config.num_labels)
        self._initialise()

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        token_type_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        start_positions: tf.Tensor | None = None,  # [B], outside [0, S) where there is no answer
        end_positions: tf.Tensor | None = None,  # [B]
        training: bool | None = False,
    ) -> QuestionAnsweringModelOutput[tf.Tensor]:
        """Start and end logits [B, S]; with both positions the loss over those inside the sequence."""
        body = self.roberta(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        start, end = tf.unstack(self.qa_outputs(body.last_hidden_state), axis=2)
        loss = None
        if start_positions is not None or end_positions is not None:
            loss = span_loss(start, end, start_positions, end_positions, self.loss_reduction)
        return self._pack_output(
            QuestionAnsweringModelOutput, return_dict, body, loss=loss, start_logits=start, end_logits=end
        )

    if TYPE_CHECKING:

        @typed_as(call)
        def __call__(self):  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute what `call` describes."""


def flatten_choices(x: tf.Tensor | None) -> tf.Tensor | None:
    """[B, C, ...] to [B*C, ...]."""
    return None if x is None else tf.reshape(x, (-1, *get_shape(x)[2:]))
