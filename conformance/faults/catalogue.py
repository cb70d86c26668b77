"""Every fault, and the case that catches it best: of outputs, gradients, training and generation.

`roberta parity --faults` shows this table. A fault is caught if it changes a result by ten times the tolerance.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from ..suite.case import load_cases
from ..suite.generation import judge_generation, load_generation_cases
from ..suite.gradients import expected_gradients, judge_gradients
from ..suite.judge import Verdict, worst
from ..suite.subject import Subject
from ..training.optimizer_steps import train_in_float64
from ..training.training_runs import TrainingRun, judge_losses, judge_weights, load_training_runs
from .forward import FAULTS, Catch, find_catches
from .generation import GENERATION_FAULTS
from .gradients import GRADIENT_FAULTS
from .training import LOSS_FAULTS, WEIGHT_FAULTS


def find_gradient_catches(name: str) -> list[Catch]:
    """Return the catch of each case that compares gradients, the best first."""
    found = []
    for case in (case for case in load_cases().values() if case.gradients):
        subject = Subject.of(case)
        want = expected_gradients(subject, case.output_weights)
        got = expected_gradients(replace(subject, model=GRADIENT_FAULTS[name]), case.output_weights)
        found.append(_make_catch(name, f"gradients of {case.name}", judge_gradients(got, want, case)))
    return _sort_catches(found)


def find_weight_catches(name: str) -> list[Catch]:
    """Return the catch of each training run that compares weights, the best first."""

    def judge(run: TrainingRun) -> list[Verdict]:
        return judge_weights(WEIGHT_FAULTS[name](run).train().tensors, train_in_float64(run.name).tensors, run)

    runs = [run for run in load_training_runs().values() if run.batches]
    return _sort_catches(_make_catch(name, f"weights of {run.name}", judge(run)) for run in runs)


def find_loss_catches(name: str) -> list[Catch]:
    """Return the catch of each training run that compares losses, the best first."""

    def judge(run: TrainingRun) -> Verdict:
        return judge_losses(LOSS_FAULTS[name](run).train().losses, train_in_float64(run.name).losses, run.rtol)

    runs = [run for run in load_training_runs().values() if run.blocks]
    return _sort_catches(_make_catch(name, f"losses of {run.name}", [judge(run)]) for run in runs)


def find_generation_catches(name: str) -> list[Catch]:
    """Return the catch of each generation case, the best first: by its scores, which differ even for equal tokens."""
    made = {case.name: (case, GENERATION_FAULTS[name](case)) for case in load_generation_cases().values()}
    return _sort_catches(
        _make_catch(name, f"text {key}", [one for one in judge_generation(got, case) if one.stage != "sequences"])
        for key, (case, got) in made.items()
        if got is not None
    )


# Each kind of fault: its names, and the function that returns how a fault is caught.
KINDS: dict[str, tuple[Iterable[str], Callable[[str], list[Catch]]]] = {
    "outputs": (FAULTS, lambda name: find_catches(name, load_cases().values())),
    "gradients": (GRADIENT_FAULTS, find_gradient_catches),
    "weights": (WEIGHT_FAULTS, find_weight_catches),
    "losses": (LOSS_FAULTS, find_loss_catches),
    "generation": (GENERATION_FAULTS, find_generation_catches),
}


def find_best_catches() -> Iterator[tuple[str, Catch | None]]:
    """Yield every fault with its best catch, or None if no case has what it changes."""
    for names, catches in KINDS.values():
        for name in names:
            yield name, next(iter(catches(name)), None)


def _make_catch(fault: str, case: str, verdicts: Iterable[Verdict]) -> Catch:
    most = worst([verdict for verdict in verdicts if np.isfinite(verdict.max_rel)])
    return Catch(fault, case, most.stage, most.max_rel, most.rtol)


def _sort_catches(found: Iterable[Catch]) -> list[Catch]:
    return sorted(found, key=lambda catch: -catch.margin)
