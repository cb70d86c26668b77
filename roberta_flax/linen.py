"""The published building blocks as Linen modules, for classes that name a Linen module as `module_class`.

Their parameters have the published names, and `FlaxRobertaModule` computes what `FlaxRobertaModel` computes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array

from roberta_core.config import RobertaConfig
from roberta_core.outputs import (
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from roberta_core.parameters import Parameter, draw_one, has_weight_decay, is_transposed, parameters, spell
from roberta_flax.calls import enable_dropout, rebuild_model
from roberta_flax.models import FlaxRobertaModel
from roberta_flax.own_layers import nest


class FlaxRobertaModule(nn.Module):
    """The body as a Linen module: `FlaxRobertaModel` on the parameters `embeddings`, `encoder` and `pooler`."""

    config: RobertaConfig
    dtype: Any = jnp.float32
    add_pooling_layer: bool = True
    gradient_checkpointing: bool = False

    @nn.compact
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
        """Hidden states and pooled output, as `FlaxRobertaModel` returns them."""
        settings: dict[str, Any] = {"dtype": self.dtype, "add_pooling_layer": self.add_pooling_layer}
        settings |= {"gradient_checkpointing": self.gradient_checkpointing, "_do_init": False}
        structure = jax.tree.structure(FlaxRobertaModel(self.config, **settings))
        parts = nest(
            (spell(row, "flax"), row) for row in parameters(self.config, "Model", self.add_pooling_layer).values()
        )
        params = {part: self.param(part, _draw, rows, self.config) for part, rows in parts.items()}
        model = rebuild_model(structure, params)
        if not deterministic:
            enable_dropout(model, self.make_rng("dropout"))
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask)
        return model._forward(
            *inputs,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )


def _draw(key: Array, rows: dict[str, Any], config: RobertaConfig) -> Any:
    """Draw the parameters of one part of the body from a key."""
    leaves, structure = jax.tree.flatten(rows)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [_draw_leaf(*pair, config) for pair in zip(keys, leaves, strict=True)])


def _draw_leaf(key: Array, row: Parameter, config: RobertaConfig) -> Array:
    shape = row.shape[::-1] if is_transposed(row, "flax") else row.shape
    if not has_weight_decay(row):
        return jnp.asarray(draw_one(row, config, 0))
    return jax.random.normal(key, shape) * config.initializer_range


class FlaxRobertaPooler(nn.Module):
    """The first token through a linear layer and tanh: [B, S, D] to [B, D]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layer."""
        self.dense = _make_dense(self.config, self.config.hidden_size, self.dtype)

    def __call__(self, hidden_states: Array) -> Array:
        """[B, S, D] to [B, D]."""
        return jnp.tanh(self.dense(hidden_states[:, 0]))


class FlaxRobertaClassificationHead(nn.Module):
    """The first token through dropout, a linear layer, tanh, dropout and a linear layer: [B, S, D] to [B, K]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dense = _make_dense(config, config.hidden_size, self.dtype)
        self.dropout = nn.Dropout(rate=rate)
        self.out_proj = _make_dense(config, config.num_labels, self.dtype)

    def __call__(self, hidden_states: Array, deterministic: bool = True) -> Array:
        """[B, S, D] to [B, K]."""
        first = self.dropout(hidden_states[:, 0], deterministic=deterministic)
        return self.out_proj(self.dropout(jnp.tanh(self.dense(first)), deterministic=deterministic))


class FlaxRobertaLMHead(nn.Module):
    """A linear layer, GELU, LayerNorm, and a score for each word of the vocabulary: [B, S, D] to [B, S, V]."""

    config: RobertaConfig
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Make the layers."""
        config = self.config
        self.dense = _make_dense(config, config.hidden_size, self.dtype)
        self.layer_norm = nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=self.dtype, use_fast_variance=False)
        self.decoder = _make_dense(config, config.vocab_size, self.dtype, use_bias=False)
        self.bias = self.param("bias", nn.initializers.zeros, (config.vocab_size,))

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
        shared = None
        if self.config.tie_word_embeddings:
            shared = self.roberta.variables["params"]["embeddings"]["word_embeddings"]["embedding"]
        return MaskedLMOutput(logits=self.lm_head(body[0], shared_embedding=shared), **_list_states(body))


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
        self.classifier = _make_dense(self.config, 1, self.dtype)

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
        self.classifier = _make_dense(self.config, self.config.num_labels, self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        hidden = self.dropout(body[0], deterministic=deterministic)
        return TokenClassifierOutput(logits=self.classifier(hidden), **_list_states(body))


class FlaxRobertaForQuestionAnsweringModule(HeadModule):
    """The Linen module of `FlaxRobertaForQuestionAnswering`: the parameters `roberta` and `qa_outputs`."""

    def setup(self) -> None:
        """Make the body and the head."""
        self.roberta = self._make_body()
        self.qa_outputs = _make_dense(self.config, self.config.num_labels, self.dtype)

    def _compute_output(self, body: Any, deterministic: bool) -> ModelOutput:
        start, end = jnp.moveaxis(self.qa_outputs(body[0]), -1, 0)
        return QuestionAnsweringModelOutput(start_logits=start, end_logits=end, **_list_states(body))


def _list_states(body: Any) -> dict[str, Any]:
    return {"hidden_states": body.hidden_states, "attentions": body.attentions}


def _make_dense(config: RobertaConfig, size: int, dtype: Any, use_bias: bool = True) -> nn.Dense:
    initializer = nn.initializers.normal(config.initializer_range)
    return nn.Dense(size, use_bias=use_bias, dtype=dtype, kernel_init=initializer)
