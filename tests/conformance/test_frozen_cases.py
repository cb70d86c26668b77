"""Frozen models of PyTorch on every case: all stages of the packed encoder, and the calls that it passes on."""

import pytest

from conformance.adapters.framework import Framework
from conformance.suite.case import load_cases
from conformance.suite.run import judge_both_paths

CASES = load_cases()


class Whole:
    """A backend of which outputs at padding are compared too."""

    def __init__(self, backend):
        self.backend = backend

    def run(self, model, inputs, **options):
        return self.backend.run(model, inputs, skip_padding=False, **options)

    def __getattr__(self, name):
        return getattr(self.backend, name)


@pytest.mark.parametrize("case", CASES)
def test_every_stage_of_a_frozen_model_is_within_the_tolerance(adapter, case, monkeypatch):
    one, framework = CASES[case], Framework(adapter("pt").name)
    monkeypatch.setattr("roberta_pt.frozen.find_packing_obstacle", lambda: None)
    framework.backend = Whole(framework.backend)
    view = framework.build(one.architecture, one.configuration, one.tensors).frozen()
    assert view.path.startswith("plain: the model is a decoder" if one.configuration.is_decoder else "oneDNN packed")
    verdicts = judge_both_paths(framework, view, one.arrays, one.expected, one.rtol, one.stages)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]
    served = not one.configuration.is_decoder and "head_mask" not in one.arrays
    assert view.path.startswith("oneDNN packed" if served else "plain")
