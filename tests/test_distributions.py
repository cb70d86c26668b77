"""The wheel and the source archive contain every file of the seven packages and nothing else."""

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("roberta_core", "roberta_pt", "roberta_tf", "roberta_flax", "roberta_onnx", "conformance", "roberta_bench")
MEBIBYTE = 2**20

pytestmark = pytest.mark.skipif("ROBERTA_TEST_DIST" not in os.environ, reason="`tox -e build` builds the distributions")


def find_only(pattern: str) -> Path:
    (found,) = Path(os.environ["ROBERTA_TEST_DIST"]).glob(pattern)
    return found


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(find_only("*.whl"))


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def list_packaged(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info" not in name}


def test_the_wheel_has_every_file_of_the_packages(wheel, tracked):
    assert tracked
    assert tracked <= list_packaged(wheel)


def test_the_wheel_has_the_seven_packages_only(wheel):
    assert {PurePosixPath(name).parts[0] for name in list_packaged(wheel)} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES[:-1])  # only a command
def test_the_wheel_says_that_it_is_typed(wheel, package):
    assert f"{package}/py.typed" in wheel.namelist()


def test_the_wheel_has_no_leftovers(wheel):
    assert not [
        name for name in list_packaged(wheel) if "__pycache__" in name or name.endswith((".pyc", ".orig", ".tmp"))
    ]


def test_the_wheel_stays_small():
    assert find_only("*.whl").stat().st_size < 20 * MEBIBYTE


def test_the_source_archive_has_the_tests_and_the_licence():
    with tarfile.open(find_only("*.tar.gz")) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "tox.ini", "tests/test_mirror.py"} <= names
