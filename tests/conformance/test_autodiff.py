"""Gradients of the float64 model, compared with central differences and with PyTorch in float64."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.faults.gradients import DerivativeOfTanhGelu, StopsAtResidual
from conformance.oracle import Oracle
from conformance.oracle.autodiff import Traced, backward, differentiate
from conformance.suite.case import load_cases
from conformance.suite.gradients import LEAST, expected_gradients
from conformance.suite.subject import Subject

CASES = {name: case for name, case in load_cases().items() if case.gradients}
STEP = 1e-5
NEAR = 1e-6  # central differences have an error of 1e-7
PADDED = ("word_embeddings.weight", "position_embeddings.weight")  # the embedding of a pad has no gradient


def total(case, tensors):
    stages = Oracle(case.configuration, case.architecture, tensors).run(**case.arrays)
    return sum((stages[name] * weight).sum() for name, weight in case.output_weights.items())


def difference(case, tensors, name, direction):
    """Return the derivative along a direction of one tensor, by a central difference."""
    ends = [total(case, {**tensors, name: tensors[name] + sign * STEP * direction}) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * STEP)


def errors(case, model=Oracle):
    """Return the error of each tensor's gradient compared with a central difference along a random direction."""
    found = expected_gradients(replace(Subject.of(case), model=model), case.output_weights)
    tensors = {name: tensor.astype(np.float64) for name, tensor in case.tensors.items()}
    largest = max(np.abs(value).max() for value in found.values())
    generator = np.random.default_rng(0)
    for name, gradient in found.items():
        direction = generator.standard_normal(gradient.shape)
        if name.endswith(PADDED):
            direction[case.configuration.pad_token_id] = 0
        along = (gradient * direction).sum()
        scale = max(np.abs(gradient).max(), LEAST * largest) * np.sqrt(gradient.size)
        yield abs(difference(case, tensors, name, direction) - along) / scale


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_central_differences_along_random_directions(name):
    assert max(errors(CASES[name])) < NEAR


@pytest.mark.parametrize("model", [DerivativeOfTanhGelu, StopsAtResidual])
def test_central_differences_tell_a_wrong_gradient(model):
    assert max(errors(CASES["masked_lm"], model)) > 100 * NEAR


def test_every_number_of_a_gradient_is_a_central_difference():
    case = CASES["token_classification"]
    found = expected_gradients(Subject.of(case), case.output_weights)
    tensors = {name: tensor.astype(np.float64) for name, tensor in case.tensors.items()}
    largest = max(np.abs(value).max() for value in found.values())
    compared = 0
    for name, gradient in found.items():
        rows = [True] * len(gradient)
        if name.endswith(PADDED):
            rows[case.configuration.pad_token_id] = False
        for place in np.ndindex(gradient.shape):
            if rows[place[0]] and (compared % 2 or gradient[place]):
                direction = np.zeros(gradient.shape)
                direction[place] = 1
                error = abs(difference(case, tensors, name, direction) - gradient[place])
                assert error < NEAR * max(np.abs(gradient).max(), LEAST * largest), (name, place)
            compared += 1
    assert compared > 3000


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_pytorch_in_float64(adapter, name):
    case = CASES[name]
    tensors = {name: tensor.astype(np.float64) for name, tensor in case.tensors.items()}
    model = adapter("pt").build(case.architecture, case.configuration, tensors)
    inputs = {key: value.astype(float) if value.dtype == np.float32 else value for key, value in case.arrays.items()}
    weights = {key: value.astype(float) for key, value in case.output_weights.items()}
    got = adapter("pt").gradients(model, inputs, weights)
    want = expected_gradients(Subject.of(case), case.output_weights)
    largest = max(np.abs(value).max() for value in want.values())
    assert got.keys() == want.keys()
    for tensor, gradient in want.items():
        assert got[tensor].dtype == np.float64
        assert np.abs(got[tensor] - gradient).max() < 1e-12 * largest, tensor


def test_a_pad_that_is_looked_up_teaches_its_rows_nothing():
    case = CASES["masked_lm_untied"]
    assert (case.arrays["input_ids"] == case.configuration.pad_token_id).any()
    found = expected_gradients(Subject.of(case), case.output_weights)
    for name in PADDED:
        assert not found[f"roberta.embeddings.{name}"][case.configuration.pad_token_id].any()


def test_a_tensor_that_nothing_depends_on_has_a_gradient_of_zeros():
    case = CASES["masked_row"]
    found = differentiate(
        Oracle, case.configuration, "Model", case.tensors, case.arrays, {"last_hidden_state": np.ones(())}
    )
    assert not found["pooler.dense.weight"].any()
    assert found["pooler.dense.weight"].shape == (12, 12)


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda x: x**3, lambda x: 3 * x**2),
        (lambda x: np.maximum(x, 0), lambda x: x > 0),
        (lambda x: 1 / x, lambda x: -1 / x**2),
        (lambda x: np.where(x.value > 0, x, 2 * x), lambda x: np.where(x > 0, 1, 2)),
        (lambda x: np.concatenate([x, np.ones(2), -x]), np.zeros_like),
        (lambda x: x[:, None] * np.ones((1, 5)), lambda x: 5 * np.ones_like(x)),
        (lambda x: x - x.max(), np.ones_like),  # the maximum is treated as a constant in softmax
    ],
)
def test_a_step_has_its_derivative(function, derivative):
    x = Traced(np.array([-1.5, 0.5, 2.0]))
    found = backward(function(x).sum())[x.number]
    assert np.allclose(found, derivative(x.value))


def test_a_step_without_a_known_derivative_is_refused():
    with pytest.raises((TypeError, KeyError)):
        np.cbrt(Traced(np.ones(3)))
    with pytest.raises(TypeError):
        np.sort(Traced(np.ones(3)))
