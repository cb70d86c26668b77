"""Five steps of AdamW in every framework, compared with the same steps in float64."""

import itertools
import json

import numpy as np
import pytest

from conformance.suite.gradients import is_null
from conformance.suite.judge import judge
from conformance.training.optimizer_steps import Float64Trainer, train_in_float64
from conformance.training.training_runs import FOLDER, TrainingRun, judge_weights, load_training_runs, train

RUNS = {name: run for name, run in load_training_runs().items() if run.batches}
EVERY_RUN = pytest.mark.parametrize("name", RUNS)
TRAINED = {}


def trained(framework, name):
    """Return the weights of a framework after the last step, cached."""
    if (framework.name, name) not in TRAINED:
        TRAINED[framework.name, name] = train(framework.backend, RUNS[name]).tensors
    return TRAINED[framework.name, name]


@EVERY_RUN
def test_the_weights_after_five_steps_are_within_the_tolerance(framework, name):
    run = RUNS[name]
    assert len(run.batches) == run.settings.steps == 5
    verdicts = judge_weights(trained(framework, name), train_in_float64(name).tensors, run)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]


@EVERY_RUN
def test_the_three_sets_of_weights_agree(adapter, name):
    run = RUNS[name]
    kind, layers = run.architecture, run.configuration.num_hidden_layers
    weights = [
        {key: value for key, value in trained(adapter(one), name).items() if not is_null(key, kind, layers)}
        for one in ("pt", "tf", "flax")
    ]
    for one, other in itertools.combinations(weights, 2):
        judge(one, other, 1e-5)


@EVERY_RUN
def test_the_steps_move_every_tensor(name):
    """Except null directions, which only change by rounding noise; with some BLAS kernels the noise is zero."""
    run, expected = RUNS[name], train_in_float64(name).tensors
    kind, layers = run.architecture, run.configuration.num_hidden_layers
    still = [key for key, value in expected.items() if np.array_equal(value, run.tensors[key])]
    assert not [key for key in still if not is_null(key, kind, layers)]
    moved = [np.abs(value - run.tensors[key]).max() for key, value in expected.items()]
    assert max(moved) > 100 * run.rtol


@EVERY_RUN
def test_the_tolerance_of_a_run_has_a_measured_reason(name):
    run = RUNS[name]
    measured = [float(word) for word in run.reason.replace(",", " ").replace(";", " ").split() if "e-" in word]
    assert len(measured) == 3
    assert max(measured) <= run.rtol <= 1e-5


def test_one_run_has_an_eps_that_shows_where_it_is_added():
    assert sorted({run.settings.epsilon for run in RUNS.values()}) == [1e-6, 1e-3]


def test_the_float64_steps_are_those_of_the_paper():
    """Check one value computed by hand: gradient 3, then 1."""
    trainer = Float64Trainer(RUNS["masked_lm"])
    trainer.tensors = {"lm_head.dense.weight": np.array([2.0])}
    trainer.first, trainer.second = ({"lm_head.dense.weight": np.zeros(1)} for _ in range(2))
    for gradient in (3.0, 1.0):
        trainer.update({"lm_head.dense.weight": np.array([gradient])}, trainer.learning_rate(0))
    rate, decay, eps = 1e-3, 0.01, 1e-6
    first = 2.0 - rate * (3 / (3 + eps) + decay * 2.0)
    mean = (0.9 * 0.3 + 0.1) / (1 - 0.9**2)
    root = ((0.98 * 0.02 * 9 + 0.02) / (1 - 0.98**2)) ** 0.5
    expected = first - rate * (mean / (root + eps) + decay * first)
    assert trainer.tensors["lm_head.dense.weight"] == pytest.approx(expected)


def test_an_unknown_key_in_a_run_is_refused(tmp_path):
    fields = json.loads((FOLDER / "masked_lm.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "steps": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="steps"):
        TrainingRun.read(tmp_path / "odd.json")
