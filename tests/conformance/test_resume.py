"""Runs that are killed in one framework and resumed in another, and exchanged training states."""

import itertools
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.suite.gradients import is_null
from conformance.suite.judge import judge

FRAMEWORKS = ("pt", "tf", "flax")
PAIRS = list(itertools.product(FRAMEWORKS, FRAMEWORKS))
STEPS = 18
LAST = f"step-{STEPS:07d}"
# AdamW amplifies rounding noise of gradients near zero to full steps: weights may differ, losses do not.
LOSSES, WEIGHTS = 1e-5, 2e-3


@pytest.fixture(scope="module")
def texts(steps, tmp_path_factory):
    return steps.write_texts(tmp_path_factory.mktemp("texts"), dropout=0.0, steps=STEPS)


@pytest.fixture(scope="module")
def whole(steps, texts, tmp_path_factory, adapter):
    """Return `whole(framework)`: the folder of an uninterrupted run."""
    folders = {}

    def made(name):
        if name not in folders:
            adapter(name)  # skip otherwise
            folders[name] = tmp_path_factory.mktemp(f"whole-{name}")
            steps.run_command(steps.build_command(texts, folders[name], name))
        return folders[name]

    return made


@pytest.fixture(scope="module")
def broken(steps, texts, tmp_path_factory, adapter):
    """Return `broken(framework)`: the folder of a run that was killed after its ninth step."""
    folders = {}

    def made(name):
        if name not in folders:
            adapter(name)
            folders[name] = tmp_path_factory.mktemp(f"broken-{name}")
            steps.run_and_kill(steps.build_command(texts, folders[name], name), folders[name], step=9)
        return folders[name]

    return made


def losses(folder):
    """Return the last logged loss of each step."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {line["step"]: line["loss"] for line in lines if "loss" in line}
    assert sorted(found) == list(range(1, STEPS + 1))
    return np.array([found[step] for step in sorted(found)])


@pytest.mark.parametrize(("begun", "gone_on"), PAIRS)
def test_a_killed_run_goes_on_in_any_framework(steps, texts, whole, broken, adapter, tmp_path, begun, gone_on):
    adapter(gone_on)
    output = tmp_path / "run"
    shutil.copytree(broken(begun), output)
    assert not (output / "model").exists()
    steps.run_command(steps.build_command(texts, output, gone_on, "--resume"))
    for name in ("model", "optimizer"):
        want, got = (load_file(folder / LAST / f"{name}.safetensors") for folder in (whole(begun), output))
        if begun == gone_on:
            assert [key for key in want if want[key].tobytes() != got[key].tobytes()] == []
        elif name == "model":
            kept = {key for key in want if not is_null(key, "ForMaskedLM", 1)}
            judge({key: got[key] for key in kept}, {key: want[key] for key in kept}, WEIGHTS)
    np.testing.assert_allclose(losses(output), losses(whole(begun)), rtol=LOSSES)


@pytest.mark.parametrize(("begun", "gone_on"), PAIRS)
def test_a_state_arrives_in_another_framework_bit_for_bit(steps, adapter, begun, gone_on):
    one, other = (steps.build_trainer(adapter(name).backend, seed=seed) for seed, name in enumerate((begun, gone_on)))
    steps.run_steps(one, range(3))
    state = one.state()
    other.load_state(state)
    arrived = other.state()
    assert steps.find_differences(state, arrived) == []
    assert arrived.steps == 3
    assert steps.run_steps(one, range(3, 8)) == pytest.approx(steps.run_steps(other, range(3, 8)), rel=5e-6)
