"""The core loads no framework and loads quickly."""

import json
import subprocess
import sys

import pytest

import roberta_core

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "jaxlib", "flax", "optax", "onnx", "onnxruntime", "openvino")
SECONDS = 0.2  # of CPU time for `import roberta_core`, independent of other load
RUNS = 5

EVERYTHING = """
import importlib, pkgutil, roberta_core
for module in pkgutil.walk_packages(roberta_core.__path__, "roberta_core."):
    importlib.import_module(module.name)
"""


def run_in_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def find_loaded_frameworks(code: str) -> set[str]:
    modules = json.loads(run_in_new_process(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"))
    return set(modules) & set(FRAMEWORKS)


def test_importing_the_core_loads_no_framework():
    assert find_loaded_frameworks("import roberta_core") == set()


def test_importing_every_module_of_the_core_loads_no_framework():
    assert find_loaded_frameworks(EVERYTHING) == set()


def test_a_loaded_framework_is_detected():
    assert find_loaded_frameworks("import sys, types; sys.modules['torch'] = types.ModuleType('torch')") == {"torch"}


def test_importing_the_core_is_quick():
    timed = "import time; start = time.process_time(); import roberta_core; print(time.process_time() - start)"
    assert min(float(run_in_new_process(timed)) for _ in range(RUNS)) < SECONDS


def test_the_public_names_are_found_on_first_use():
    code = "import roberta_core; print([getattr(roberta_core, name).__name__ for name in roberta_core.HOMES])"
    assert run_in_new_process(code).strip() == str(list(roberta_core.HOMES))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'RobertaConfiguration'"):
        roberta_core.RobertaConfiguration  # noqa: B018
