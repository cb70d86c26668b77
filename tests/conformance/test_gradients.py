"""Gradients of the frameworks, and directions in which the loss does not depend on a tensor."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.suite.case import load_cases
from conformance.suite.gradients import NULL_DIRECTIONS, NULL_LEAST, expected_gradients, is_null, judge_gradients
from conformance.suite.judge import judge
from conformance.suite.subject import Subject
from roberta_core.parameters import ARCHITECTURES

CASES = {name: case for name, case in load_cases().items() if case.gradients}


@pytest.mark.parametrize("name", CASES)
def test_every_gradient_is_within_the_tolerance(framework, name):
    case = CASES[name]
    model = framework.build(case.architecture, case.configuration, case.tensors)
    got = framework.gradients(model, case.arrays, case.output_weights)
    verdicts = judge_gradients(got, expected_gradients(Subject.of(case), case.output_weights), case)
    assert {verdict.stage for verdict in verdicts} == set(case.tensors)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradients_of_every_class_are_judged(architecture):
    assert any(case.architecture == architecture for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_the_tolerance_of_gradients_has_a_measured_reason(name):
    rules = CASES[name].gradients
    measured = [float(word) for word in rules["reason"].replace(",", " ").split() if "e-" in word]
    assert len(measured) == 3
    assert max(measured) <= rules["rtol"] == 1e-5


@pytest.mark.parametrize("name", CASES)
def test_null_directions_are_those_whose_gradient_is_zero(name):
    case = CASES[name]
    found = expected_gradients(Subject.of(case), case.output_weights)
    largest = max(np.abs(value).max() for value in found.values())
    for tensor, gradient in found.items():
        null = is_null(tensor, case.architecture, case.configuration.num_hidden_layers)
        assert null == (np.abs(gradient).max() < 1e-12 * largest), tensor


def moved(case, wanted):
    """Return the tensors of a case; the selected ones are shifted by values of about 1."""
    drawn = np.random.default_rng(0).standard_normal
    return {
        tensor: value + drawn(value.shape).astype(np.float32) if wanted(tensor) else value
        for tensor, value in case.tensors.items()
    }


@pytest.mark.parametrize("name", ["masked_lm", "padding_left", "masked_row", "cross_attention", "token_types"])
def test_moving_the_bias_of_a_key_changes_no_output(framework, name):
    case = load_cases()[name]
    biases = [tensor for tensor in case.tensors if tensor.endswith("self.key.bias")]
    assert len(biases) == case.configuration.num_hidden_layers * (1 + (name == "cross_attention"))
    model = framework.build(case.architecture, case.configuration, moved(case, biases.__contains__))
    got = framework.run(model, case.arrays, attentions=True)
    kept = {stage: value for stage, value in got.items() if not stage.startswith("past_key_values")}
    judge(kept, {stage: case.expected[stage] for stage in kept}, 2 * case.rtol)


def null_of(case):
    layers = case.configuration.num_hidden_layers
    return lambda tensor: is_null(tensor, case.architecture, layers)


def loss_case(architecture):
    """Return the case of a class whose loss is differentiated."""
    return next(case for case in CASES.values() if case.architecture == architecture and "loss" in case.expected)


@pytest.mark.parametrize("architecture", [name for name in NULL_DIRECTIONS if name != "*"])
def test_moving_the_null_directions_of_a_class_changes_no_loss(framework, architecture):
    case = loss_case(architecture)
    tensors = moved(case, null_of(case))
    changed = {tensor for tensor, value in tensors.items() if value is not case.tensors[tensor]}
    assert len(changed) == case.configuration.num_hidden_layers + len(NULL_DIRECTIONS[architecture])
    got = framework.run(framework.build(architecture, case.configuration, tensors), case.arrays, attentions=False)
    judge({"loss": got["loss"]}, {"loss": case.expected["loss"]}, 2 * case.rtol)


@pytest.mark.parametrize("architecture", [name for name in NULL_DIRECTIONS if name != "*"])
def test_moving_any_other_tensor_changes_the_loss(architecture):
    case = loss_case(architecture)
    for tensor in case.tensors.keys() - set(filter(null_of(case), case.tensors)):
        subject = replace(Subject.of(case), tensors=moved(case, lambda name, one=tensor: name == one))
        assert abs(subject.run()["loss"] - case.expected["loss"]) > 20 * case.rtol * case.expected["loss"], tensor


def test_a_gradient_of_the_wrong_tensor_is_seen():
    case = CASES["masked_lm"]
    want = expected_gradients(Subject.of(case), case.output_weights)
    names = [f"roberta.encoder.layer.{layer}.attention.self.value.weight" for layer in (0, 1)]
    swapped = {**want, names[0]: want[names[1]], names[1]: want[names[0]]}
    assert {verdict.stage for verdict in judge_gradients(swapped, want, case) if not verdict.ok} == set(names)


def test_a_missing_gradient_is_seen():
    case = CASES["masked_lm"]
    want = expected_gradients(Subject.of(case), case.output_weights)
    got = {name: value for name, value in want.items() if name != "lm_head.bias"}
    assert [verdict.complaint for verdict in judge_gradients(got, want, case) if not verdict.ok] == [
        "lm_head.bias: missing"
    ]


def test_noise_in_a_null_direction_is_held_against_the_models_largest_gradient():
    case = CASES["masked_lm"]
    want = expected_gradients(Subject.of(case), case.output_weights)
    name = "roberta.encoder.layer.0.attention.self.key.bias"
    largest = max(np.abs(value).max() for value in want.values())
    for size, ok in ((0.5, True), (20, False)):
        noisy = {**want, name: want[name] + size * NULL_LEAST * case.gradients["rtol"] * largest}
        assert all(verdict.ok for verdict in judge_gradients(noisy, want, case)) == ok
