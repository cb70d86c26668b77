"""Commands and verifiers are loaded from the files of this distribution and require no extra."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from roberta_core import entry_points
from roberta_core.entry_points import load_entry_point

# Every optional dependency: `pip install triberta` alone installs none of them.
BLOCKED = """
import sys
FRAMEWORKS = ('torch', 'tensorflow', 'keras', 'jax', 'flax', 'optax', 'onnxruntime', 'openvino')
OTHERS = ('pyarrow', 'sklearn', 'scipy', 'seqeval', 'tensorboard', 'matplotlib', 'pytest', 'hypothesis')
sys.modules.update(dict.fromkeys(FRAMEWORKS + OTHERS))
"""
RUN = "import sys\nfrom roberta_core.cli import main\nmain(sys.argv[1:])"


def run_roberta(*arguments, code="", folder=None):
    """Run the command in a separate process with `folder` first on its path."""
    paths = [str(one) for one in (folder, os.environ.get("PYTHONPATH")) if one]
    return subprocess.run(
        [sys.executable, "-P", "-c", code + RUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Return a folder with packages that have the names of ours and fail on import."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("conformance", "benchmarks", "tests"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('this is the {name} of the user')")
    return folder


@pytest.mark.parametrize("name", ["conformance", "benchmarks"])
def test_the_packages_of_the_user_come_first_on_the_path(packages, name):
    ended = run_roberta(code=f"import {name}\n", folder=packages)
    assert f"RuntimeError: this is the {name} of the user" in ended.stderr


def test_a_package_of_the_user_called_conformance_does_not_break_parity(packages, tmp_path):
    (tmp_path / "texts").write_text("No.", encoding="utf-8")
    command = ("parity", "roberta-tiny", "--frameworks", "oracle", "--texts", tmp_path / "texts")
    ended = run_roberta(*command, folder=packages)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "hidden_states.4" in ended.stdout


def test_a_package_of_the_user_called_benchmarks_does_not_break_bench(packages):
    ended = run_roberta("bench", "--help", folder=packages)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "--shapes" in ended.stdout


def test_a_package_of_the_user_called_conformance_does_not_break_the_verification(packages, tmp_path):
    hidden = "from roberta_core import backend\nbackend.available = lambda: ()\n"
    command = ("convert", "roberta-tiny", tmp_path / "out", "--to", "h5", "--verify")
    ended = run_roberta(*command, code=hidden, folder=packages)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "NumPy float64, both checkpoints" in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("--help",), ("info", "roberta-tiny"), ("parity", "--help"), ("bench", "--help")]
)
def test_a_command_needs_no_extra(arguments):
    ended = run_roberta(*arguments, code=BLOCKED)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "cannot be loaded" not in ended.stdout


def test_a_command_that_needs_a_framework_names_the_extra():
    ended = run_roberta("parity", code=BLOCKED)
    assert ended.returncode == 1
    assert ended.stderr == "roberta: no framework is installed: pip install 'triberta[all]'\n"


def test_the_public_name_is_used_if_it_is_this_package():
    command = load_entry_point(EntryPoint("parity", "conformance.command:parity", "roberta.commands"))
    assert command.__module__ == "conformance.command"


def test_an_entry_point_of_another_distribution_keeps_its_own_package(tmp_path, monkeypatch):
    """The entry points of another distribution with a package of the same name refer to that package."""
    (tmp_path / "other_suite").mkdir()
    (tmp_path / "other_suite" / "__init__.py").write_text("def command(): return 'other'")
    (tmp_path / "root" / "other_suite").mkdir(parents=True)
    (tmp_path / "root" / "other_suite" / "__init__.py").write_text("def command(): return 'own'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(entry_points, "ROOT", tmp_path / "root")
    point = EntryPoint("command", "other_suite:command", "roberta.commands")
    assert load_entry_point(point)() == "own"
    monkeypatch.setattr(entry_points, "DISTRIBUTION", "something else")
    monkeypatch.setattr(EntryPoint, "dist", type("Distribution", (), {"name": "triberta"}), raising=False)
    assert load_entry_point(point)() == "other"


def test_a_package_that_fails_is_not_kept_half_loaded(tmp_path, monkeypatch):
    (tmp_path / "failing_suite").mkdir()
    (tmp_path / "failing_suite" / "__init__.py").write_text("import no_such_module")
    monkeypatch.setattr(entry_points, "ROOT", tmp_path)
    for _ in range(2):
        with pytest.raises(ImportError, match="no_such_module"):
            load_entry_point(EntryPoint("command", "failing_suite:command", "roberta.commands"))
    assert "_triberta_failing_suite" not in sys.modules
