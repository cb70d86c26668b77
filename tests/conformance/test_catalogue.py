import pytest

from conformance.faults.catalogue import KINDS

FAULTS_BY_KIND = [(kind, name) for kind, (names, _) in KINDS.items() if kind != "outputs" for name in names]


@pytest.mark.parametrize(("kind", "name"), FAULTS_BY_KIND)
def test_some_case_catches_the_fault(kind, name):
    catch = next(iter(KINDS[kind][1](name)), None)
    assert catch is not None, "no case has what it changes"
    assert catch.caught, catch


def test_no_two_faults_have_one_name():
    names = [name for names, _ in KINDS.values() for name in names]
    assert len(set(names)) == len(names)


def test_where_eps_sits_shows_better_in_the_training_that_is_for_it():
    found = {catch.case: catch.margin for catch in KINDS["weights"][1]("eps before the bias correction")}
    assert found["weights of large_eps"] > 4 * found["weights of masked_lm"]
    assert found["weights of large_eps"] > 200


def test_left_padding_shows_only_in_the_texts_that_have_it():
    found = {catch.case: catch.margin for catch in KINDS["generation"][1]("left padding attended")}
    assert all((margin > 10) == case.endswith("_padded") for case, margin in found.items())
