import numpy as np
import pytest

from conformance.suite.judge import Verdict, compare, compare_all, first_failure, judge, merge, worst

WANT = {"hidden_states.0": np.array([[1.0, -4.0], [2.0, 3.0]]), "logits": np.array([8.0, 1.0])}


def changed(stage, value):
    return {**WANT, stage: value}


def test_equal_stages_are_within_any_tolerance():
    assert [verdict.max_rel for verdict in judge(WANT, WANT, 0.0)] == [0.0, 0.0]


def test_the_error_is_the_largest_difference_over_the_largest_value():
    verdict = compare("logits", np.array([8.0, 1.5]), WANT["logits"], 1.0)
    assert (verdict.max_abs, verdict.max_rel) == (0.5, 0.0625)


def test_an_error_over_the_tolerance_fails_with_the_stage_and_the_numbers():
    with pytest.raises(AssertionError, match=r"^logits: error 6\.25e-02 exceeds the tolerance 1e-02$"):
        judge(changed("logits", np.array([8.0, 1.5])), WANT, 0.01)


def test_an_error_at_the_tolerance_passes():
    assert judge(changed("logits", np.array([8.0, 1.5])), WANT, 0.0625)


def test_the_first_stage_that_differs_is_named():
    got = {"logits": np.array([0.0, 0.0]), "hidden_states.0": WANT["hidden_states.0"] + 1}
    with pytest.raises(AssertionError, match=r"^hidden_states\.0:"):
        judge(got, WANT, 0.01)


def test_a_wrong_shape_is_told_before_values():
    with pytest.raises(AssertionError, match=r"logits: shape \[1, 2\], expected \[2\]"):
        judge(changed("logits", np.array([[9.0, 9.0]])), WANT, 0.01)


def test_a_shape_that_would_broadcast_is_refused():
    assert not compare("loss", np.array([2.0]), np.array(2.0), 1.0).ok


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_at_any_tolerance(value):
    with pytest.raises(AssertionError, match="logits: not finite"):
        judge(changed("logits", np.array([8.0, value])), WANT, np.inf)


def test_expected_values_that_are_not_finite_are_refused():
    assert compare("logits", WANT["logits"], np.array([np.nan, 1.0]), np.inf).complaint == (
        "logits: the expected values are not finite"
    )


def test_a_missing_stage_fails():
    with pytest.raises(AssertionError, match="logits: missing"):
        judge({"hidden_states.0": WANT["hidden_states.0"]}, WANT, 1.0)


def test_an_unexpected_stage_fails():
    with pytest.raises(AssertionError, match="loss: unexpected"):
        judge(changed("loss", np.array(1.0)), WANT, 1.0)


def test_expected_zeros_take_no_difference():
    zeros = np.zeros(3)
    assert compare("logits", zeros, zeros, 0.0).ok
    assert not compare("logits", zeros + 1e-30, zeros, 1.0).ok


def test_half_precision_is_compared_in_float64():
    assert compare("logits", np.array([2048.0, 1.0], np.float16), np.array([2049.0, 1.0]), 1.0).max_abs == 1.0


def test_patterns_choose_the_stages():
    verdicts = compare_all(changed("logits", np.array([0.0, 0.0])), WANT, 0.01, ["hidden_states.*"])
    assert [verdict.stage for verdict in verdicts] == ["hidden_states.0"]


@pytest.mark.parametrize("stages", [[], ["hidden_states.*", "pooler_output"]])
def test_nothing_to_judge_is_refused(stages):
    with pytest.raises(ValueError, match="no stage matches"):
        compare_all(WANT, WANT, 1.0, stages)


def test_no_expected_stage_at_all_is_refused():
    with pytest.raises(ValueError, match="no stage matches"):
        compare_all({}, {}, 1.0)


def test_merging_keeps_the_worse_verdict_of_each_stage():
    good, bad = Verdict("logits", 1.0, 0.1, 0.2), Verdict("logits", 3.0, 0.3, 0.2, "logits: error")
    extra = Verdict("loss", 0.0, 0.0, 0.2)
    assert merge([good], [bad, extra]) == [bad, extra]
    assert merge([bad], [good]) == [bad]


def test_a_complaint_is_worse_than_any_error():
    over = Verdict("logits", 1.0, 0.3, 0.1, "logits: error")
    within = Verdict("loss", 1.0, 0.5, 0.9)
    assert worst([within, over]) is over
    assert first_failure([within, over]) is over
    assert first_failure([within]) is None
