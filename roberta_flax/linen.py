"""The published classes as Linen modules, for classes that name a Linen module as `module_class`.

Their parameters have the published names, and `FlaxRobertaModule` computes what `FlaxRobertaModel` computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from roberta_core.config import RobertaConfig
from roberta_core.outputs import (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from roberta_flax.encoder import create_position_ids_from_input_ids
from roberta_flax.linen_blocks import (
    FlaxRobertaEmbeddings,
    FlaxRobertaEncoder,
    FlaxRobertaPooler,
    make_dense,
    make_layer_norm,
)


class FlaxRobertaModule(nn.Module):
    """The body as a Linen module: the parameters `embeddings`, `encoder` and `pooler`."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    add_pooling_layer: bool = True
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Make the layers."""
        config, dtype = self.config, self.dtype
        recompute = self.gradient_checkpointing or bool(getattr(config, "gradient_checkpointing", False))
        self.embeddings = FlaxRobertaEmbeddings(config, dtype=dtype)
        self.encoder = FlaxRobertaEncoder(config, dtype=dtype, gradient_checkpointing=recompute)
        if self.add_pooling_layer:
            self.pooler = FlaxRobertaPooler(config, dtype=dtype)

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Hidden states and pooled output, as `FlaxRobertaModel` returns them; positions follow from the ids."""
        if token_type_ids is None:
            token_type_ids = jnp.zeros(input_ids.shape, jnp.int32)
        if position_ids is None:
            position_ids = create_position_ids_from_input_ids(input_ids, self.config.pad_token_id)
        if head_mask is not None and head_mask.ndim == 1:
            head_mask = jnp.broadcast_to(head_mask[None], (self.config.num_hidden_layers, *head_mask.shape))
        embedded = self.embeddings(input_ids, token_type_ids, position_ids, attention_mask, deterministic)
        states = (encoder_hidden_states, encoder_attention_mask, init_cache, deterministic)
        body = self.encoder(
            embedded, attention_mask, head_mask, *states, output_attentions, output_hidden_states, return_dict=True
        )
        pooled = self.pooler(body.last_hidden_state) if self.add_pooling_layer else None
        output = BaseModelOutputWithPoolingAndCrossAttentions({**body, "pooler_output": pooled})
        return output if return_dict else output.to_tuple()


class FlaxRobertaClassificationHead(nn.Module):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = make_dense(config, config.hidden_size, self.dtype)
        self.dropout = nn.Dropout(rate=rate)
        self.out_proj = make_dense(config, config.num_labels, self.dtype)

    def __call__(self, hidden_states: Array, deterministic: bool = True) -> Array:
        """[B, S, D] to [B, K]."""
        first = self.dropout(hidden_states[:, 0], deterministic=deterministic)
        return self.out_proj(self.dropout(jnp.tanh(self.dense(first)), deterministic=deterministic))


class FlaxRobertaLMHead(nn.Module):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    bias_init: Any = nn.initializers.zeros

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        self.dense = make_dense(config, config.hidden_size, self.dtype)
        self.layer_norm = make_layer_norm(config, self.dtype)
        self.decoder = make_dense(config, config.vocab_size, self.dtype, use_bias=False)
        self.bias = self.param("bias", self.bias_init, (config.vocab_size,))

    def __call__(self, hidden_states: Array, shared_embedding: Array | None = None) -> Array:
        """[B, S, D] to [B, S, V], by the word table `shared_embedding` [V, D] if it is given."""
        hidden_states = self.layer_norm(jax.nn.gelu(self.dense(hidden_states), approximate=False))
        scores: Any
        if shared_embedding is None:
            scores = self.decoder(hidden_states)
        else:
            scores = self.decoder.apply({"params": {"kernel": shared_embedding.T}}, hidden_states)
        return scores + jnp.broadcast_to(jnp.asarray(self.bias, self.dtype), scores.shape)


