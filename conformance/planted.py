"""Every planted fault and the case that catches it best: of outputs, of gradients, of steps, of courses, of text.

What `python -m conformance --faults` shows. A fault is caught where it moves something by ten times the tolerance.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from conformance import faults, wrong, wrong_gradients
from conformance.case import load_cases
from conformance.changes import Subject
from conformance.compare import Verdict, worst
from conformance.courses import judge_course, load_courses
from conformance.exact import ASTRAY, exact
from conformance.faults import Catch
from conformance.gradient import expected, judge_gradients
from conformance.oracle import Oracle
from conformance.steps import UPDATES, judge_steps, load_trainings
from conformance.text import WRITES, judge_text, load_texts

GRADIENT_FAULTS: dict[str, type[Oracle]] = {
    "a gradient that stops at the attention weights": wrong_gradients.StopsAtAttentionWeights,
    "a gradient that stops at the residual": wrong_gradients.StopsAtResidual,
    "a gradient that stops between two layers": wrong_gradients.StopsAtFirstLayer,
    "a gradient that stops at the tied head": wrong_gradients.StopsAtTiedHead,
    "a gradient that stops at the embeddings": wrong_gradients.StopsAtLookup,
    "a gradient that stops at the variance of LayerNorm": wrong_gradients.VarianceStops,
    "a gradient that stops at the pooler": wrong_gradients.TanhStops,
    "a gradient that stops at the encoder's keys": wrong_gradients.EncoderKeysStop,
    "a clamp on gradients": wrong_gradients.Clamped,
    "the derivative of tanh GELU": wrong_gradients.DerivativeOfTanhGelu,
    "gradients through a row without a key": wrong_gradients.MasksAdded,
    "gradients for looking up the pad": wrong_gradients.PadsLearn,
    "gradients for the pad's position": wrong_gradients.PositionOfPadsLearns,
    "gradients of a sum over the batch": wrong_gradients.LossOfTheSum,
    "gradients of a mean over all labels": wrong.LossOverAllLabels,
    "gradients of labels not shifted": wrong.LabelsNotShifted,
    "gradients of ignored labels": wrong.IgnoredLabelsCounted,
}


def gradient_catches(name: str) -> list[Catch]:
    """How each case that judges gradients takes a fault, the best first."""
    found = []
    for case in (case for case in load_cases().values() if case.gradients):
        subject = Subject.of(case)
        want = expected(subject, case.weights_of_outputs)
        got = expected(replace(subject, model=GRADIENT_FAULTS[name]), case.weights_of_outputs)
        found.append(_catch(name, f"gradients of {case.name}", judge_gradients(got, want, case)))
    return _best_first(found)


def step_catches(name: str) -> list[Catch]:
    """How each training takes another update rule, the best first."""
    judged = {
        f"steps of {training.name}": judge_steps(UPDATES[name](training).run(), training)
        for training in load_trainings().values()
    }
    return _best_first(_catch(name, case, verdicts) for case, verdicts in judged.items())


def course_catches(name: str) -> list[Catch]:
    """How each course takes steps that go astray, the best first."""
    judged = {
        f"course {course.name}": judge_course(
            ASTRAY[name](course).run(course.exact_steps), exact(course.name), course.exact_rtol
        )
        for course in load_courses().values()
    }
    return _best_first(_catch(name, case, [verdict]) for case, verdict in judged.items())


def text_catches(name: str) -> list[Catch]:
    """How each text takes a fault of decoding, the best first: by its scores, which other words have too."""
    written = {text.name: (text, WRITES[name](text)) for text in load_texts().values()}
    return _best_first(
        _catch(name, f"text {case}", [verdict for verdict in judge_text(got, text) if verdict.stage != "sequences"])
        for case, (text, got) in written.items()
        if got is not None
    )


# Each kind of fault: its names, and how it is caught.
KINDS: dict[str, tuple[Iterable[str], Callable[[str], list[Catch]]]] = {
    "outputs": (faults.FAULTS, lambda name: faults.catches(name, load_cases().values())),
    "gradients": (GRADIENT_FAULTS, gradient_catches),
    "steps": (UPDATES, step_catches),
    "courses": (ASTRAY, course_catches),
    "text": (WRITES, text_catches),
}


def best_catches() -> Iterator[tuple[str, Catch | None]]:
    """Every fault, and how it is caught best."""
    for names, catches in KINDS.values():
        for name in names:
            yield name, next(iter(catches(name)), None)


def _catch(fault: str, case: str, verdicts: Iterable[Verdict]) -> Catch:
    finite = [verdict for verdict in verdicts if np.isfinite(verdict.max_rel)]
    most = worst(finite)
    return Catch(fault, case, most.stage, most.max_rel, most.rtol)


def _best_first(found: Iterable[Catch]) -> list[Catch]:
    return sorted(found, key=lambda catch: -catch.margin)
