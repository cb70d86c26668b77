"""The table of training libraries in docs/migrating.md names tests that exist, and the versions that they run with."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Training libraries\n")[2].partition("\n## ")[0]
ROWS = [[cell.strip() for cell in line[1:-1].split("|")] for line in SECTION.splitlines() if line[:2] == "| "]
PIN = re.compile(r"([\w-]+)==([\w.]+)")


def read_pins() -> list[dict[str, str]]:
    """Return the pinned packages of the environments that run the tests of the table."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    return [dict(PIN.findall(tox[f"testenv:{name}"]["deps"])) for name in ("reference", "peers")]


def test_the_table_has_every_library():
    assert ROWS[0] == ["library", "versions", "classes", "what works", "what does not, and what to do", "tests"]
    assert {len(row) for row in ROWS} == {6}
    names = [row[0].split()[0].strip("`") for row in ROWS[1:]]
    assert names == [
        "Trainer", "PEFT", "accelerate", "DistributedDataParallel", "torch.compile", "Keras", "optax", "Orbax"
    ]  # fmt: skip


@pytest.mark.parametrize("row", ROWS[1:], ids=lambda row: row[0])
def test_a_row_has_the_versions_and_the_tests_of_the_environments(row):
    found = PIN.findall(row[1])
    assert found
    for name, _ in found:
        want = {pins[name] for pins in read_pins() if name in pins}
        assert {version for package, version in found if package == name} == want, name
    assert (ROOT / row[5].strip("`")).is_file()
    assert row[5].startswith("`tests/reference/test_")
    assert row[2] in ("PyTorch", "TensorFlow", "Flax")