class HeadModule(nn.Module):
    """A body and a head as Linen modules; subclasses make the head and compute the output."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    gradient_checkpointing: bool = False

    def _make_body(self, add_pooling_layer: bool = False) -> FlaxRobertaModule:
        return FlaxRobertaModule(
            self.config,
            dtype=self.dtype,
            add_pooling_layer=add_pooling_layer,
            gradient_checkpointing=self.gradient_checkpointing,
        )

    def _make_dropout(self) -> nn.Dropout:
        config = self.config
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        return nn.Dropout(rate=rate)

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        token_type_ids: Array | None = None,
        position_ids: Array | None = None,
        head_mask: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Return the output of the published class of the same name."""
        body = self.roberta(  # pyright: ignore[reportAttributeAccessIssue]
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            deterministic=deterministic,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        output = self._compute_output(body, deterministic)
        return output if return_dict else output.to_tuple()

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        raise NotImplementedError


class FlaxRobertaForMaskedLMModule(HeadModule):
    """The Linen module of `FlaxRobertaForMaskedLM`: the parameters `roberta` and `lm_head`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body()
        self.lm_head = FlaxRobertaLMHead(self.config, dtype=self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        logits = self.lm_head(body[0], shared_embedding=_find_words(self))
        return MaskedLMOutput(logits=logits, **_list_states(body))


class FlaxRobertaForCausalLMModule(nn.Module):
    """The Linen module of `FlaxRobertaForCausalLM`: the parameters `roberta` and `lm_head`."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    gradient_checkpointing: bool = False

    def setup(self) -> None:
        """Make the body and the head."""
        settings = {"dtype": self.dtype, "gradient_checkpointing": self.gradient_checkpointing}
        self.roberta = FlaxRobertaModule(self.config, add_pooling_layer=False, **settings)
        self.lm_head = FlaxRobertaLMHead(self.config, dtype=self.dtype)

    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        token_type_ids: Array | None = None,
        head_mask: Array | None = None,
        encoder_hidden_states: Array | None = None,
        encoder_attention_mask: Array | None = None,
        init_cache: bool = False,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Return the output of the published class of the same name; positions come before the token types."""
        states = (encoder_hidden_states, encoder_attention_mask, init_cache, deterministic)
        body = self.roberta(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            head_mask,
            *states,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        output = CausalLMOutputWithCrossAttentions(
            logits=self.lm_head(body[0], shared_embedding=_find_words(self)),
            cross_attentions=body.cross_attentions,
            **_list_states(body),
        )
        return output if return_dict else output.to_tuple()


class FlaxRobertaForSequenceClassificationModule(HeadModule):
    """The Linen module of `FlaxRobertaForSequenceClassification`: the parameters `roberta` and `classifier`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body()
        self.classifier = FlaxRobertaClassificationHead(self.config, dtype=self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        return SequenceClassifierOutput(logits=self.classifier(body[0], deterministic), **_list_states(body))


class FlaxRobertaForMultipleChoiceModule(HeadModule):
    """The Linen module of `FlaxRobertaForMultipleChoice`: the parameters `roberta` and `classifier`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body(add_pooling_layer=True)
        self.dropout = nn.Dropout(rate=self.config.hidden_dropout_prob)
        self.classifier = make_dense(self.config, 1, self.dtype)

    def __call__(self, input_ids: Array, *inputs: Any, **options: Any) -> Any:
        """Return the output of the published class of the same name, of ids [B, C, S]."""
        choices = input_ids.shape[1]
        names = ("attention_mask", "token_type_ids", "position_ids", "head_mask")
        given = {**dict(zip(names, inputs, strict=False)), **options}
        flat = {name: given[name].reshape(-1, input_ids.shape[-1]) for name in names[:3] if given.get(name) is not None}
        return_dict = given.pop("return_dict", True)
        output = super().__call__(input_ids.reshape(-1, input_ids.shape[-1]), **{**given, **flat})
        output = type(output)({**output, "logits": output.logits.reshape(-1, choices)})
        return output if return_dict else output.to_tuple()

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        pooled = self.dropout(body.pooler_output, deterministic=deterministic)
        return MultipleChoiceModelOutput(logits=self.classifier(pooled), **_list_states(body))


class FlaxRobertaForTokenClassificationModule(HeadModule):
    """The Linen module of `FlaxRobertaForTokenClassification`: the parameters `roberta` and `classifier`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body()
        self.dropout = self._make_dropout()
        self.classifier = make_dense(self.config, self.config.num_labels, self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        hidden = self.dropout(body[0], deterministic=deterministic)
        return TokenClassifierOutput(logits=self.classifier(hidden), **_list_states(body))


class FlaxRobertaForQuestionAnsweringModule(HeadModule):
    """The Linen module of `FlaxRobertaForQuestionAnswering`: the parameters `roberta` and `qa_outputs`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body()
        self.qa_outputs = make_dense(self.config, self.config.num_labels, self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        start, end = jnp.moveaxis(self.qa_outputs(body[0]), -1, 0)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end, **_list_states(body))


def _find_words(module: Any) -> Array | None:
    """Return the word table [V, D] that the head of a module shares, or None."""
    if not module.config.tie_word_embeddings:
        return None
    return module.roberta.variables["params"]["embeddings"]["word_embeddings"]["embedding"]


def _list_states(body: Any) -> dict[str, Any]:
    return {"hidden_states": body.hidden_states, "attentions": body.attentions}


MODULES: dict[str, Any] = {
    "Model": FlaxRobertaModule,
    "ForCausalLM": FlaxRobertaForCausalLMModule,
    "ForMaskedLM": FlaxRobertaForMaskedLMModule,
    "ForMultipleChoice": FlaxRobertaForMultipleChoiceModule,
    "ForQuestionAnswering": FlaxRobertaForQuestionAnsweringModule,
    "ForSequenceClassification": FlaxRobertaForSequenceClassificationModule,
    "ForTokenClassification": FlaxRobertaForTokenClassificationModule,
}
