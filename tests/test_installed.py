"""An environment of tox.ini contains the built wheel and only the frameworks that it names."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("roberta_core", "roberta_pt", "roberta_tf", "roberta_flax", "roberta_onnx", "conformance", "roberta_bench")
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "flax", "optax", "onnxruntime", "openvino")

in_tox = pytest.mark.skipif("ROBERTA_TEST_SITE" not in os.environ, reason="only tox sets the expected paths")


@in_tox
@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_the_installed_one(package):
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).is_relative_to(os.environ["ROBERTA_TEST_SITE"])


@in_tox
def test_a_subprocess_imports_the_installed_package_too():
    command = [sys.executable, "-c", "import roberta_core; print(roberta_core.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found).is_relative_to(os.environ["ROBERTA_TEST_SITE"])


@in_tox
def test_the_environment_has_its_own_frameworks_only():
    installed = {name for name in FRAMEWORKS if find_spec(name)}
    assert installed == set(os.environ["ROBERTA_TEST_FRAMEWORKS"].split())
