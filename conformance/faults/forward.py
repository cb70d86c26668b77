"""Faults of a forward pass: wrong models that the suite must distinguish from correct ones.

A fault changes a case's configuration, weights or inputs, and then any implementation can run it, or it is a float64
model that does one step wrong. A case catches it if a stage changes by ten times the case's tolerance. The faults of
each matrix, bias and norm are generated from the table of parameters.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, BASE_PREFIX, Kind, parameters

from ..suite.case import Case
from ..suite.judge import compare_all
from ..suite.subject import Subject
from . import models
from .changes import (
    Change,
    apply_if,
    change_input,
    change_positions,
    change_weights,
    count_cached_by_mask,
    drop_input,
    replace_model,
    set_config,
    swap_tensors,
    tie_head,
    untie_head,
)

MARGIN = 10  # a fault is caught if its error is this many times the tolerance

# Zeroing these changes nothing but the cache, which holds the keys: the softmax cancels them.
NULL_DIRECTIONS = ("encoder.layer.*.attention.self.key.bias", "encoder.layer.*.crossattention.self.key.bias")


@dataclass(frozen=True)
class Catch:
    """The stage of a case that a fault changes most."""

    fault: str
    case: str
    stage: str
    error: float
    rtol: float

    @property
    def margin(self) -> float:
        """The error divided by the tolerance."""
        return self.error / self.rtol

    @property
    def caught(self) -> bool:
        """Whether the error is clearly above rounding."""
        return self.margin >= MARGIN


def measure_stages(fault: Change, case: Case) -> dict[str, float] | None:
    """Return the error of each stage of a case with a fault, or None if the fault changes nothing in it."""
    subject = fault(Subject.of(case))
    if subject is None:
        return None
    verdicts = compare_all(subject.run(), case.expected, case.rtol, case.stages)
    return {verdict.stage: verdict.max_rel for verdict in verdicts if np.isfinite(verdict.max_rel)}


def find_catches(name: str, cases: Iterable[Case]) -> list[Catch]:
    """Return the catch of each case that a fault changes, the best first."""
    found = []
    for case in cases:
        errors = measure_stages(FAULTS[name], case)
        if errors:
            stage = max(errors, key=errors.__getitem__)
            found.append(Catch(name, case.name, stage, errors[stage], case.rtol))
    return sorted(found, key=lambda catch: -catch.margin)


def _list_tensors() -> dict[str, tuple[Kind, tuple[int, ...]]]:
    """List the tensors of every class by name, with `*` for the layer, and their shapes at hidden size 6."""
    config = RobertaConfig(
        vocab_size=3,
        hidden_size=6,
        num_attention_heads=1,
        intermediate_size=5,
        num_hidden_layers=1,
        is_decoder=True,
        add_cross_attention=True,
        tie_word_embeddings=False,
    )
    found = {}
    for architecture in ARCHITECTURES:
        config.num_labels = 2 if architecture == "ForQuestionAnswering" else 7
        for name, row in parameters(config, architecture).items():
            found[re.sub(r"layer\.0", "layer.*", name.removeprefix(BASE_PREFIX))] = (row.kind, row.shape)
    return found


def _count(real: np.ndarray) -> np.ndarray:
    return np.cumsum(real, axis=-1)


def _is_packed(subject: Subject) -> bool:
    """Return whether several texts share a row: the position ids of a row restart."""
    position_ids = subject.inputs.get("position_ids")
    return position_ids is not None and bool((np.diff(position_ids, axis=-1) < 0).any())


def _has_cache(subject: Subject) -> bool:
    return not {"past_key_values", "earlier_input_ids"}.isdisjoint(subject.inputs)


TENSORS = _list_tensors()
SQUARE = [name for name, (kind, shape) in TENSORS.items() if kind is Kind.LINEAR and shape == (6, 6)]
NORMS = [
    name.removesuffix(".bias") for name, (kind, _) in TENSORS.items() if kind is Kind.NORM and name.endswith("bias")
]

FAULTS: dict[str, Change] = {
    "BERT's eps (1e-12)": set_config(layer_norm_eps=models.EPS_OF_BERT),
    "tanh GELU": apply_if(lambda subject: subject.config.hidden_act == "gelu", set_config(hidden_act="gelu_new")),
    "hidden_act ignored": apply_if(
        lambda subject: subject.config.hidden_act != "gelu_new", set_config(hidden_act="gelu")
    ),
    "pad_token_id fixed at 1": set_config(pad_token_id=1),
    "decoder without a causal mask": apply_if(
        lambda subject: "earlier_input_ids" not in subject.inputs,  # the frameworks refuse a cache without a decoder
        set_config(is_decoder=False, add_cross_attention=False),
    ),
    "problem_type ignored": set_config(problem_type=None),
    "tied head untied": untie_head,
    "untied head tied": tie_head,
    "query and key swapped": swap_tensors("self.query", "self.key"),
    "key and value swapped": swap_tensors("self.key", "self.value"),
    "layers 0 and 1 swapped": swap_tensors("layer.0.", "layer.1."),
    "self-attention and cross-attention swapped": swap_tensors(".attention.", ".crossattention."),
    "attention_mask ignored": drop_input("attention_mask"),
    "attention_mask inverted": change_input("attention_mask", lambda mask: 1 - mask),
    "attention mask of each query transposed": apply_if(
        lambda subject: subject.inputs.get("attention_mask", np.empty(0)).ndim > 2,
        change_input("attention_mask", lambda mask: mask.swapaxes(-1, -2)),
    ),
    "fully masked row unmasked": change_input("attention_mask", lambda mask: mask | ~mask.any(axis=-1, keepdims=True)),
    "token_type_ids ignored": drop_input("token_type_ids"),
    "position_ids ignored": drop_input("position_ids"),
    "position_ids restarted at 0 for packed texts": apply_if(
        _is_packed, change_input("position_ids", lambda ids: ids - ids.min())
    ),
    "packed texts attend to each other": apply_if(_is_packed, drop_input("attention_mask")),
    "head_mask ignored": drop_input("head_mask"),
    "head_mask truncated to integers": change_input("head_mask", np.trunc),
    "encoder_attention_mask ignored": drop_input("encoder_attention_mask"),
    "encoder_hidden_states reversed": change_input("encoder_hidden_states", lambda states: states[:, ::-1]),
    "keys and values of the cache swapped": change_input(
        "past_key_values", lambda past: past[:, [1, 0, 3, 2][: past.shape[1]]]
    ),
    "position ids counted from 0": change_positions(lambda real, cached: (_count(real) - 2 + cached) * real),
    "position ids counted from pad_token_id": change_positions(lambda real, cached: (_count(real) - 1 + cached) * real),
    "padding counted in position ids": change_positions(lambda real, cached: _count(np.ones_like(real)) + cached),
    "cached tokens counted by attention_mask": count_cached_by_mask,
    "masked tokens attended once they are cached": apply_if(_has_cache, replace_model(models.CachedTokensUnmasked)),
    "position ids restarted after the cache": change_positions(lambda real, cached: _count(real) * real),
    **{f"{name} transposed": change_weights(name, np.transpose) for name in SQUARE},
    **{f"{name} dropped": change_weights(name, np.zeros_like) for name in TENSORS if name.endswith(".bias")},
    **{f"{name}.weight dropped": change_weights(f"{name}.weight", np.ones_like) for name in NORMS},
    **{f"BERT's eps (1e-12) in {name}": replace_model(models.with_eps_of_bert(name)) for name in NORMS},
    "single-pass variance in float32": replace_model(models.SinglePassVariance),
    "LayerNorm before the residual": replace_model(models.NormBeforeResidual),
    "no residual": replace_model(models.NoResidual),
    "dropout active after the embeddings": replace_model(models.EmbeddingDropout),
    "dropout active in attention": replace_model(models.AttentionDropout),
    "dropout active before the residual": replace_model(models.DenseDropout),
    "dropout active before a classifier": replace_model(models.HeadDropout),
    "tanh GELU in the LM head": replace_model(models.TanhGeluInHead),
    "hidden_act in the LM head": replace_model(models.HiddenActInHead),
    "no LayerNorm in the LM head": replace_model(models.NoHeadNorm),
    "attention scores not scaled": replace_model(models.UnscaledScores),
    "attention scores scaled by the hidden size": replace_model(models.ScoresScaledByHidden),
    "softmax over queries": replace_model(models.SoftmaxOverQueries),
    "masked scores lowered by 10,000": replace_model(models.MaskOfTenThousand),
    "zeros for a fully masked row": replace_model(models.NothingForMaskedRow),
    "heads interleaved": replace_model(models.HeadsInterleaved),
    "heads joined without transposing": replace_model(models.HeadsNotJoined),
    "position ids counted from attention_mask": replace_model(models.PositionsFromMask),
    "last token instead of the first": replace_model(models.LastTokenFirst),
    "no tanh in pooler and classification head": replace_model(models.NoTanh),
    "ignored labels counted as class 0": replace_model(models.IgnoredLabelsCounted),
    "decoder labels not shifted": replace_model(models.LabelsNotShifted),
    "loss averaged over ignored labels too": replace_model(models.LossOverAllLabels),
    "negative answer position counted as 0": replace_model(models.NegativePositionsAreTheFirst),
}
