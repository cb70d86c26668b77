"""A sample of `python -m conformance.faults.confusion`: one model, in PyTorch."""

import pytest

from conformance.faults import confusion
from conformance.faults.diagnosis import Diagnosis, Hypotheses, varies

SAMPLE = ["--framework", "pt", "--models", "classifier, relu"]


def test_every_cause_of_the_sample_is_right_and_no_other_fault_is_named(adapter, capsys):
    adapter("pt")
    assert confusion.main(SAMPLE) == 0
    *wrong, known, other = capsys.readouterr().out.splitlines()
    assert not wrong
    assert known.startswith("known faults: ")
    assert int(known.split()[2]) >= 50
    assert int(other.split()[2]) >= 15


def test_a_wrong_cause_and_a_named_unknown_fault_fail_the_command(monkeypatch, capsys):
    answer = Diagnosis("attentions.0", ("softmax over queries",), 99)
    monkeypatch.setattr(Hypotheses, "diagnose", lambda self, got: answer)
    monkeypatch.setattr(confusion, "run_stages", lambda subject, adapter: dict(subject.run()))
    assert confusion.main(["--framework", "oracle", *SAMPLE[2:]]) == 1
    out = capsys.readouterr().out
    assert "classifier, relu: query and key swapped -> softmax over queries" in out
    assert "classifier, relu: the batch reversed -> softmax over queries" in out
    assert "other faults: 0 of" in out


def test_ten_faults_outside_the_list_and_ten_pairs_are_tried():
    subjects = [confusion.make_subject(name) for name in confusion.MODELS]
    assert len({name for subject in subjects for name, _ in confusion.list_unknown(subject)}) == 10
    assert len(set(confusion.COMPOUND)) == 10


def test_dropout_is_told_by_two_runs_and_values_that_are_not_finite_are_not_dropout():
    subject = confusion.make_subject("classifier, relu")
    stages = dict(subject.run())
    assert not varies(stages, {name: value * (1 + 1e-6) for name, value in stages.items()})
    assert varies(stages, {name: value * 1.01 for name, value in stages.items()})
    assert not varies(stages, {name: value * float("nan") for name, value in stages.items()})


@pytest.mark.parametrize("name", confusion.MODELS)
def test_the_models_differ_from_those_of_the_suite(name, cases):
    subject = confusion.make_subject(name)
    assert subject.config not in [case.configuration for case in cases.values()]
