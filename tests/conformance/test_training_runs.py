"""100 training steps in every framework, and the first of them in float64."""

import json

import pytest

from conformance.faults.catalogue import find_loss_catches
from conformance.faults.training import LOSS_FAULTS
from conformance.training.optimizer_steps import Float64Trainer, train_in_float64
from conformance.training.training_runs import FOLDER, TrainingRun, judge_losses, load_training_runs, train

RUNS = {name: run for name, run in load_training_runs().items() if run.blocks}
EVERY_RUN = pytest.mark.parametrize("name", RUNS)
RESULTS = {}


def trained(backend, name):
    """Return the result of a framework, cached."""
    if (backend.name, name) not in RESULTS:
        RESULTS[backend.name, name] = train(backend, RUNS[name])
    return RESULTS[backend.name, name]


@EVERY_RUN
def test_the_first_losses_are_those_in_float64(framework, name):
    want, got = train_in_float64(name), trained(framework.backend, name)
    verdict = judge_losses(got.losses, want.losses, RUNS[name].rtol)
    assert verdict.ok, verdict.complaint
    assert got.gradient_norms[: len(want.gradient_norms)] == pytest.approx(want.gradient_norms, rel=1e-4)


@EVERY_RUN
@pytest.mark.parametrize(("one", "other"), [("pt", "tf"), ("pt", "flax"), ("tf", "flax")])
def test_the_losses_of_a_hundred_steps_are_the_same_in_two_frameworks(adapter, name, one, other):
    run = RUNS[name]
    assert run.settings.steps == 100
    first, second = (trained(adapter(each).backend, name).losses for each in (one, other))
    verdict = judge_losses(first, second, run.frameworks_rtol)
    assert verdict.ok, verdict.complaint
    assert run.frameworks_rtol <= 2e-5


@pytest.mark.parametrize("fault", LOSS_FAULTS)
def test_a_run_with_a_fault_is_caught(fault):
    assert find_loss_catches(fault)[0].margin >= 10


@EVERY_RUN
def test_a_run_learns(name):
    losses = trained(pytest.importorskip("roberta_pt.backend").BACKEND, name).losses
    assert losses[-10:].mean() < losses[:10].mean() - 0.5


@EVERY_RUN
def test_the_first_float64_steps_see_more_than_one_epoch(name):
    run = RUNS[name]
    assert run.float64_steps * run.settings.batch_size > len(run.masked_blocks)


def test_one_run_accumulates_and_one_has_an_eps_that_shows_where_it_is_added():
    assert {bool(run.settings.micro_batch_size) for run in RUNS.values()} == {True, False}
    assert sorted({run.settings.epsilon for run in RUNS.values()}) == [1e-6, 1e-3]
    run = RUNS["hundred_steps_masked_lm"]
    shares = [Float64Trainer(run).shares(run.micro_batches(step)) for step in range(3)]
    assert max(map(max, shares)) > 0.36  # parts of different sizes


def test_the_first_float64_step_is_that_of_the_whole_batch():
    run = RUNS["hundred_steps_masked_lm"]
    parts, whole = Float64Trainer(run), Float64Trainer(run)
    whole.micro_batches = lambda step: [run.masked_blocks.batch(step, run.settings.batch_size)]
    assert parts.train(2).losses == pytest.approx(whole.train(2).losses, rel=1e-12)


@EVERY_RUN
def test_the_tolerances_of_a_run_have_a_measured_reason(name):
    run = RUNS[name]
    measured = [float(word) for word in run.reason.replace(",", " ").replace(";", " ").split() if "e-" in word]
    assert len(measured) == 2
    assert measured[0] <= run.frameworks_rtol <= 2e-5
    assert measured[1] <= run.rtol <= 2e-5


def test_an_unknown_key_in_a_run_is_refused(tmp_path):
    fields = json.loads((FOLDER / "hundred_steps_masked_lm.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "epochs": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="epochs"):
        TrainingRun.read(tmp_path / "odd.json")
