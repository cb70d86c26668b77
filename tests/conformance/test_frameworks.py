"""Run the frameworks on every case, and with every fault that can be injected."""

from functools import cache

import numpy as np
import pytest

from conformance.faults.forward import FAULTS, MARGIN
from conformance.oracle import Oracle
from conformance.oracle.rounding import MULTIPLE, expected_rounding
from conformance.suite.case import load_cases
from conformance.suite.judge import compare_all, judge
from conformance.suite.run import judge_both_paths, run_checkpoint
from conformance.suite.subject import Subject
from roberta_core import backend

CASES = load_cases()
EVERY_FRAMEWORK = pytest.mark.parametrize("name", ["pt", "tf", "flax"])


def portable(fault: str) -> dict[str, Subject]:
    """Return the subjects that a fault creates from the cases, if it can be injected into any implementation."""
    made = {name: FAULTS[fault](Subject.of(case)) for name, case in CASES.items()}
    return {name: subject for name, subject in made.items() if subject is not None and subject.portable}


PORTABLE = [fault for fault in FAULTS if portable(fault)]


@cache
def rounding(case: str) -> dict[str, float]:
    """Return the expected rounding of a case in float32."""
    one = CASES[case]
    model = Oracle(one.configuration, one.architecture, one.tensors)
    return expected_rounding(model, one.arrays, one.expected, "float32")


@EVERY_FRAMEWORK
@pytest.mark.parametrize("case", CASES)
def test_every_stage_is_within_the_tolerance(adapter, name, case):
    one = CASES[case]
    model = adapter(name).build(one.architecture, one.configuration, one.tensors)
    expected = rounding(case)
    verdicts = judge_both_paths(adapter(name), model, one.arrays, one.expected, one.rtol, one.stages, expected)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]
    assert not [verdict for verdict in verdicts if verdict.ratio > MULTIPLE]


@EVERY_FRAMEWORK
def test_a_model_gives_back_the_tensors_that_it_was_given(adapter, name):
    case = CASES["masked_lm_untied"]
    model = adapter(name).build(case.architecture, case.configuration, case.tensors)
    judge(adapter(name).backend.tensors(model), case.tensors, 0.0)


@EVERY_FRAMEWORK
@pytest.mark.parametrize("fault", PORTABLE)
def test_a_fault_is_noticed(adapter, name, fault, best_catch):
    case = CASES[best_catch(fault).case]
    subject = portable(fault)[case.name]
    model = adapter(name).build(subject.architecture, subject.config, subject.tensors)
    got = adapter(name).run(model, subject.inputs, attentions=True)
    verdicts = compare_all(got, case.expected, MARGIN * case.rtol, case.stages)
    assert any(verdict.rtol < verdict.max_rel < np.inf for verdict in verdicts)  # not only of another shape


@EVERY_FRAMEWORK
def test_the_embedded_model_is_within_the_tolerance_on_real_text(adapter, name):
    report = run_checkpoint([adapter(name)], "roberta-tiny")
    assert report.ok
    assert max(verdict.max_rel for verdict in report.frameworks[0].verdicts) <= 1e-5
    assert len(report.fills) == 5


def test_a_framework_that_is_missing_fails_only_where_it_is_required(monkeypatch, adapter):
    def missing(name):
        raise backend.BackendError(f"{name} is not installed")

    monkeypatch.setattr(backend, "available", lambda: ())
    monkeypatch.setattr("conformance.adapters.framework.load", missing)
    monkeypatch.setenv("ROBERTA_TEST_FRAMEWORKS", "torch jax")
    with pytest.raises(backend.BackendError):
        adapter.__wrapped__("pt")
    with pytest.raises(pytest.skip.Exception):
        adapter.__wrapped__("tf")
