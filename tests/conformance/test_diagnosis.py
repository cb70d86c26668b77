"""The suggested cause of a wrong implementation is correct for known faults, and unknown for others."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.faults.changes import change_weights, swap_tensors
from conformance.faults.diagnosis import diagnose
from conformance.faults.forward import FAULTS
from conformance.suite.case import draw_weight
from conformance.suite.subject import Subject
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

LAYER = "encoder.layer.2."


@pytest.fixture(scope="module")
def subject():
    """Return a masked language model with three layers and different weights, and a padded batch."""
    config = RobertaConfig(
        vocab_size=67,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=23,
        layer_norm_eps=1e-5,
    )
    weights = {"seed": 97, "spread": 0.4}
    table = parameters(config, "ForMaskedLM")
    tensors = {name: draw_weight(weights, name, row.kind, row.shape) for name, row in table.items()}
    ids = np.random.default_rng(5).integers(4, 67, (2, 9))
    ids[1, 6:] = config.pad_token_id
    return Subject(config, "ForMaskedLM", tensors, {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64)})


def add_noise(stages):
    """Add noise of the size of float32 rounding."""
    return {name: value.astype(np.float32).astype(np.float64) for name, value in stages.items()}


def test_a_correct_implementation_needs_no_cause(subject):
    assert diagnose(subject, add_noise(subject.run())) is None


VISIBLE = [
    "tanh GELU",
    "query and key swapped",
    "layers 0 and 1 swapped",
    "attention_mask ignored",
    "position ids counted from 0",
    "padding counted in position ids",
    "encoder.layer.*.attention.output.dense.weight transposed",
    "encoder.layer.*.intermediate.dense.bias dropped",
    "LayerNorm before the residual",
    "attention scores not scaled",
    "heads interleaved",
    "no LayerNorm in the LM head",
    "tied head untied",
]


@pytest.mark.parametrize("fault", VISIBLE)
def test_a_known_fault_is_named(subject, fault):
    found = diagnose(subject, add_noise(FAULTS[fault](subject).run()))
    assert found.causes[0] == fault
    assert str(found).startswith(f"looks like: {fault}")


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        (
            "query and key swapped in layer 2",
            swap_tensors(f"{LAYER}attention.self.query", f"{LAYER}attention.self.key"),
        ),
        (f"{LAYER}output.dense.bias dropped", change_weights(f"{LAYER}output.dense.bias", np.zeros_like)),
        (
            f"{LAYER}attention.self.value.weight transposed",
            change_weights(f"{LAYER}attention.self.value.weight", np.transpose),
        ),
    ],
)
def test_a_fault_of_one_layer_is_named_with_its_layer(subject, cause, change):
    assert diagnose(subject, add_noise(change(subject).run())).causes == (cause,)


def test_the_main_output_alone_is_enough(subject):
    stages = add_noise(FAULTS["position ids counted from 0"](subject).run())
    assert diagnose(subject, {"logits": stages["logits"]}).causes[0] == "position ids counted from 0"


COMPOUND = [
    ("tanh GELU", "query and key swapped"),
    ("attention_mask ignored", "position ids counted from 0"),
    ("layers 0 and 1 swapped", "no LayerNorm in the LM head"),
    ("key and value swapped", "heads interleaved"),
]
OTHER = {
    "the logits scaled": lambda stages: stages | {"logits": stages["logits"] * 1.1},
    "noise in the last layer": lambda stages: (
        stages | {"hidden_states.3": stages["hidden_states.3"] + np.random.default_rng(0).normal(0, 1e-3, (2, 9, 12))}
    ),
    "the layers shifted": lambda stages: stages | {"hidden_states.2": stages["hidden_states.1"]},
    "the batch reversed": lambda stages: {name: value[::-1] for name, value in stages.items()},
}


@pytest.mark.parametrize(("one", "other"), COMPOUND)
def test_two_faults_together_are_unknown(subject, one, other):
    found = diagnose(subject, add_noise(FAULTS[other](FAULTS[one](subject)).run()))
    assert found.causes == ()
    assert str(found).startswith(f"cause unknown: none of {found.hypotheses} known faults")
    assert found.hypotheses > 40


@pytest.mark.parametrize("what", OTHER)
def test_a_fault_outside_the_list_is_unknown(subject, what):
    assert diagnose(subject, add_noise(OTHER[what](dict(subject.run())))).causes == ()


def test_a_change_of_other_weights_is_unknown(subject):
    name = "lm_head.bias"
    changed = replace(subject, tensors={**subject.tensors, name: subject.tensors[name] + 0.5})
    assert diagnose(subject, add_noise(changed.run())).causes == ()
