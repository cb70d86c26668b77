"""A hundred steps in every framework, and the first of them in float64."""

import json

import pytest

from conformance.courses import FOLDER, Course, judge_course, load_courses, trained
from conformance.exact import ASTRAY, Exact, exact
from conformance.planted import course_catches
from conformance.steps import AdamW

COURSES = load_courses()
EVERY_COURSE = pytest.mark.parametrize("name", COURSES)
CURVES = {}


def curve(framework, name):
    """The losses of a framework, trained once."""
    if (framework.name, name) not in CURVES:
        CURVES[framework.name, name] = trained(framework.backend, COURSES[name])
    return CURVES[framework.name, name]


@EVERY_COURSE
def test_the_first_losses_are_those_in_float64(framework, name):
    course = COURSES[name]
    verdict = judge_course(curve(framework, name), exact(name), course.exact_rtol)
    assert verdict.ok, verdict.complaint
    norms = exact(name)["gradient_norm"]
    assert curve(framework, name)["gradient_norm"][: len(norms)] == pytest.approx(norms, rel=1e-4)


@EVERY_COURSE
@pytest.mark.parametrize(("one", "other"), [("pt", "tf"), ("pt", "flax"), ("tf", "flax")])
def test_the_losses_of_a_hundred_steps_are_the_same_in_two_frameworks(adapter, name, one, other):
    course = COURSES[name]
    assert course.settings.steps == 100
    verdict = judge_course(curve(adapter(one), name), curve(adapter(other), name), course.rtol)
    assert verdict.ok, verdict.complaint
    assert course.rtol <= 2e-5


@pytest.mark.parametrize("fault", ASTRAY)
def test_a_course_that_goes_astray_is_caught(fault):
    assert course_catches(fault)[0].margin >= 10


@EVERY_COURSE
def test_a_course_learns(name):
    losses = curve_of_pytorch(name)
    assert losses[-10:].mean() < losses[:10].mean() - 0.5


def curve_of_pytorch(name):
    backend = pytest.importorskip("roberta_pt.backend").BACKEND
    return trained(backend, COURSES[name])["loss"]


@EVERY_COURSE
def test_the_first_float64_steps_see_more_than_one_epoch(name):
    course = COURSES[name]
    assert course.exact_steps * course.settings.batch_size > len(course.blocks)


def test_one_course_accumulates_and_one_has_an_eps_that_shows_where_it_is_added():
    assert {bool(course.settings.micro_batch_size) for course in COURSES.values()} == {True, False}
    assert sorted({course.settings.epsilon for course in COURSES.values()}) == [1e-6, 1e-3]
    course = COURSES["masked_lm"]
    shares = [Exact(course).shares(course.batches(step)) for step in range(3)]
    assert max(map(max, shares)) > 0.36  # unequal thirds


def test_the_first_float64_step_is_that_of_the_whole_batch():
    course = COURSES["masked_lm"]
    parts, whole = Exact(course), Exact(course)
    whole.batches = lambda step: [course.blocks.batch(step, course.settings.batch_size)]
    one, other = parts.run(2), whole.run(2)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-12)
    assert issubclass(parts.update, AdamW)


@EVERY_COURSE
def test_the_tolerances_of_a_course_have_a_measured_reason(name):
    course = COURSES[name]
    measured = [float(word) for word in course.reason.replace(",", " ").replace(";", " ").split() if "e-" in word]
    assert len(measured) == 2
    assert measured[0] <= course.rtol <= 2e-5
    assert measured[1] <= course.exact_rtol <= 2e-5


def test_an_unknown_key_in_a_course_is_refused(tmp_path):
    fields = json.loads((FOLDER / "masked_lm.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "epochs": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="epochs"):
        Course.read(tmp_path / "odd.json")
