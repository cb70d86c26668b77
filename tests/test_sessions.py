"""Run the commands that the documentation shows, page by page, and compare their output with the page.

A fenced block `text` whose first line starts with `$ ` is a session. Numbers and the widths of tables may differ; `...`
matches any text. A block whose first line is a comment with a file name is first written to that file.
"""

import doctest
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
FRAMEWORKS = {"pt": "torch", "tf": "tensorflow", "flax": "flax", "onnx": "onnxruntime", "openvino": "openvino"}
START = "import sys; from roberta_core.cli import main; main(sys.argv[1:])"
CHECKER, FLAGS = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def find_sessions(text: str) -> list[tuple[str, str]]:
    """Return (command, output) of every command that a page shows with its output; a backslash continues a command."""
    blocks = re.findall(r"^```text\n(\$ .*?)^```", text, re.S | re.M)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.M) if part]
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts)]


def replace_numbers(text: str) -> str:
    """Replace what depends on the machine: numbers, versions and the width of table lines."""
    text = re.sub(r"\d[\d,.]*(?:e[+-]?\d+)?(?:\+cpu)?(?:/s)?", "N", text)
    return re.sub(r"([━─┳┻╇┼┴┬])\1*", r"\1", text)


def matches(expected: str, printed: str) -> bool:
    return CHECKER.check_output(replace_numbers(expected), replace_numbers(printed), FLAGS)


def write_files(text: str, folder: Path) -> None:
    """Write each block of a page whose first line is a comment with a file's name, such as `# recipe.toml`."""
    for name, rest in re.findall(r"^```\w+\n# (\w+\.\w+)\n(.*?)^```", text, re.S | re.M):
        (folder / name).write_text(rest, encoding="utf-8")


def run(command: str, folder: Path) -> str:
    """Run a `roberta` command, or a shell command; return its output, with stderr if it fails."""
    program, *arguments = shlex.split(command)
    call = [sys.executable, "-c", START, *arguments] if program == "roberta" else ["bash", "-c", command]
    ended = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300)
    return ended.stdout + (ended.stderr if ended.returncode else "")


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if find_sessions(page.read_text(encoding="utf-8"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_the_commands_print_what_the_page_shows(page, tmp_path):
    shown = find_sessions(page.read_text(encoding="utf-8"))
    write_files(page.read_text(encoding="utf-8"), tmp_path)
    needed = {
        name
        for command, _ in shown
        for names in re.findall(r"--frameworks? (\S+)", command)
        for name in names.split(",")
    }
    if missing := [name for name in needed if find_spec(FRAMEWORKS[name]) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    for command, output in shown:
        printed = run(command, tmp_path)
        assert matches(output, printed), f"{command}\n\nshown:\n{output}\nprinted:\n{printed}"


def test_a_session_is_found_with_its_commands():
    page = "```text\n$ roberta info \\\n  x\nclass  A\n$ roberta info y\n```\n\n```text\nno session\n```\n"
    assert find_sessions(page) == [("roberta info   x", "class  A\n"), ("roberta info y", "")]


@pytest.mark.parametrize(
    ("printed", "right"),
    [("loss 1.25 in 4 s\n", True), ("loss   7 in 31.5 s\n", True), ("error 1.25 in 4 s\n", False), ("", False)],
)
def test_other_words_are_a_difference_and_other_numbers_are_not(printed, right):
    assert matches("loss 1.3 in 5 s\n", printed) is right
