"""`pytest --roberta-parity CHECKPOINT` and the fixture `roberta_parity`, in runs of pytest inside this process."""

import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
PORT = """
from conformance.adapters.oracle import Reference
from conformance.faults.changes import swap_tensors
from conformance.suite.subject import Subject

def build(folder, change=None):
    model = Reference().load("ForMaskedLM", folder)
    if change:
        model.tensors = change(Subject(model.config, "ForMaskedLM", model.tensors, {})).tensors
    return lambda **inputs: dict(model.run(**inputs))

def load(folder):
    return build(folder)

def load_swapped(folder):
    return build(folder, swap_tensors("self.query", "self.key"))
"""


@pytest.fixture
def run(checkpoint, tmp_path, monkeypatch, capsys):
    """`run(*arguments, test=...)`: the exit status and the output of pytest in a folder with `my_port.py`."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_port", "test_my_port"):  # other tests import modules of these names too
        sys.modules.pop(name, None)
    (tmp_path / "my_port.py").write_text(PORT, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n", encoding="utf-8")

    def started(*arguments, test=""):
        (tmp_path / "test_my_port.py").write_text(test.format(checkpoint=checkpoint("ForMaskedLM")), encoding="utf-8")
        given = [str(one).format(checkpoint=checkpoint("ForMaskedLM")) for one in arguments]
        status = pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", "-q", *given])
        printed = capsys.readouterr()
        return int(status), printed.out + printed.err

    yield started
    for name in ("my_port", "test_my_port"):
        sys.modules.pop(name, None)


def test_a_checkpoint_is_a_test_for_each_implementation(run):
    status, out = run("--roberta-parity", "{checkpoint}", "--roberta-parity-frameworks", "oracle", "-vv")
    assert status == 0
    assert "parity[" in out
    assert "1 passed" in out


def test_a_wrong_implementation_fails_with_its_first_stage_and_the_cause(run):
    options = ("--roberta-parity", "{checkpoint}", "--roberta-parity-against", "my_port:load_swapped")
    status, out = run(*options)
    assert status == 1
    assert "my_port:load_swapped: attentions.0: error" in out
    assert "my_port:load_swapped: looks like: query and key swapped" in out
    assert "Traceback" not in out


def test_the_fixture_takes_a_callable(run):
    test = (
        "import my_port\n"
        "def test_right(roberta_parity):\n"
        "    report = roberta_parity({checkpoint!r}, my_port.load)\n"
        "    assert report.frameworks[0].worst.ratio < 1\n"
        "def test_wrong(roberta_parity):\n"
        "    roberta_parity({checkpoint!r}, my_port.load_swapped)\n"
    )
    status, out = run(test=test)
    assert status == 1
    assert "1 failed, 1 passed" in out
    assert "ParityError: my_port:load_swapped: attentions.0: error" in out
    assert "looks like: query and key swapped" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--roberta-parity-frameworks", "torch"), "there is no framework 'torch': write pt"),
        (("--roberta-parity-against", "my_port"), "'my_port' is none of MODULE:CALLABLE"),
        (("--roberta-parity-against", "no_port:load"), "no_port:load cannot be imported: No module named 'no_port'"),
    ],
)
def test_a_wrong_option_ends_the_run_in_one_sentence(run, arguments, message):
    status, out = run("--roberta-parity", "{checkpoint}", *arguments)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert message in out
    assert "Traceback" not in out


def test_a_checkpoint_that_is_missing_fails_its_test(run):
    status, out = run("--roberta-parity", "nowhere", "--roberta-parity-frameworks", "oracle")
    assert status == 1
    assert "'nowhere' is neither a folder here nor a built-in model" in out


def test_the_plugin_imports_nothing_until_it_is_used():
    code = (
        "import sys, pytest, conformance.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith('roberta')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_example_on_the_page_passes(run):
    page = PAGE.read_text(encoding="utf-8")
    example = page.split("```python\n# test_parity.py\n")[1].split("```")[0].replace("{", "{{").replace("}", "}}")
    status, out = run(test=example)
    assert status == 0, out
    assert "1 passed" in out
