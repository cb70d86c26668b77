import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from conformance.faults.forward import Catch
from conformance.report.formats import describe_failures, make_fault_table, to_json, to_junit, to_table, write
from conformance.suite.judge import Verdict
from conformance.suite.run import FrameworkResult, Report


def verdict(stage, error, complaint=None):
    return Verdict(stage, 3 * error, error, 1e-6, complaint)


@pytest.fixture
def suite():
    """Return results of a correct framework, and of one that differs in one case and cannot run the other."""
    right = FrameworkResult("pt", "PyTorch", "2.13.0")
    right.groups = {"plain": [verdict("logits", 1e-7), verdict("loss", 5e-7)], "wide": [verdict("logits", 2e-7)]}
    wrong = FrameworkResult("tf", "TensorFlow", "2.21.0")
    wrong.groups = {
        "plain": [verdict("logits", 1e-7), verdict("loss", 0.5, "loss: error 5.00e-01 exceeds the tolerance 1e-06")],
        "wide": [verdict("run", np.inf, "ValueError: <no> \x00 such thing")],
    }
    return Report(None, 1e-6, [right, wrong])


@pytest.fixture
def checkpoint():
    judged = FrameworkResult(
        "pt", "PyTorch", "2.13.0", {"text": [verdict("hidden_states.0", 1e-8), verdict("logits", 4e-7)]}
    )
    return Report("roberta-tiny", 1e-5, [judged])


def printed(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return console.file.getvalue()


def test_the_json_of_a_checkpoint_has_the_published_form(checkpoint):
    assert json.loads(to_json(checkpoint)) == {
        "checkpoint": "roberta-tiny",
        "tolerance": 1e-5,
        "multiple": None,
        "precision": "float32",
        "warnings": [],
        "ok": True,
        "frameworks": {
            "pt": {
                "version": "2.13.0",
                "ok": True,
                "worst": 4e-7,
                "stages": {
                    "hidden_states.0": {"max_abs": pytest.approx(3e-8), "max_rel": 1e-8},
                    "logits": {"max_abs": pytest.approx(1.2e-6), "max_rel": 4e-7},
                },
            }
        },
    }


def test_the_json_and_the_table_have_the_expected_rounding_and_the_ratio():
    verdict = Verdict("logits", 3.0, 4e-6, 2e-5, None, 2e-6)
    result = FrameworkResult("pt", "PyTorch", "2.13.0", {"text": [verdict]})
    report = Report("roberta-tiny", None, [result], multiple=10.0)
    fields = json.loads(to_json(report))
    assert (fields["tolerance"], fields["multiple"]) == (None, 10.0)
    stage = {"max_abs": 3.0, "max_rel": 4e-6, "expected": 2e-6, "ratio": 2.0, "tolerance": 2e-5}
    assert fields["frameworks"]["pt"]["stages"]["logits"] == stage
    lines = printed(to_table(report)).splitlines()
    assert any("logits" in line and "2.0e-06" in line and "4.0e-06   2.0x" in line for line in lines)
    assert "tolerance 10 times the expected rounding" in " ".join(" ".join(lines[:4]).split())


def test_the_json_of_the_suite_names_case_and_stage(suite):
    fields = json.loads(to_json(suite), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert fields["checkpoint"] is None
    assert fields["ok"] is False
    assert list(fields["frameworks"]["pt"]["stages"]) == ["plain/logits", "plain/loss", "wide/logits"]
    assert fields["frameworks"]["tf"]["ok"] is False
    assert fields["frameworks"]["tf"]["worst"] is None
    assert fields["frameworks"]["tf"]["stages"]["wide/run"] == {"max_abs": None, "max_rel": None}


def test_the_junit_of_the_suite_has_a_test_for_each_case(suite):
    root = ElementTree.fromstring(to_junit(suite))
    counts = [(one.get("name"), one.get("tests"), one.get("failures")) for one in root]
    assert counts == [("PyTorch 2.13.0", "2", "0"), ("TensorFlow 2.21.0", "2", "2")]
    failure = root.find("./testsuite[2]/testcase[@name='plain']/failure")
    assert failure is not None
    assert failure.get("message") == "loss: error 5.00e-01 exceeds the tolerance 1e-06"


def test_the_junit_of_a_checkpoint_has_a_test_for_each_stage(checkpoint):
    root = ElementTree.fromstring(to_junit(checkpoint))
    assert [test.get("name") for test in root.iter("testcase")] == ["hidden_states.0", "logits"]
    assert not list(root.iter("failure"))


def test_a_complaint_that_xml_cannot_hold_is_cleaned(suite):
    root = ElementTree.fromstring(to_junit(suite))
    failure = root.find("./testsuite[2]/testcase[@name='wide']/failure")
    assert failure is not None
    assert failure.get("message") == "ValueError: <no>  such thing"


def test_the_table_of_the_suite_shows_the_worst_of_each_case(suite):
    lines = printed(to_table(suite)).splitlines()
    assert any("plain" in line and "5.0e-07" in line and "5.0e-01" in line for line in lines)
    assert any("wide" in line and "2.0e-07" in line and "failed" in line for line in lines)
    assert any("worst" in line and "5.0e-07" in line and "failed" in line for line in lines)


def test_the_table_of_a_checkpoint_shows_each_stage(checkpoint):
    text = printed(to_table(checkpoint))
    assert "hidden_states.0" in text
    assert "roberta-tiny" in text
    assert "1e-05" in text


def test_what_failed_is_told_by_framework_case_and_stage(suite, checkpoint):
    assert describe_failures(suite)[0] == "TensorFlow: plain: loss: error 5.00e-01 exceeds the tolerance 1e-06"
    assert len(describe_failures(suite)) == 2
    assert describe_failures(checkpoint) == []


def test_the_table_of_faults_shows_those_that_nothing_catches():
    text = printed(make_fault_table([("a", Catch("a", "plain", "logits", 0.5, 1e-6)), ("b", None)]))
    assert "500,000" in text
    assert "none" in text


def test_a_file_is_written_into_a_new_folder(tmp_path):
    write(tmp_path / "new" / "report.json", "{}")
    assert (tmp_path / "new" / "report.json").read_text(encoding="utf-8") == "{}"
