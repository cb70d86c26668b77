"""The example files and commands of docs/tasks.md, shortened: the page's commands run, one after the other."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from roberta_core import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tasks.md"
ROWS = 16  # of each file: two steps
USES = ("tag", "answer", "choose", "rank")


def find_commands() -> list[tuple[list[str], list[str], str]]:
    """Return the commands of the page that train on an example file, each with the one that follows, and its input."""
    text = re.sub(r"\\\n\s*", "", PAGE.read_text(encoding="utf-8"))
    found = []
    for first, second in re.findall(r"^\$ (roberta finetune .*)\n\$ (.*)", text, re.MULTILINE):
        given, _, use = second.rpartition(" | ")
        found.append((shlex.split(first)[1:], shlex.split(use)[1:], "".join(shlex.split(given)[1:])))
    return found


def call(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_page_has_a_command_for_each_file():
    files = {training[training.index("--train") + 1] for training, _, _ in find_commands()}
    assert files == {f"docs/examples/{path.name}" for path in (ROOT / "docs" / "examples").glob("*.jsonl")}
    assert {use[0] for _, use, _ in find_commands()} == set(USES)


@pytest.mark.parametrize("number", range(len(USES)))
def test_an_example_trains_and_its_model_is_used(number, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training, use, given = find_commands()[number]
    given = given.encode().decode("unicode_escape")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    file = training.index("--train") + 1
    rows = (ROOT / training[file]).read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]
    Path("rows.jsonl").write_text("".join(rows), encoding="utf-8")
    training[file] = "rows.jsonl"
    training[training.index("--recipe") + 1] = str(ROOT / "docs/examples/example.toml")
    call(capsys, [*training, "--epochs", "1", "--batch-size", "8", "--framework", "pt"])
    out = call(capsys, [*use, "--framework", "pt", "--device", "cpu", "--json"])
    (row,) = map(json.loads, out.splitlines())
    assert "error" not in row
