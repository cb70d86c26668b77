from functools import cache

import pytest

from conformance.case import Case, load_cases
from conformance.faults import FAULTS, Catch, stage_errors

CASES = load_cases()


@cache
def moved(fault: str, name: str) -> dict[str, float] | None:
    """What a fault does to the stages of a case."""
    return stage_errors(FAULTS[fault], CASES[name])


@cache
def best_catch(fault: str) -> Catch | None:
    """The case and the stage that a fault moves most, in tolerances."""
    found = [
        Catch(fault, name, stage, error, case.rtol)
        for name, case in CASES.items()
        for stage, error in (moved(fault, name) or {}).items()
    ]
    return max(found, key=lambda catch: catch.margin, default=None)


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    return CASES


@pytest.fixture(scope="session", name="moved")
def fixture_moved():
    """`moved(fault, case)`: the error of each stage, None where the fault has nothing to change."""
    return moved


@pytest.fixture(scope="session", name="best_catch")
def fixture_best_catch():
    """`best_catch(fault)`: how the case that takes a fault best takes it."""
    return best_catch
