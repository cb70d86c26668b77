"""The scripts of this folder, written for transformers 4.57.6, give the same numbers with this project imported."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("dropin_run", HERE / "run.py")
assert spec is not None
assert spec.loader is not None
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


@pytest.mark.parametrize("script", run.SCRIPTS)
def test_only_the_import_line_differs(script):
    text = (HERE / script).read_text()
    changed = [
        pair for pair in zip(text.splitlines(), run.ours(text, script).splitlines(), strict=True) if len({*pair}) > 1
    ]
    assert changed == [run.SCRIPTS[script][2:]]
    assert all(part.startswith("from ") for part in run.SCRIPTS[script][3].split("; "))


@pytest.mark.parametrize("script", run.SCRIPTS)
def test_a_script_gives_the_same_numbers_with_its_import_changed(script):
    found = run.compare(script)
    assert max(found.values()) <= run.TOLERANCE, found


@pytest.mark.parametrize(
    ("got", "want", "far"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([[1.0], [2.0]], [1.0, 2.0], float("inf")),
        (["a"], ["a"], 0.0),
        (["a"], ["b"], float("inf")),
        ([float("nan")], [1.0], float("inf")),
    ],
)
def test_a_difference_is_of_the_largest_number(got, want, far):
    assert run.difference(got, want) == far


def test_every_script_here_is_run():
    assert {path.name for path in HERE.glob("*_*.py")} - {"test_dropin.py"} == run.SCRIPTS.keys()


@pytest.mark.parametrize(
    ("argument", "status", "said"),
    [
        ("--help", 0, "all if none is named"),
        ("missing.py", 2, "there is no script missing.py; expected one of keras_fit.py"),
    ],
)
def test_the_command_tells_its_usage(capsys, argument, status, said):
    with pytest.raises(SystemExit) as ended:
        run.asked([argument])
    assert ended.value.code == status
    printed = capsys.readouterr()
    assert said in " ".join((printed.out + printed.err).split())


def test_scripts_are_run_as_they_are_named():
    assert run.asked(["torch_lora.py", "keras_fit.py"]) == ["torch_lora.py", "keras_fit.py"]
    assert run.asked([]) == []
