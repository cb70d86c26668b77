import re
from html.parser import HTMLParser

import numpy as np
import pytest

from conformance.report.page import LOWEST, format_error, scale_error, to_html
from conformance.suite.judge import Verdict
from conformance.suite.run import Fill, FrameworkResult, Report

VOID = {"meta", "br", "hr", "img", "link"}


class Outline(HTMLParser):
    """Parser that checks that elements are closed in order and collects the requested ones."""

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "td":
            self.cells.append(attributes.get("class"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    parser = Outline()
    parser.feed(page)
    assert not parser.open
    return parser


def judged(name="pt", errors=(1e-7, 4e-7), complaint=None):
    stages = ("hidden_states.0", "logits")
    verdicts = [Verdict(stage, 3 * error, error, 1e-5) for stage, error in zip(stages, errors, strict=True)]
    if complaint:
        verdicts.append(Verdict("loss", np.inf, np.inf, 1e-5, complaint))
    return FrameworkResult(name, {"pt": "PyTorch", "tf": "TensorFlow"}[name], "2.1", {"text": verdicts})


@pytest.fixture
def page():
    fills = [Fill("A <mask> & more.", [" cat", "s"], {"oracle": [0.75, 0.001], "pt": [0.7500001, 0.001]})]
    return to_html(Report("roberta-tiny", 1e-5, [judged()], fills))


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    assert not outline(page).links
    assert "url(" not in page
    assert "@import" not in page
    assert "http" not in page


def test_the_page_has_the_error_of_each_stage(page):
    assert re.search(r"hidden_states\.0</th><td[^>]*></td><td[^>]*>1\.0e-7</td>", page)
    assert re.search(r"logits</th><td[^>]*></td><td[^>]*>4\.0e-7</td>", page)
    assert outline(page).cells[:6] == ["expected", "heat"] * 3


def test_the_page_has_the_expected_rounding_and_the_ratio_to_it():
    verdict = Verdict("logits", 3.0, 4e-6, 2e-5, None, 2e-6)
    result = FrameworkResult("pt", "PyTorch", "2.1", {"text": [verdict]})
    page = to_html(Report("roberta-tiny", None, [result], multiple=10.0))
    assert not outline(page).links
    assert re.search(
        r'logits</th><td class="expected">2\.0e-6</td><td[^>]*>4\.0e-6 <span[^>]*>2\.0&times;</span>', page
    )
    assert "tolerance 10&times;" in page
    assert "Every stage is within the tolerance 10 times the expected rounding." in page


def test_the_page_marks_the_tolerance_and_names_versions(page):
    assert "tolerance 1e-5" in page
    assert "2.1" in page
    assert "Every stage is within the tolerance 1e-05." in page


def test_the_fills_are_side_by_side_with_their_probabilities(page):
    assert "75.00000%" in page
    assert "75.00001%" in page
    assert "<mark>&lt;mask&gt;</mark> &amp; more." in page
    assert "\N{OPEN BOX}</span>cat" in page


def test_a_stage_over_the_tolerance_stands_out():
    wrong = judged("tf", complaint="loss: <not> finite")
    page = to_html(Report("roberta-tiny", 1e-5, [judged(), wrong]))
    assert outline(page).cells.count("over") == 2  # the stage and the worst error
    assert "loss: &lt;not&gt; finite" in page
    assert "1 stage exceeds the tolerance" in page
    assert '<td class="none">' in page  # PyTorch has no such stage


def test_the_page_of_the_suite_has_the_stages_of_each_case_below_it():
    one = FrameworkResult(
        "pt", "PyTorch", "2.1", {"plain": judged().verdicts, "wide": judged(complaint="loss: bad").verdicts}
    )
    page = to_html(Report(None, 1e-5, [one]))
    assert page.count("<details>") == 1
    assert page.count("<details open>") == 1  # the failing one
    outline(page)


def test_a_name_cannot_write_into_the_page():
    page = to_html(Report("<script>alert(1)</script>", 1e-5, [judged()]))
    assert "<script>" not in page


def test_heat_grows_with_the_logarithm_of_the_error():
    assert scale_error(0.0, 1e-5) == scale_error(LOWEST, 1e-5) == 0
    assert scale_error(1e-6, 1e-5) == pytest.approx(50)
    assert scale_error(1e-5, 1e-5) == scale_error(1.0, 1e-5) == 100


def test_errors_are_written_short():
    assert [format_error(4e-7), format_error(0.5), format_error(2e-6, 0), format_error(0.0), format_error(np.inf)] == [
        "4.0e-7",
        "5.0e-1",
        "2e-6",
        "0.0",
        "failed",
    ]
