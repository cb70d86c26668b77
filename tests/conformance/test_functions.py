import math

import numpy as np
import pytest

from conformance.oracle import functions
from roberta_core.config import ACTIVATIONS

X = np.array([-30.0, -2.0, -0.3, 0.0, 0.7, 3.0, 30.0])


def test_erf_has_its_published_values():
    # Abramowitz & Stegun (1964), table 7.1, to ten digits.
    x, want = np.array([0.5, 1.0, 2.0]), [0.5204998778, 0.8427007929, 0.9953222650]
    assert np.abs(functions.erf(x) - want).max() < 1e-10
    assert functions.erf(x[:, None]).shape == (3, 1)


def test_there_is_a_function_for_every_activation_of_the_configuration():
    assert set(functions.ACTIVATIONS) == set(ACTIVATIONS)


def test_gelu_is_x_times_the_normal_distribution():
    want = [x * (0.5 + 0.5 * math.erf(x / 2**0.5)) for x in X]
    assert np.allclose(functions.gelu(X), want, rtol=1e-15)


@pytest.mark.parametrize("name", ["gelu_new", "quick_gelu"])
def test_an_approximate_gelu_is_near_the_exact_one_and_not_equal(name):
    difference = np.abs(functions.ACTIVATIONS[name](X) - functions.gelu(X)).max()
    assert 1e-5 < difference < 0.05


def test_silu_and_swish_are_one():
    assert functions.ACTIVATIONS["silu"] is functions.ACTIVATIONS["swish"]
    assert functions.silu(np.array([2.0]))[0] == pytest.approx(2 / (1 + math.exp(-2)), rel=1e-15)


def test_activations_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert all(np.isfinite(function(X * 1e3)).all() for function in functions.ACTIVATIONS.values())


def test_softmax_sums_to_one_and_does_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        weights = functions.softmax(np.array([[1e4, 1e4 + 1, -1e4]]))
    assert weights.sum() == pytest.approx(1, rel=1e-15)
    assert weights[0, 1] / weights[0, 0] == pytest.approx(math.e, rel=1e-12)


def test_cross_entropy_of_even_logits_is_the_logarithm_of_their_number():
    assert functions.cross_entropy(np.zeros((3, 5)), np.array([0, 4, 2])) == pytest.approx(math.log(5), rel=1e-15)


def test_ignored_labels_do_not_count():
    logits = np.array([[1.0, 2.0], [9.0, -9.0]])
    only = functions.cross_entropy(logits[:1], np.array([0]))
    assert functions.cross_entropy(logits, np.array([0, -100])) == only


def test_a_loss_of_ignored_labels_alone_is_zero():
    assert functions.cross_entropy(np.ones((2, 3)), np.array([-100, -100])) == 0


def test_the_type_of_problem_follows_from_the_labels():
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    classes, many = np.array([2, 0]), np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    single = functions.sequence_loss(logits, classes, "single_label_classification")
    assert functions.sequence_loss(logits, classes, None) == single
    multi = functions.sequence_loss(logits, many, "multi_label_classification")
    assert functions.sequence_loss(logits, many, None) == multi
    assert functions.sequence_loss(logits, many.astype(int), None) == multi
    squared = functions.sequence_loss(logits[:, :1], np.array([3.0, 0.0]), None)
    assert squared == pytest.approx((2.0**2 + 0.0**2) / 2)


def test_binary_cross_entropy_has_its_defined_value():
    loss = functions.sequence_loss(np.array([[0.3, -1.2]]), np.array([[1.0, 0.0]]), "multi_label_classification")
    chance = 1 / (1 + np.exp(-np.array([0.3, -1.2])))
    assert loss == pytest.approx(-(np.log(chance[0]) + np.log(1 - chance[1])) / 2, rel=1e-14)


@pytest.mark.parametrize("outside", [-1, -100, 4, 9])
def test_a_position_outside_the_sequence_is_ignored(outside):
    start, end = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 3.0, 1.0, 2.0]]), np.array([[2.0, 2.0, 1.0, 0.0]] * 2)
    got = functions.span_loss(start, end, np.array([1, outside]), np.array([2, 3]))
    kept = functions.cross_entropy(start[:1], np.array([1]))
    assert got == pytest.approx((kept + functions.cross_entropy(end, np.array([2, 3]))) / 2, rel=1e-15)
