"""Error of the PyTorch classes with each matrix library, on a case with sufficiently wide matrices."""

import pytest

from conformance.suite.case import load_cases
from conformance.suite.run import judge_both_paths

WAYS = {"torch": ("torch", range(0)), "onednn": ("onednn", range(0)), "onednn, few rows": ("onednn", range(1000))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["wide", "masked_lm"])
def test_every_stage_is_within_the_tolerance_whichever_library_multiplies(adapter, monkeypatch, name, way):
    pt = adapter("pt")
    from roberta_pt import products

    if not products._has_onednn():
        pytest.skip("this PyTorch is built without oneDNN")
    library, few = WAYS[way]
    calls, multiplied = [], products._multiply_onednn
    monkeypatch.setattr(products, "select_library", lambda: library)
    monkeypatch.setattr(products, "FEW", few)
    monkeypatch.setattr(products, "_multiply_onednn", lambda *tensors: calls.append(1) or multiplied(*tensors))
    case = load_cases()[name]
    model = pt.build(case.architecture, case.configuration, case.tensors)
    verdicts = judge_both_paths(pt, model, case.arrays, case.expected, case.rtol, case.stages)
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]
    assert bool(calls) == (library == "onednn")
