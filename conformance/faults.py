"""Planted faults: wrong models that the suite must tell from right ones.

A fault is a change of a case's configuration, weights or inputs, which any implementation can be given, or a float64
model that does one step wrong. It is caught where it moves a stage by ten times the case's tolerance; a fault that no
case catches shows a hole in the suite. The rows for each matrix, bias and norm come from the table of parameters.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from conformance import wrong
from conformance.case import Case
from conformance.changes import (
    Change,
    Subject,
    configured,
    inputs,
    modelled,
    only_if,
    positions,
    swapped,
    tied,
    untied,
    weights,
    without,
)
from conformance.compare import compare_all
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, BASE_PREFIX, Kind, parameters

MARGIN = 10  # times the tolerance, from where on a fault is caught

# Dropping these moves nothing but the cache, which holds the keys themselves: the softmax cancels them.
NULL_DIRECTIONS = ("encoder.layer.*.attention.self.key.bias", "encoder.layer.*.crossattention.self.key.bias")


@dataclass(frozen=True)
class Catch:
    """How a case takes a fault: the stage that it moves most."""

    fault: str
    case: str
    stage: str
    error: float
    rtol: float

    @property
    def margin(self) -> float:
        """The error in tolerances."""
        return self.error / self.rtol

    @property
    def caught(self) -> bool:
        """Whether the fault is told from noise."""
        return self.margin >= MARGIN


def stage_errors(fault: Change, case: Case) -> dict[str, float] | None:
    """What a fault does to each stage of a case that keeps its shape; None where there is nothing to change."""
    subject = fault(Subject.of(case))
    if subject is None:
        return None
    verdicts = compare_all(subject.run(), case.expected, case.rtol, case.stages)
    return {verdict.stage: verdict.max_rel for verdict in verdicts if np.isfinite(verdict.max_rel)}


def catches(name: str, cases: Iterable[Case]) -> list[Catch]:
    """How each case that the fault touches takes it, the one that catches it best first."""
    found = []
    for case in cases:
        errors = stage_errors(FAULTS[name], case)
        if errors:
            stage = max(errors, key=errors.__getitem__)
            found.append(Catch(name, case.name, stage, errors[stage], case.rtol))
    return sorted(found, key=lambda catch: -catch.margin)


def _tensors() -> dict[str, tuple[Kind, tuple[int, ...]]]:
    """Every tensor of every class, by its name in the body with `*` for the layer, with its shape at hidden size 6."""
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


TENSORS = _tensors()
SQUARE = [name for name, (kind, shape) in TENSORS.items() if kind is Kind.LINEAR and shape == (6, 6)]
NORMS = [
    name.removesuffix(".bias") for name, (kind, _) in TENSORS.items() if kind is Kind.NORM and name.endswith("bias")
]

FAULTS: dict[str, Change] = {
    "eps of BERT": configured(layer_norm_eps=wrong.EPS_OF_BERT),
    "tanh GELU": only_if(lambda subject: subject.config.hidden_act == "gelu", configured(hidden_act="gelu_new")),
    "hidden_act ignored": only_if(
        lambda subject: subject.config.hidden_act != "gelu_new", configured(hidden_act="gelu")
    ),
    "a pad of 1 whatever the configuration says": configured(pad_token_id=1),
    "a decoder that sees the next token": configured(is_decoder=False, add_cross_attention=False),
    "problem_type ignored": configured(problem_type=None),
    "the tied head untied": untied,
    "the untied head tied": tied,
    "query and key swapped": swapped("self.query", "self.key"),
    "key and value swapped": swapped("self.key", "self.value"),
    "layers in the wrong order": swapped("layer.0.", "layer.1."),
    "attention and cross attention swapped": swapped(".attention.", ".crossattention."),
    "the mask ignored": without("attention_mask"),
    "the mask inverted": inputs("attention_mask", lambda mask: 1 - mask),
    "the mask of each query turned": only_if(
        lambda subject: subject.inputs.get("attention_mask", np.empty(0)).ndim > 2,
        inputs("attention_mask", lambda mask: mask.swapaxes(-1, -2)),
    ),
    "a fully masked row unmasked": inputs("attention_mask", lambda mask: mask | ~mask.any(axis=-1, keepdims=True)),
    "token types dropped": without("token_type_ids"),
    "position_ids ignored": without("position_ids"),
    "head_mask ignored": without("head_mask"),
    "head_mask cut to whole numbers": inputs("head_mask", np.trunc),
    "the encoder's mask ignored": without("encoder_attention_mask"),
    "the encoder's states turned": inputs("encoder_hidden_states", lambda states: states[:, ::-1]),
    "keys and values of the cache swapped": inputs(
        "past_key_values", lambda past: past[:, [1, 0, 3, 2][: past.shape[1]]]
    ),
    "positions from 0": positions(lambda real, cached: (_count(real) - 2 + cached) * real),
    "positions from the pad's": positions(lambda real, cached: (_count(real) - 1 + cached) * real),
    "positions counting pads": positions(lambda real, cached: _count(np.ones_like(real)) + cached),
    "positions that start again after the cache": positions(lambda real, cached: _count(real) * real),
    **{f"{name} transposed": weights(name, np.transpose) for name in SQUARE},
    **{f"{name} dropped": weights(name, np.zeros_like) for name in TENSORS if name.endswith(".bias")},
    **{f"{name}.weight dropped": weights(f"{name}.weight", np.ones_like) for name in NORMS},
    **{f"eps of BERT in {name}": modelled(wrong.with_eps_of_bert(name)) for name in NORMS},
    "variance in a single pass in float32": modelled(wrong.SinglePassVariance),
    "LayerNorm before the residual": modelled(wrong.NormBeforeResidual),
    "no residual": modelled(wrong.NoResidual),
    "dropout left on after the embeddings": modelled(wrong.EmbeddingDropout),
    "dropout left on in attention": modelled(wrong.AttentionDropout),
    "dropout left on before the residual": modelled(wrong.DenseDropout),
    "dropout left on before a classifier": modelled(wrong.HeadDropout),
    "tanh GELU in the LM head": modelled(wrong.TanhGeluInHead),
    "hidden_act in the LM head": modelled(wrong.HiddenActInHead),
    "no LayerNorm in the LM head": modelled(wrong.NoHeadNorm),
    "scores not scaled": modelled(wrong.UnscaledScores),
    "scores scaled by the hidden size": modelled(wrong.ScoresScaledByHidden),
    "softmax over queries": modelled(wrong.SoftmaxOverQueries),
    "masked scores 10,000 less": modelled(wrong.MaskOfTenThousand),
    "zeros for a fully masked row": modelled(wrong.NothingForMaskedRow),
    "heads interleaved": modelled(wrong.HeadsInterleaved),
    "heads not joined": modelled(wrong.HeadsNotJoined),
    "positions counted over the mask": modelled(wrong.PositionsFromMask),
    "the last token for the first": modelled(wrong.LastTokenFirst),
    "no tanh after a pooler": modelled(wrong.NoTanh),
    "ignored labels counted": modelled(wrong.IgnoredLabelsCounted),
    "labels of a decoder not shifted": modelled(wrong.LabelsNotShifted),
    "a loss over all labels": modelled(wrong.LossOverAllLabels),
    "a negative position of an answer is the first": modelled(wrong.NegativePositionsAreTheFirst),
}
