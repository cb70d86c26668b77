"""Commands check that they can write their output files before they begin."""

import os
from pathlib import Path

import pytest

from roberta_core import cli
from roberta_core.cli.files import STDOUT, check_chart, check_files


def test_the_folder_of_a_file_is_created_and_the_file_is_not_changed(tmp_path):
    (tmp_path / "old.json").write_text("old")
    check_files(tmp_path / "a" / "b" / "new.json", tmp_path / "old.json", None, STDOUT)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["a", "b", "old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", r"folder is a folder: give the name of a file$"),
        ("file/new.json", r"new\.json cannot be written: file exists: .*file$"),
        ("file/sub/new.json", r"new\.json cannot be written: not a directory: .*sub$"),
    ],
)
def test_an_impossible_path_is_refused(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=message):
        check_files(None, tmp_path / name)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK)
    )  # root has all permissions
    with pytest.raises(ValueError, match=r"new\.json cannot be written: permission denied$"):
        check_files(tmp_path / "new.json")


@pytest.mark.parametrize("name", ["chart.png", "chart.SVG", "chart"])
def test_a_chart_has_a_suffix_of_matplotlib_or_none(tmp_path, name):
    pytest.importorskip("matplotlib")
    check_chart(None)
    check_chart(tmp_path / name)
    with pytest.raises(ValueError, match=r"drawn as .*png.*svg.*, not as \.docx$"):
        check_chart((tmp_path / name).with_suffix(".docx"))


@pytest.mark.parametrize(
    "command",
    [
        ("parity", "--json-file"),
        ("parity", "--junit"),
        ("parity", "--html"),
        ("bench", "--json-file"),
        ("bench", "--chart"),
        ("evaluate", "--task", "classification", "--texts", "none.jsonl", "--predictions"),
    ],
    ids=" ".join,
)
def test_every_command_checks_its_files_first(tmp_path, monkeypatch, capsys, command):
    if "--chart" in command:
        pytest.importorskip("matplotlib")
    pytest.importorskip("conformance")

    def fail(*_, **__):
        raise AssertionError("measured before the file was checked")

    monkeypatch.setattr("conformance.command.measure", fail)
    monkeypatch.setattr("roberta_bench.harness.measure", fail)
    monkeypatch.setattr("roberta_core.training.finetune_run.evaluate_task", fail)
    monkeypatch.setattr("roberta_core.backend.load", lambda name: fail)
    monkeypatch.setattr("roberta_core.cli.evaluate.resolve_frameworks", lambda *_: ["one"])
    monkeypatch.setattr("roberta_bench.command.select_frameworks", lambda _: [])
    (tmp_path / "file").touch()
    path = Path(tmp_path / "file" / "out.svg")
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, str(path)])
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"roberta: {path} cannot be written: file exists: {path.parent}\n"
