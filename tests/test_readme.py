"""README and the documentation are correct: examples run; commands, targets and links exist."""

import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from roberta_core.cli import program

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
STORIES = {"docs/roberta.md", "docs/roberta.zh.md", "docs/migrating.md"}  # run from top to bottom by test_docs.py
SCRIPTS = ("# test_parity.py\n",)  # run with pytest by tests/conformance/test_pytest_plugin.py
FRAMEWORKS = {"roberta_pt": "torch", "roberta_tf": "tensorflow", "roberta_flax": "flax", "roberta_onnx": "onnxruntime"}
BACKENDS = {
    mention.format(package.removeprefix("roberta_")): name
    for package, name in FRAMEWORKS.items()
    for mention in ('backend.load("{}"', 'framework="{}"', 'return_tensors="{}"')
}


def get_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def find_examples() -> list:
    """Return every self-contained python block, named by its page and number."""
    return [
        pytest.param(text, id=f"{get_id(page)}-{number}")
        for page in PAGES
        if get_id(page) not in STORIES
        for number, text in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.S | re.M), 1)
        if not text.startswith(SCRIPTS)
    ]


def find_shell_lines(page: Path) -> list[str]:
    """Return the lines of blocks without a language, and commands in running text."""
    text = page.read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.S | re.M)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`((?:roberta|make) [^`]*)`", text)


@pytest.mark.parametrize("code", find_examples())
def test_an_example_runs(code, tmp_path):
    for mention, framework in (FRAMEWORKS | BACKENDS).items():
        if mention in code and find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("page", PAGES, ids=get_id)
def test_the_commands_and_their_options_exist(page):
    for line in find_shell_lines(page):
        for name, rest in re.findall(r"(?:^|\s)roberta ([a-z][a-z-]*)([^#|]*)", line):
            assert name in program.find_commands(), line
            known = {
                option
                for parameter in program.build_command(name, program.find_commands()[name]).params
                for option in (*parameter.opts, *parameter.secondary_opts)
            } | {"--help"}
            assert set(re.findall(r"--[a-z-]+", rest)) <= known, line


@pytest.mark.parametrize("page", PAGES, ids=get_id)
def test_the_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {name for line in find_shell_lines(page) for name in re.findall(r"^make ([a-z]+)", line)} <= targets


@pytest.mark.parametrize("page", PAGES, ids=get_id)
def test_the_targets_of_links_exist(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=get_id)
def test_the_named_files_exist(page):
    named = re.findall(r"`((?:roberta_\w+|conformance|tests|docs|\.github)/[\w/.-]+)`", page.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


def test_there_are_examples_for_every_framework():
    codes = [parameter.values[0] for parameter in find_examples()]
    assert all(any(package in code for code in codes) for package in FRAMEWORKS)


def test_the_reference_of_the_commands_equals_their_help():
    written = runpy.run_path(str(ROOT / "docs" / "commands.py"))["write_page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == written, "run: python docs/commands.py"


def test_every_page_is_in_the_index():
    """Each page of the documentation is linked from the table of the index, and the pages for users from README."""
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").partition("```{toctree}")[0]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {page for page in pages if f"({page})" not in index} == set()
    assert {page for page in pages if f"(docs/{page})" not in readme} == set()


def test_every_command_is_in_the_quickstart():
    quickstart = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    assert [name for name in program.find_commands() if f"`roberta {name}" not in quickstart] == []
