"""The seven RoBERTa classes in Flax (NNX). Signatures and outputs are the published ones (transformers 4.57.6).

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, N heads, H head, V vocabulary, K labels, C choices.
"""

from collections.abc import Mapping
from typing import Any, Literal, overload

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from roberta_core.config import RobertaConfig
from roberta_core.generation import choose_prompt
from roberta_core.input_validation import check_choices
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
from roberta_flax.caches import Cache, count_real_tokens, pack_cache, unpack_cache
from roberta_flax.encoder import Embeddings, Encoder, Pooler
from roberta_flax.generation import Sequences, generate
from roberta_flax.heads import ClassificationHead, LMHead
from roberta_flax.layers import Dropout, Linear
from roberta_flax.losses import causal_loss, sequence_loss, span_loss, token_loss
from roberta_flax.masks import combine_masks, expand_head_mask, to_additive_mask
from roberta_flax.pretrained import FlaxRobertaPreTrainedModel
from roberta_flax.published_methods import GenerationMethods
from roberta_flax.weights import get_seed


class FlaxRobertaModel(FlaxRobertaPreTrainedModel):
    """RoBERTa encoder and pooler; a decoder if `config.is_decoder`, with cross-attention if `add_cross_attention`.

    Args:
        config: The configuration.
        add_pooling_layer: Whether to add the pooler, which computes `pooler_output` from the first token.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaModel
        >>> model = FlaxRobertaModel(RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3))
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).last_hidden_state.shape)
        (1, 4, 12)
    """

    architecture = "Model"

    def __init__(self, config: RobertaConfig, *args: Any, add_pooling_layer: bool = True, **settings: Any):
        super().__init__(config, *args, **settings)
        self.embeddings = Embeddings(config, self.dtype)
        self.encoder = Encoder(config, self.dtype)
        wanted = self.gradient_checkpointing or bool(getattr(config, "gradient_checkpointing", False))
        self.encoder.gradient_checkpointing = wanted
        self.pooler = Pooler(config, self.dtype) if add_pooling_layer else None
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,  # [B, S]
        attention_mask: Array | None = None,  # [B, T], [B, S, T] or [B, 1, S, T]
        token_type_ids: Array | None = None,  # [B, S]
        position_ids: Array | None = None,  # [B, S]
        head_mask: Array | None = None,  # [N] or [L, N]
        inputs_embeds: Array | None = None,  # [B, S, D]
        encoder_hidden_states: Array | None = None,  # [B, T, D]
        encoder_attention_mask: Array | None = None,  # [B, T]
        past_key_values: Cache | None = None,  # L of (key, value), or with the cross pair, each [B, N, T, H]
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions[Array]:
        """Hidden states of ids or embeddings: last_hidden_state [B, S, D], pooler_output [B, D].

        A mask holds 1 and 0, and -1 where rounding added a key. Values were checked before: here they are traced.
        """
        output_attentions = self._resolve_option("output_attentions", output_attentions)
        past, filled, real = unpack_cache(past_key_values)
        cached_length = past[0][0].shape[2] if past else 0
        past_length = cached_length if filled is None else filled
        given: Any = input_ids
        if inputs_embeds is not None:  # they hide which of them are pads, so none is
            given = jnp.full(inputs_embeds.shape[:2], self.config.pad_token_id + 1, jnp.int32)
        if token_type_ids is None:
            token_type_ids = jnp.zeros(given.shape, jnp.int32)
        real = count_real_tokens(real, attention_mask, past_length)
        if position_ids is None:
            position_ids = self.embeddings.positions(given, real)
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        key_length = given.shape[1] + past_length if filled is None else cached_length
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
            cache = pack_cache(present, filled, real, given != self.config.pad_token_id)
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


