"""The composite action, the reusable workflow and the pre-commit hook: their steps are run in a clean folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from conformance.check_checkpoints import main as check_checkpoints
from conformance.report.summary import make_summary
from roberta_core.checkpoints import conversion

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / ".github/actions/parity/action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/parity.yml").read_text(encoding="utf-8"))
STEPS = {
    "action": ACTION["runs"]["steps"],
    "workflow": [step for step in WORKFLOW["jobs"]["parity"]["steps"] if "run" in step],
}
INPUTS = {"frameworks": "oracle", "texts": "", "output": "parity", "requirement": "triberta[pt]==1.0"}
# Stands for `roberta` and `gh`: the first is the installed command, the second writes down its arguments.
SCRIPTS = {
    "roberta": f'exec {sys.executable} -c "from roberta_core.cli import main; main()" "$@"\n',
    "python": f'[ "$2" != pip ] || {{ echo "$@" > pip.txt; exit 0; }}\nexec {sys.executable} "$@"\n',
    "gh": 'echo "$@" > gh.txt\n',
}


@pytest.fixture
def run(tmp_path, checkpoint):
    """`run(kind, **inputs)`: run the steps in an empty folder; the exit status of each by name."""
    folder, tools = tmp_path / "repository", tmp_path / "tools"
    for path in (folder, tools):
        path.mkdir()
    for name, text in SCRIPTS.items():
        (tools / name).write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        (tools / name).chmod(0o755)
    shutil.copytree(checkpoint("ForMaskedLM"), folder / "model")

    def started(kind, **inputs):
        values = {f"inputs.{name}": value for name, value in {**INPUTS, "checkpoint": "model", **inputs}.items()}
        values |= {"github.action_path": str(ROOT / ".github/actions/parity"), "github.token": "none"}
        values |= {"github.event.pull_request.number": "7"}
        base = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        }
        base |= {"GITHUB_REPOSITORY": "someone/model"}
        found, failed = {}, False
        for step in STEPS[kind]:
            if failed and "always()" not in step.get("if", ""):
                continue
            own = {
                name: re.sub(r"\$\{\{ (.*?) \}\}", lambda match: values[match[1]], value)
                for name, value in step.get("env", {}).items()
            }
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            ended = subprocess.run(command, cwd=folder, env={**base, **own}, capture_output=True, text=True)
            found[step["name"]] = ended.returncode
            failed = failed or ended.returncode != 0
        return found, folder

    return started


@pytest.mark.parametrize("kind", STEPS)
def test_the_steps_pass_on_a_checkpoint_and_leave_the_files(run, kind):
    found, folder = run(kind)
    assert set(found.values()) == {0}
    assert [*found][:3] == ["Install", "Compare", "Summarise"]
    assert (folder / "pip.txt").read_text(encoding="utf-8").split() == ["-m", "pip", "install", "triberta[pt]==1.0"]
    files = {path.name for path in (folder / "parity").iterdir()}
    assert files == {"parity.json", "parity.xml", "parity.html", "parity.md"}
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "### Parity: model passes" in summary
    assert summary == (folder / "parity/parity.md").read_text(encoding="utf-8")


def test_the_workflow_comments_on_the_pull_request_and_uploads_the_folder(run):
    _, folder = run("workflow")
    said = (folder / "gh.txt").read_text(encoding="utf-8").split()
    assert said[:3] == ["pr", "comment", "7"]
    assert said[said.index("--body-file") + 1] == "parity/parity.md"
    last = WORKFLOW["jobs"]["parity"]["steps"][-1]
    assert last["uses"].startswith("actions/upload-artifact@")
    assert (last["if"], last["with"]["path"]) == ("always()", "parity")


def test_a_failed_comparison_still_writes_no_wrong_summary(run):
    found, folder = run("action", checkpoint="missing")
    assert (found["Compare"], found["Summarise"]) == (1, 0)
    assert not (folder / "parity/parity.md").exists()


def test_the_action_installs_its_own_commit_by_default(run):
    _, folder = run("action", requirement="")
    source = (folder / "pip.txt").read_text(encoding="utf-8").split()[-1]
    assert source.endswith("[all]")
    assert (Path(source.removesuffix("[all]")) / "pyproject.toml").samefile(ROOT / "pyproject.toml")


def test_the_summary_names_the_first_stage_and_the_cause():
    stages = {
        "hidden_states.0": {"max_abs": 1.0, "max_rel": 1e-7, "tolerance": 1e-6},
        "attentions.0": {"max_abs": 1.0, "max_rel": 0.5, "tolerance": 1e-6},
        "logits": {"max_abs": None, "max_rel": None, "tolerance": 1e-6},
    }
    one = {"version": "2", "ok": False, "worst": None, "cause": "looks like: no residual", "stages": stages}
    fields = {"checkpoint": "m", "tolerance": None, "ok": False, "warnings": ["two files"], "frameworks": {"pt": one}}
    text = make_summary(fields)
    assert "### Parity: m **fails**" in text
    assert "| pt | 2 | not comparable | attentions.0 |" in text
    assert "- pt: looks like: no residual" in text
    assert "- warning: two files" in text


def test_the_hook_fails_for_weights_files_that_differ_and_for_one_that_does_not_load(checkpoint, tmp_path, capsys):
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]
    assert hook["entry"] == "python -m conformance.check_checkpoints"
    folder = shutil.copytree(checkpoint("ForMaskedLM"), tmp_path / "model")
    conversion.convert(folder, folder, "bin")
    changed = [str(folder / name) for name in ("model.safetensors", "pytorch_model.bin", "config.json")]
    assert all(re.search(hook["files"], name) for name in changed)
    assert check_checkpoints([*changed, str(tmp_path / "other.bin")]) == 0
    tensors = load_file(folder / "model.safetensors")
    name = "roberta.encoder.layer.0.output.dense.bias"
    save_file({**tensors, name: tensors[name] + np.float32(0.5)}, folder / "model.safetensors", {"format": "pt"})
    assert check_checkpoints(changed) == 1
    assert "encoder.layer.0.output.dense.bias differs by up to 0.5 in 12 of 12 values" in capsys.readouterr().out
    (folder / "model.safetensors").write_bytes(b"nothing")
    assert check_checkpoints(changed) == 1
    assert "model.safetensors" in capsys.readouterr().out
