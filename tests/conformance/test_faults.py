import fnmatch

import numpy as np
import pytest

from conformance.faults.forward import (
    FAULTS,
    MARGIN,
    NORMS,
    NULL_DIRECTIONS,
    SQUARE,
    TENSORS,
    find_catches,
    measure_stages,
)
from conformance.suite.subject import Subject
from roberta_core.parameters import ARCHITECTURES


@pytest.mark.parametrize("fault", FAULTS)
def test_some_case_catches_the_fault(fault, best_catch):
    catch = best_catch(fault)
    assert catch is not None, "no case has what it changes"
    assert catch.margin >= MARGIN, catch


def test_the_right_model_is_not_caught(cases):
    for case in cases.values():
        assert set((measure_stages(lambda subject: subject, case) or {}).values()) == {0.0}


def test_a_weaker_suite_lets_faults_through(cases):
    plain = [cases["plain"]]
    assert not find_catches("attention_mask ignored", plain)
    assert not find_catches("single-pass variance in float32", plain)[0].caught


@pytest.mark.parametrize("pattern", NULL_DIRECTIONS)
def test_the_bias_of_a_key_moves_nothing_but_the_cache(cases, moved, pattern):
    for name, case in cases.items():
        errors = moved(f"{pattern} dropped", name) or {}
        if "past_key_values" not in case.inputs:
            rest = [error for stage, error in errors.items() if not stage.startswith("past_key_values")]
            assert max(rest, default=0.0) < 1e-12, name


@pytest.mark.parametrize("pattern", NULL_DIRECTIONS)
def test_the_bias_of_a_key_moves_the_cache(cases, moved, pattern):
    part = 2 if "cross" in pattern else 0
    errors = moved(f"{pattern} dropped", "cross_attention")
    assert errors[f"past_key_values.0.{part}"] > MARGIN * cases["cross_attention"].rtol


def test_there_is_a_fault_for_every_square_matrix_bias_and_norm():
    square = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    for end in [*square, "pooler.dense", "lm_head.dense", "classifier.dense"]:
        assert fnmatch.filter(FAULTS, f"*{end}.weight transposed"), end
    assert len(SQUARE) == 11  # eight in a layer with cross attention, three in heads and pooler
    assert len(NORMS) == 5
    biases = [name for name in TENSORS if name.endswith("bias")]
    assert all(f"{name} dropped" in FAULTS for name in biases)


def test_the_table_of_faults_knows_the_tensors_of_every_class(cases):
    for architecture in ARCHITECTURES:
        for case in cases.values():
            if case.architecture == architecture:
                names = [name.removeprefix("roberta.") for name in case.tensors]
                assert all(any(fnmatch.fnmatchcase(name, one) for one in TENSORS) for name in names)


def test_most_faults_can_be_given_to_any_implementation(cases):
    portable = [fault for fault, change in FAULTS.items() if _portable(change, cases)]
    assert len(portable) > 50
    assert "dropout active in attention" not in portable


def _portable(change, cases):
    subjects = [change(Subject.of(case)) for case in cases.values()]
    return any(subject.portable for subject in subjects if subject is not None)


def test_a_fault_changes_what_it_says_and_no_more(cases):
    case = cases["masked_lm"]
    subject = FAULTS["lm_head.dense.weight transposed"](Subject.of(case))
    differ = [name for name, value in case.tensors.items() if not np.array_equal(value, subject.tensors[name])]
    assert differ == ["lm_head.dense.weight"]
    assert subject.config == case.configuration
    assert subject.inputs is case.arrays