class FlaxRobertaForCausalLM(GenerationMethods, FlaxRobertaPreTrainedModel):
    """RoBERTa with a language-model head that predicts the next token; requires `config.is_decoder` to be causal.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForCausalLM
        >>> model = FlaxRobertaForCausalLM(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, is_decoder=True)
        ... )
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 50265)
    """

    architecture = "ForCausalLM"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        self.roberta = self._build_body(FlaxRobertaModel)
        self.lm_head = LMHead(config, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        labels: Array | None = None,  # [B, S]
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Array | int | None = None,
    ) -> CausalLMOutputWithCrossAttentions[Array]:
        """Logits [B, S, V] of the next tokens; with labels the loss, divided by `num_items_in_batch` if given."""
        if use_cache is None and labels is not None:
            use_cache = False  # what learns reads whole texts
        body = self.roberta._forward(
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
        )
        logits = self.lm_head(body.last_hidden_state, self.get_input_embeddings())
        loss = None if labels is None else causal_loss(logits, labels, self.loss_reduction, num_items_in_batch)
        return self._pack_output(CausalLMOutputWithCrossAttentions, return_dict, body, loss=loss, logits=logits)

    @overload
    def generate(
        self, inputs: ArrayLike | None = None, *, return_dict_in_generate: Literal[False] = False, **arguments: Any
    ) -> Sequences: ...
    @overload
    def generate(
        self, inputs: ArrayLike | None = None, *, return_dict_in_generate: Literal[True], **arguments: Any
    ) -> GenerateOutput[Array]: ...
    def generate(
        self,
        inputs: ArrayLike | None = None,  # [B, S] ids; the beginning-of-sequence token if there are none
        *,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,  # [B, S]; padding is skipped if it is not given
        encoder_hidden_states: ArrayLike | None = None,
        encoder_attention_mask: ArrayLike | None = None,
        params: Mapping[str, Any] | None = None,  # a nested dict as `model.params`, instead of the model's own
        prng_key: Array | None = None,  # another form of `seed`
        **arguments: Any,
    ) -> Any:
        """Return text [R, T] that continues the prompts: `roberta_core.generation.Settings` has the arguments.

        Ids that also have the attribute `sequences`, as the published output; a `GenerateOutput` if
        `return_dict_in_generate`. `ValueError` for prompts padded on the right or too long.
        """
        prompt = choose_prompt(inputs, input_ids)
        model: Any = self
        if prng_key is not None:
            arguments.setdefault("seed", get_seed(prng_key))
        if params is not None:
            model = nnx.clone(self)
            model.params = params
        return generate(model, prompt, attention_mask, encoder_hidden_states, encoder_attention_mask, arguments)


