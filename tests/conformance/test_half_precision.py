"""Every framework is within the tolerance of half precision, which still detects faults."""

from dataclasses import replace

import pytest

from conformance.faults.forward import FAULTS, MARGIN
from conformance.oracle import Oracle
from conformance.oracle.rounding import MULTIPLE, expected_rounding
from conformance.suite.half_precision import judge_half_precision, list_pairs, make_table
from conformance.suite.judge import first_failure

EVERY_PAIR = pytest.mark.parametrize(
    ("case", "precision"), [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}") for pair in list_pairs()]
)


@EVERY_PAIR
def test_every_stage_is_within_the_tolerance_of_its_type(framework, case, precision):
    verdicts = judge_half_precision(framework, case, precision)
    assert first_failure(verdicts) is None
    model = Oracle(case.configuration, case.architecture, case.tensors)
    expected = expected_rounding(model, case.arrays, case.expected, precision)
    assert not [verdict for verdict in verdicts if verdict.max_rel > MULTIPLE * expected[verdict.stage]]


@EVERY_PAIR
def test_a_fault_is_ten_times_over_the_tolerance(moved, case, precision):
    errors = {fault: max((moved(fault, case.name) or {"": 0.0}).values()) for fault in FAULTS}
    caught = [fault for fault, error in errors.items() if error >= MARGIN * case.half_precision[precision]["rtol"]]
    assert len(caught) >= 10


def test_bfloat16_does_not_pass_for_float16(framework):
    case = next(case for case, _ in list_pairs() if case.name == "padding_left")
    exact = replace(case, half_precision={"bfloat16": case.half_precision["float16"]})
    assert first_failure(judge_half_precision(framework, exact, "bfloat16")) is not None


def test_a_case_without_halves_is_refused(framework, cases):
    with pytest.raises(ValueError, match="case plain has no tolerance for half precision"):
        judge_half_precision(framework, cases["plain"], "bfloat16")


def test_the_table_has_a_row_for_each_case_and_type(adapter):
    lines = make_table([adapter("pt")]).splitlines()
    assert len(lines) == 2 + len(list_pairs())
    assert lines[0] == "| case | type | tolerance | PyTorch |"
