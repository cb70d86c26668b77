"""RoBERTa in NumPy and float64: the model that every implementation is measured against.

Written to be checked against the papers: Vaswani et al. (2017) for attention, Devlin et al. (2018) for the encoder,
Liu et al. (2019) for RoBERTa. Each step is a method, so that a fault is a subclass that overrides one of them.

Shapes: B batch, S sequence, T keys (S, plus cached ones), D hidden, F feed-forward, N heads, H head, L layers,
V vocabulary, K labels, C choices.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig

from .functions import (
    ACTIVATIONS,
    Array,
    causal_loss,
    cross_entropy,
    gelu,
    sequence_loss,
    softmax,
    span_loss,
)

Stages = dict[str, Array]

# The method that computes each class's logits.
HEADS = {
    "ForCausalLM": "lm_head",
    "ForMaskedLM": "lm_head",
    "ForSequenceClassification": "classification_head",
    "ForMultipleChoice": "choice_head",
    "ForTokenClassification": "token_head",
}


def run(config: RobertaConfig, architecture: str, tensors: Mapping[str, Any], inputs: Mapping[str, Any]) -> Stages:
    """Run a forward pass without dropout and return every stage, in the order of computation.

    Args:
        config: The model's configuration.
        architecture: The class, without its prefix, such as "ForMaskedLM".
        tensors: The parameters, under their published names and in their published shapes.
        inputs: The arguments of the class by name.

    Returns:
        The outputs by name: `hidden_states.0`, `attentions.0`, `hidden_states.1`, ..., `logits`, `loss`.
    """
    return Oracle(config, architecture, tensors).run(**inputs)


class Oracle:
    """One model of one class."""

    # Tables in which a lookup of the padding row gives it no gradient.
    unlearned: tuple[str, ...] = ("word_embeddings", "position_embeddings")
    dtype: Any = np.float64  # of every value; `rounding` evaluates the same steps in other types

    def __init__(self, config: RobertaConfig, architecture: str, tensors: Mapping[str, Any]):
        self.config, self.architecture, self.tensors = config, architecture, tensors
        self.activation, self.head_activation = ACTIVATIONS[config.hidden_act], gelu  # the head's is always gelu
        self.stages: Stages = {}
        self.pairs: dict[str, tuple[Array, Array]] = {}  # keys and values of self-attention, by layer
        self.cached_real: Array | None = None  # real tokens in the cache [B, 1], if an earlier call read them

    def run(self, labels: Any = None, start_positions: Any = None, end_positions: Any = None, **inputs: Any) -> Stages:
        """Run a forward pass; see the function `run` of this module."""
        self.stages, self.cached_real = {}, None
        earlier = inputs.pop("earlier_input_ids", None)
        past, scales = inputs.pop("past_key_values", None), inputs.pop("head_mask", None)
        if earlier is not None:
            past = self.read_earlier(earlier, inputs.get("attention_mask"))
        given = {name: np.asarray(value) for name, value in inputs.items() if value is not None}
        leading = next(iter(given.values())).shape[:2]
        if self.architecture == "ForMultipleChoice":  # [B, C, ...] to [B*C, ...]
            given = {name: value.reshape(-1, *value.shape[2:]) for name, value in given.items()}
        hidden = self.body(**given, head_mask=scales, past=past)
        if self.architecture == "Model":
            self.stages["last_hidden_state"] = hidden
            if "pooler.dense.weight" in self.tensors:
                self.stages["pooler_output"] = self.pooler(hidden)
        elif self.architecture == "ForQuestionAnswering":
            start, end = np.moveaxis(self.linear("qa_outputs", hidden), 2, 0)
            self.stages |= {"start_logits": start, "end_logits": end}
            if start_positions is not None:
                self.stages["loss"] = span_loss(start, end, np.asarray(start_positions), np.asarray(end_positions))
        else:
            logits = getattr(self, HEADS[self.architecture])(hidden)
            self.stages["logits"] = logits.reshape(leading) if self.architecture == "ForMultipleChoice" else logits
            if labels is not None:
                self.stages["loss"] = self.loss(self.stages["logits"], np.asarray(labels))
        return self.stages

    def read_earlier(self, ids: Any, attention_mask: Any) -> list[tuple[Array, Array]]:
        """Run a first call on ids [B, P] and the first P columns of the mask, and return its cache."""
        self.body(input_ids=ids, attention_mask=None if attention_mask is None else attention_mask[:, : ids.shape[1]])
        past = [self.pairs[str(index)] for index in range(self.config.num_hidden_layers)]
        self.stages, self.cached_real = {}, (ids != self.config.pad_token_id).sum(axis=1, keepdims=True)
        return past

    def body(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        encoder_hidden_states: Any = None,
        encoder_attention_mask: Any = None,
        past: Any = None,  # L of (key, value), or with the cross pair, each [B, N, T, H]
    ) -> Array:
        """Return the last hidden states [B, S, D] of ids [B, S] or embeddings [B, S, D]."""
        words = (
            self.table("word_embeddings", input_ids) if inputs_embeds is None else np.asarray(inputs_embeds, self.dtype)
        )
        cached = 0 if past is None else np.shape(past[0][0])[2]
        real = np.ones(words.shape[:2], int) if input_ids is None else input_ids != self.config.pad_token_id
        if position_ids is None:
            position_ids = self.positions(real, cached, attention_mask)
        hidden = self.embeddings(words, token_type_ids, position_ids)
        self.stages["hidden_states.0"] = hidden
        mask = self.mask(attention_mask, cached, words.shape[1])
        other_mask = None if encoder_attention_mask is None else encoder_attention_mask[:, None, None] != 0
        sizes = (self.config.num_hidden_layers, self.config.num_attention_heads)
        scales = None if head_mask is None else np.broadcast_to(head_mask, sizes)[..., None, None]  # [L, N, 1, 1]
        for index in range(self.config.num_hidden_layers):
            layer, scale = f"encoder.layer.{index}", None if scales is None else scales[index]
            kept = [] if past is None else [np.asarray(part, self.dtype) for part in past[index]]
            hidden = self.attention(f"{layer}.attention", hidden, None, mask, scale, kept[:2])
            if encoder_hidden_states is not None:
                states = np.asarray(encoder_hidden_states, self.dtype)
                hidden = self.attention(f"{layer}.crossattention", hidden, states, other_mask, scale, kept[2:])
            wide = self.activation(self.linear(f"{layer}.intermediate.dense", hidden))
            hidden = self.add_norm(f"{layer}.output", wide, hidden)
            self.stages[f"hidden_states.{index + 1}"] = hidden
        return hidden

    def positions(self, real: Array, cached: int, attention_mask: Any) -> Array:
        """Return position ids [B, S]: real tokens count from pad + 1, after those in the cache; padding keeps pad."""
        before: Any = cached
        if self.cached_real is not None:
            before = self.cached_real
        elif cached and attention_mask is not None:  # its first columns mark which tokens of a foreign cache are real
            before = (attention_mask[:, :cached] != 0).sum(axis=1, keepdims=True)
        return (np.cumsum(real, axis=1) + before) * real + self.config.pad_token_id  # as in fairseq

    def embeddings(self, words: Array, token_type_ids: Any, position_ids: Any) -> Array:
        """Return the normalised sum of the three embeddings [B, S, D]."""
        types = self.table("token_type_embeddings", 0 if token_type_ids is None else token_type_ids)
        return self.norm("embeddings.LayerNorm", words + types + self.table("position_embeddings", position_ids))

    def mask(self, attention_mask: Any, cached: int, length: int) -> Array:
        """Return which query may attend which key [B or 1, 1, S or 1, T], from a mask of rank 2, 3 or 4."""
        mask = np.ones((1, cached + length)) if attention_mask is None else attention_mask
        mask = {2: mask[:, None, None], 3: mask[:, None], 4: mask}[mask.ndim] != 0
        return mask & np.tri(length, cached + length, cached, dtype=bool) if self.config.is_decoder else mask

    def attention(self, path: str, hidden: Array, states: Any, mask: Any, scale: Any, past: Any) -> Array:
        """Attend to the sequence itself or to an encoder's `states`, and add the residual: [B, S, D]."""
        source = hidden if states is None else states
        query, key, value = (
            self.split(self.linear(f"{path}.self.{part}", x))
            for part, x in (("query", hidden), ("key", source), ("value", source))
        )
        if past and states is not None:  # the encoder's keys and values are computed once
            key, value = past
        elif past:
            key, value = np.concatenate([past[0], key], axis=2), np.concatenate([past[1], value], axis=2)
        weights = self.weights(query, key, mask) * (1 if scale is None else scale)
        index, kind = path.split(".")[2], "attentions" if states is None else "cross_attentions"
        if states is None:
            self.pairs[index] = (key, value)
        self.stages[f"{kind}.{index}"] = weights
        if self.config.is_decoder and self.config.use_cache:
            first = 0 if states is None else 2
            self.stages |= {f"past_key_values.{index}.{first}": key, f"past_key_values.{index}.{first + 1}": value}
        return self.add_norm(f"{path}.output", self.join(weights @ value), hidden)

    @property
    def masked(self) -> Any:
        """The score of a masked key: the lowest value, so that a fully masked row attends uniformly."""
        return np.finfo(self.dtype).min

    def weights(self, query: Array, key: Array, mask: Any) -> Array:
        """Return the attention weights [B, N, S, T] (Vaswani et al. 2017, section 3.2.1)."""
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[-1])
        return softmax(scores if mask is None else np.where(mask, scores, self.masked))

    def split(self, x: Array) -> Array:
        """Split [B, S, D] into heads [B, N, S, H]."""
        return x.reshape(*x.shape[:2], -1, self.config.head_size).swapaxes(1, 2)

    def join(self, x: Array) -> Array:
        """Join heads [B, N, S, H] into [B, S, D]."""
        return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)

    def add_norm(self, path: str, x: Array, residual: Array) -> Array:
        """Apply a linear layer, add the residual and normalise."""
        return self.norm(f"{path}.LayerNorm", self.linear(f"{path}.dense", x) + residual)

    def pooler(self, hidden: Array) -> Array:
        """Return the pooled first token [B, D]."""
        return np.tanh(self.linear("pooler.dense", hidden[:, 0]))

    def lm_head(self, hidden: Array) -> Array:
        """Return logits [B, S, V]; a tied head uses the word embeddings as its matrix (Press & Wolf 2017)."""
        hidden = self.norm("lm_head.layer_norm", self.head_activation(self.linear("lm_head.dense", hidden)))
        tied = self.config.tie_word_embeddings
        decoder = self.tensor("embeddings.word_embeddings.weight" if tied else "lm_head.decoder.weight")
        return hidden @ decoder.T + self.tensor("lm_head.bias")

    def classification_head(self, hidden: Array) -> Array:
        """Return logits [B, K] of the first token."""
        return self.linear("classifier.out_proj", np.tanh(self.linear("classifier.dense", hidden[:, 0])))

    def choice_head(self, hidden: Array) -> Array:
        """Return scores [B*C, 1] of the pooled first token."""
        return self.linear("classifier", self.pooler(hidden))

    def token_head(self, hidden: Array) -> Array:
        """Return logits [B, S, K] of every token."""
        return self.linear("classifier", hidden)

    def loss(self, logits: Array, labels: Any) -> Array:
        """Return the mean loss over the labels that are not ignored."""
        if self.architecture == "ForSequenceClassification":
            return sequence_loss(logits, labels, self.config.problem_type)
        return (causal_loss if self.architecture == "ForCausalLM" else cross_entropy)(logits, labels)

    def linear(self, path: str, x: Array) -> Array:
        """Apply a linear layer: [..., in] to [..., out]."""
        return x @ self.tensor(f"{path}.weight").T + self.tensor(f"{path}.bias")

    def norm(self, path: str, x: Array) -> Array:
        """Apply LayerNorm (Ba et al. 2016) over the last axis."""
        centred = x - x.mean(axis=-1, keepdims=True)
        x = centred / np.sqrt(self.variance(path, x) + self.config.layer_norm_eps)
        return x * self.tensor(f"{path}.weight") + self.tensor(f"{path}.bias")

    def variance(self, path: str, x: Array) -> Array:
        """Return the variance of the last axis [..., 1]."""
        return x.var(axis=-1, keepdims=True)

    def table(self, name: str, ids: Any) -> Array:
        """Look up rows of an embedding table: [..., D]."""
        return self.tensor(f"embeddings.{name}.weight", ids)

    def tensor(self, name: str, rows: Any = ()) -> Array:
        """Return a tensor by its published name, with or without the prefix `roberta.`."""
        stored = self.tensors[name] if name in self.tensors else self.tensors[f"roberta.{name}"]
        return np.asarray(stored[rows], self.dtype)