class FlaxRobertaForMaskedLM(FlaxRobertaPreTrainedModel):
    """RoBERTa with a language-model head: predictions for each `<mask>`.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForMaskedLM
        >>> model = FlaxRobertaForMaskedLM(
        ...     RobertaConfig(vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 101)
    """

    architecture = "ForMaskedLM"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        self.roberta = self._build_body(FlaxRobertaModel)
        self.lm_head = LMHead(config, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        labels: Array | None = None,  # [B, S], -100 where nothing is to be predicted
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MaskedLMOutput[Array]:
        """Logits [B, S, V]; with labels the loss over those that are not -100."""
        body = self.roberta._forward(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.lm_head(body.last_hidden_state, self.get_input_embeddings())
        loss = None if labels is None else token_loss(logits, labels, self.loss_reduction)
        return self._pack_output(MaskedLMOutput, return_dict, body, loss=loss, logits=logits)


class FlaxRobertaForSequenceClassification(FlaxRobertaPreTrainedModel):
    """RoBERTa with a head over the first token (`<s>`), for single-label or multi-label classification or regression.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForSequenceClassification
        >>> model = FlaxRobertaForSequenceClassification(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, num_labels=5)
        ... )
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).logits.shape)
        (1, 5)
    """

    architecture = "ForSequenceClassification"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        self.roberta = self._build_body(FlaxRobertaModel)
        self.classifier = ClassificationHead(config, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,  # [B] classes, [B, K] labels, [B] or [B, K] numbers
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput[Array]:
        """Logits [B, K]; with labels the loss of `config.problem_type`, or of the type that the labels show."""
        body = self.roberta._forward(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(body.last_hidden_state)
        problem_type = self.config.problem_type
        loss = None if labels is None else sequence_loss(logits, labels, problem_type, self.loss_reduction)
        return self._pack_output(SequenceClassifierOutput, return_dict, body, loss=loss, logits=logits)


class FlaxRobertaForMultipleChoice(FlaxRobertaPreTrainedModel):
    """RoBERTa with one score for each of C choices, computed from the pooled first token.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForMultipleChoice
        >>> model = FlaxRobertaForMultipleChoice(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(jnp.array([[[0, 45, 9, 2], [0, 33, 80, 2]]])).logits.shape)
        (1, 2)
    """

    architecture = "ForMultipleChoice"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        self.roberta = self._build_body(FlaxRobertaModel, add_pooling_layer=True)
        self.dropout = Dropout(config.hidden_dropout_prob, deterministic=True)
        self.classifier = Linear(config.hidden_size, 1, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,  # [B, C, S], as the other inputs
        token_type_ids: Array | None = None,
        attention_mask: Array | None = None,
        labels: Array | None = None,  # [B], the right choice
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> MultipleChoiceModelOutput[Array]:
        """Logits [B, C]; hidden states and attentions have B*C rows."""
        given: Any = input_ids if input_ids is not None else inputs_embeds
        body = self.roberta._forward(
            flatten_choices(input_ids),
            attention_mask=flatten_choices(attention_mask),
            token_type_ids=flatten_choices(token_type_ids),
            position_ids=flatten_choices(position_ids),
            head_mask=head_mask,
            inputs_embeds=flatten_choices(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        scores = self.classifier(self.dropout(body.pooler_output))
        logits = scores.reshape(given.shape[:2])
        loss = None if labels is None else token_loss(logits, labels.flatten(), self.loss_reduction)
        return self._pack_output(MultipleChoiceModelOutput, return_dict, body, loss=loss, logits=logits)

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with one row for each choice."""
        for name in ("input_ids", "inputs_embeds"):
            if name in inputs:
                check_choices(name, inputs[name].shape)
        return {name: value if name == "head_mask" else flatten_choices(value) for name, value in inputs.items()}


class FlaxRobertaForTokenClassification(FlaxRobertaPreTrainedModel):
    """RoBERTa with K scores for each token: token classification.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForTokenClassification
        >>> model = FlaxRobertaForTokenClassification(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, num_labels=5)
        ... )
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).logits.shape)
        (1, 4, 5)
    """

    architecture = "ForTokenClassification"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.roberta = self._build_body(FlaxRobertaModel)
        self.dropout = Dropout(rate, deterministic=True)
        self.classifier = Linear(config.hidden_size, config.num_labels, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        labels: Array | None = None,  # [B, S], -100 where a token has none
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput[Array]:
        """Logits [B, S, K]; with labels the loss over those that are not -100."""
        body = self.roberta._forward(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(body.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels, self.loss_reduction)
        return self._pack_output(TokenClassifierOutput, return_dict, body, loss=loss, logits=logits)


class FlaxRobertaForQuestionAnswering(FlaxRobertaPreTrainedModel):
    """RoBERTa with a start and an end score for each token: extractive question answering.

    Args:
        config: The configuration.
        **settings: Keyword arguments of `FlaxRobertaPreTrainedModel`, e.g. `attn_implementation` ("sdpa" or "eager"),
            `loss_reduction` ("mean", or "none" for one loss for each label) and `seed` (of the initial values).

    Example:
        >>> import jax.numpy as jnp
        >>> from roberta_core import RobertaConfig
        >>> from roberta_flax import FlaxRobertaForQuestionAnswering
        >>> model = FlaxRobertaForQuestionAnswering(
        ...     RobertaConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3)
        ... )
        >>> tuple(model(jnp.array([[0, 45, 9, 2]])).start_logits.shape)
        (1, 4)
    """

    architecture = "ForQuestionAnswering"

    def __init__(self, config: RobertaConfig, *args: Any, **settings: Any):
        super().__init__(config, *args, **settings)
        self.roberta = self._build_body(FlaxRobertaModel)
        self.qa_outputs = Linear(config.hidden_size, config.num_labels, self.dtype)
        self._initialise()

    def _forward(
        self,
        input_ids: Array | None = None,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        inputs_embeds: Array | None = None,
        start_positions: Array | None = None,  # [B], outside [0, S) where there is no answer
        end_positions: Array | None = None,  # [B]
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> QuestionAnsweringModelOutput[Array]:
        """Start and end logits [B, S]; with both positions the loss over those inside the sequence."""
        body = self.roberta._forward(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        start, end = jnp.unstack(self.qa_outputs(body.last_hidden_state), axis=2)
        loss = None
        if start_positions is not None or end_positions is not None:
            loss = span_loss(start, end, start_positions, end_positions, self.loss_reduction)
        return self._pack_output(
            QuestionAnsweringModelOutput, return_dict, body, loss=loss, start_logits=start, end_logits=end
        )


def flatten_choices(x: Array | None) -> Array | None:
    """[B, C, ...] to [B*C, ...]."""
    return None if x is None else x.reshape(-1, *x.shape[2:])
