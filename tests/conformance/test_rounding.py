"""The expected rounding of a checkpoint, and the faults that fail at ten times the tolerance derived from it."""

import numpy as np
import pytest

from conformance.adapters.oracle import Reference
from conformance.faults.forward import FAULTS, MARGIN
from conformance.oracle import Oracle
from conformance.oracle.rounding import MULTIPLE, TYPES, Float32Model, expected_rounding
from conformance.suite.judge import compare_all
from conformance.suite.run import encode, run_checkpoint
from conformance.suite.subject import Subject
from roberta_core.tokenization import RobertaTokenizerFast

TEXTS = ["He shook his <mask> and said nothing.", "A <mask>."]

# Faults that change the outputs of the embedded model on these texts by less than the tolerance, because the inputs or
# the class lack what they change (labels, a cache, masked real tokens, a pooler), or because they change only rounding.
NOT_VISIBLE = {
    "encoder.layer.*.attention.self.key.bias dropped",
    "fully masked row unmasked",
    "zeros for a fully masked row",
    "masked scores lowered by 10,000",
    "position ids counted from attention_mask",
    "position ids restarted after the cache",
    "hidden_act in the LM head",
    "dropout active before a classifier",
    "last token instead of the first",
    "no tanh in pooler and classification head",
    "ignored labels counted as class 0",
    "decoder labels not shifted",
    "loss averaged over ignored labels too",
    "negative answer position counted as 0",
    "BERT's eps (1e-12) in encoder.layer.*.crossattention.output.LayerNorm",
    "single-pass variance in float32",
}
# These fail, but by less than ten times the tolerance: trained activations are much larger than the square root of eps.
WEAK = {
    "BERT's eps (1e-12) in encoder.layer.*.attention.output.LayerNorm",
    "BERT's eps (1e-12) in encoder.layer.*.output.LayerNorm",
    "BERT's eps (1e-12) in lm_head.layer_norm",
}


@pytest.fixture(scope="module")
def embedded():
    """Return the embedded model with two texts, its float64 stages and their expected rounding."""
    model = Reference().load("ForMaskedLM", "roberta-tiny")
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    inputs = encode(tokenizer, TEXTS, model.config, "ForMaskedLM")
    want = dict(model.run(**inputs))
    expected = expected_rounding(model, inputs, want, "float32")
    tensors = {name: tensor.astype(np.float64) for name, tensor in model.tensors.items()}  # converted once
    return Subject(model.config, "ForMaskedLM", tensors, inputs), want, expected


def margins(embedded, fault):
    """Return the error of each stage relative to its tolerance, or None if the fault has no effect here."""
    subject, want, expected = embedded
    changed = FAULTS[fault](subject)
    if changed is None:
        return None
    limits = {stage: MULTIPLE * error for stage, error in expected.items()}
    return [verdict.max_rel / verdict.rtol for verdict in compare_all(changed.run(), want, limits)]


def test_every_fault_that_is_visible_fails_at_ten_times_the_tolerance(embedded):
    found = {fault: max(values) for fault in FAULTS if (values := margins(embedded, fault)) is not None}
    assert {fault for fault, margin in found.items() if margin < 1} == NOT_VISIBLE
    assert {fault for fault, margin in found.items() if 1 <= margin < MARGIN} == WEAK
    assert len(found) - len(NOT_VISIBLE | WEAK) >= 40


def test_the_model_in_float32_stays_float32(cases):
    for name in ("masked_lm", "causal_lm_step", "cross_attention", "sequence_classification", "inputs_embeds"):
        case = cases[name]
        stages = Float32Model(case.configuration, case.architecture, case.tensors).run(**case.arrays)
        assert {value.dtype for stage, value in stages.items() if stage != "loss"} == {np.dtype(np.float32)}, name


@pytest.mark.parametrize("precision", TYPES)
def test_the_expected_rounding_is_that_of_the_type(cases, precision):
    case = cases["masked_lm"]
    model = Oracle(case.configuration, case.architecture, case.tensors)
    found = expected_rounding(model, case.arrays, case.expected, precision)
    unit = {"float32": 2**-23, "float16": 2**-10, "bfloat16": 2**-7}[precision]
    assert list(found) == list(case.expected)
    assert all(unit <= error < 8 * unit for error in found.values())


def test_an_unknown_type_is_refused(cases):
    case = cases["plain"]
    model = Oracle(case.configuration, case.architecture, case.tensors)
    with pytest.raises(ValueError, match="unknown precision 'int4'; choose from float32, bfloat16, float16"):
        expected_rounding(model, case.arrays, case.expected, "int4")


def test_a_tolerance_replaces_the_expected_rounding(checkpoint):
    class Imprecise(Reference):
        """An implementation with an error of 1e-4 in its logits."""

        name = "imprecise"

        def run(self, model, inputs, attentions):
            stages = super().run(model, inputs, attentions)
            largest = np.abs(stages["logits"]).max()
            return stages | {"logits": stages["logits"] + 1e-4 * largest}

    source = checkpoint("ForMaskedLM")
    assert not run_checkpoint([Imprecise()], source, TEXTS).ok
    assert run_checkpoint([Imprecise()], source, TEXTS, tolerance=2e-4).ok
    assert not run_checkpoint([Imprecise()], source, TEXTS, tolerance=5e-5).ok
    assert run_checkpoint([Imprecise()], source, TEXTS, precision="bfloat16").ok


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_checkpoint_in_half_precision_is_within_its_expected_rounding(adapter, checkpoint, precision):
    from conformance.adapters import find_adapter

    adapter("pt")
    report = run_checkpoint([find_adapter("pt", precision)], checkpoint("ForMaskedLM"), TEXTS, precision=precision)
    assert report.ok
    assert max(verdict.max_rel for verdict in report.frameworks[0].verdicts) > 1e-5
    assert not run_checkpoint([find_adapter("pt", precision)], checkpoint("ForMaskedLM"), TEXTS).ok
