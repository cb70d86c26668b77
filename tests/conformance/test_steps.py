"""Five steps of AdamW in every framework, against the same steps in float64."""

import itertools
import json

import numpy as np
import pytest

from conformance.compare import judge
from conformance.gradient import is_null
from conformance.steps import FOLDER, AdamW, Training, judge_steps, load_trainings

TRAININGS = load_trainings()
EVERY_TRAINING = pytest.mark.parametrize("name", TRAININGS)
TRAINED = {}


def trained(framework, name):
    """The weights that a framework ends with, trained once."""
    if (framework.name, name) not in TRAINED:
        TRAINED[framework.name, name] = framework.train(TRAININGS[name])
    return TRAINED[framework.name, name]


@EVERY_TRAINING
def test_the_weights_after_five_steps_are_within_the_tolerance(framework, name):
    training = TRAININGS[name]
    assert len(training.batches) == 5
    verdicts = judge_steps(trained(framework, name), training)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]


@EVERY_TRAINING
def test_the_three_sets_of_weights_agree(adapter, name):
    training = TRAININGS[name]
    kind, layers = training.architecture, training.configuration.num_hidden_layers
    weights = [
        {key: value for key, value in trained(adapter(one), name).items() if not is_null(key, kind, layers)}
        for one in ("pt", "tf", "flax")
    ]
    for one, other in itertools.combinations(weights, 2):
        judge(one, other, 1e-5)


@EVERY_TRAINING
def test_the_steps_move_every_tensor(name):
    """Except null directions: rounding noise alone moves those, and with some BLAS kernels the noise is zero."""
    training = TRAININGS[name]
    kind, layers = training.architecture, training.configuration.num_hidden_layers
    still = [key for key, value in training.expected.items() if np.array_equal(value, training.tensors[key])]
    assert not [key for key in still if not is_null(key, kind, layers)]
    moved = [np.abs(value - training.tensors[key]).max() for key, value in training.expected.items()]
    assert max(moved) > 100 * training.rtol


@EVERY_TRAINING
def test_the_tolerance_of_a_training_has_a_measured_reason(name):
    training = TRAININGS[name]
    measured = [float(word) for word in training.reason.replace(",", " ").replace(";", " ").split() if "e-" in word]
    assert len(measured) == 3
    assert max(measured) <= training.rtol <= 1e-5


def test_one_training_has_an_eps_that_shows_where_it_is_added():
    assert sorted({training.settings.epsilon for training in TRAININGS.values()}) == [1e-6, 1e-3]


def test_the_float64_steps_are_those_of_the_paper():
    """One number by hand: gradient 3, then 1."""
    training = TRAININGS["masked_lm"]
    adam = AdamW(training)
    adam.tensors = {"lm_head.dense.weight": np.array([2.0])}
    adam.first, adam.second = ({"lm_head.dense.weight": np.zeros(1)} for _ in range(2))
    for gradient in (3.0, 1.0):
        adam.step({"lm_head.dense.weight": np.array([gradient])})
    rate, decay, eps = 1e-3, 0.01, 1e-6
    first = 2.0 - rate * (3 / (3 + eps) + decay * 2.0)
    mean = (0.9 * 0.3 + 0.1) / (1 - 0.9**2)
    root = ((0.98 * 0.02 * 9 + 0.02) / (1 - 0.98**2)) ** 0.5
    assert adam.tensors["lm_head.dense.weight"] == pytest.approx(first - rate * (mean / (root + eps) + decay * first))


def test_an_unknown_key_in_a_training_is_refused(tmp_path):
    fields = json.loads((FOLDER / "masked_lm.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "steps": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="steps"):
        Training.read(tmp_path / "odd.json")
