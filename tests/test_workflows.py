"""The workflows pin their actions and tools, and the lists of versions agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_pins(path: Path) -> dict[str, str]:
    """Return the pinned version of each package in a file of requirements or constraints."""
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.M)
    }


def read_lowest_versions() -> dict[str, str]:
    """Return the lowest version of each dependency in pyproject.toml, without the extra `dev`."""
    extras = [one for name, group in PROJECT["optional-dependencies"].items() if name != "dev" for one in group]
    found = [re.match(r"([\w.-]+)>=([\w.]+)", one) for one in PROJECT["dependencies"] + extras]
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def find_unpinned_actions(text: str) -> list[str]:
    """Return the actions that are not pinned to a commit with the version in a comment."""
    used = re.findall(r"uses: (\S+.*)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit(path):
    assert find_unpinned_actions(path.read_text(encoding="utf-8")) == []


def test_an_action_with_a_tag_is_found():
    assert find_unpinned_actions("      - uses: actions/checkout@v5\n") == ["actions/checkout@v5"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_checkout_keeps_credentials(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_every_tool_has_hashes(path):
    blocks = re.split(r"\n(?=\w)", path.read_text(encoding="utf-8"))[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_the_tools_have_the_versions_of_the_constraints(path):
    tested = read_pins(ROOT / "constraints.txt")
    assert {name: tested[name] for name in read_pins(path) if name in tested} == {
        name: version for name, version in read_pins(path).items() if name in tested
    }


def test_the_oldest_versions_are_the_lowest_of_the_project():
    oldest = read_pins(ROOT / "constraints-oldest.txt")
    lowest = read_lowest_versions()
    assert {name for name in lowest if name not in oldest} == set()
    assert {name: oldest[name] for name in lowest if not (oldest[name] + ".0").startswith(lowest[name] + ".")} == {}


# Versions of Keras that load code from a model file, or worse -> the vulnerability.
VULNERABLE = {
    "3.10.0": "CVE-2025-9905",
    "3.11.2": "CVE-2025-9905",
    "3.11.3": "CVE-2025-12060",
    "3.12.0": "CVE-2026-0897",
    "3.13.0": "CVE-2026-0897",
}


@pytest.mark.parametrize("version", VULNERABLE)
def test_versions_of_keras_with_known_vulnerabilities_are_excluded(version):
    (allowed,) = (
        Requirement(one).specifier for one in PROJECT["optional-dependencies"]["tf"] if Requirement(one).name == "keras"
    )
    assert version not in allowed, VULNERABLE[version]
    assert read_pins(ROOT / "constraints.txt")["keras"] in allowed
    assert read_pins(ROOT / "constraints-oldest.txt")["keras"] in allowed


def test_the_oldest_versions_are_not_part_of_the_usual_run():
    environments = re.search(r"^env_list = (.*)$", (ROOT / "tox.ini").read_text(encoding="utf-8"), re.M)
    assert environments is not None
    assert "oldest" not in environments[1]
