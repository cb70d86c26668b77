"""The script for a machine with a GPU, on a CPU: parity, times, exit status."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu
from roberta_core import backend
from roberta_core.config import RobertaConfig


def test_the_script_runs_on_a_cpu(tmp_path, capsys):
    name = next((name for name in backend.PREFERRED if name in backend.available()), None)
    if name is None:
        pytest.skip("no framework is installed")
    given = ["infer", "--device", "cpu", "--tiny", "--rounds", "2", "--frameworks", name, "--peak", "0.001"]
    assert gpu.main([*given, "--json-file", str(tmp_path / "found.json")]) == 0
    facts = json.loads((tmp_path / "found.json").read_text())
    assert [row["precision"] for row in facts["results"]] == ["float32", "bfloat16"]
    assert 0 < facts["results"][0]["error"] < 1e-5 < facts["results"][1]["error"] < 0.1
    assert all(list(row["seconds"]) == ["2x7", "3x16"] for row in facts["results"])
    shown = capsys.readouterr().out
    assert "tokens/s" in shown
    assert "%" in shown


def test_an_error_above_rounding_is_named_and_fails(monkeypatch, capsys):
    rows = [gpu.Row("pt", "float32", "2", "cuda:0", 1e-6, error, {(8, 128): 0.002}) for error in (9e-6, 1.1e-5)]
    monkeypatch.setattr(gpu, "measure", lambda config, plan: iter(rows))
    monkeypatch.setattr(gpu, "find_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(backend, "list_installed", lambda: ["pt"])
    assert gpu.main(["infer"]) == 1
    shown = capsys.readouterr().out
    assert "9.0e-06 (9.0x of rounding)" in shown
    assert "1.1e-05 (11.0x of rounding, too large)" in shown
    flops = gpu.count_operations(RobertaConfig.base(), (8, 128))
    assert f"2.00 ms, 512,000 tokens/s, {flops / 0.002 / 67e12:.1%}" in shown


def test_outputs_that_are_not_finite_are_no_small_error():
    assert gpu._find_error(np.array([1.0, np.nan]), np.array([1.0, 2.0])) == float("inf")


@pytest.mark.parametrize(("arguments", "sentence"), [(["--frameworks", "onnx"], "onnx is unknown; choose from pt")])
def test_an_unknown_framework_is_a_usage_error(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        gpu.main(["infer", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_every_worker_has_a_loader():
    source = Path(gpu.WORKER).read_text()
    assert all(f'"{name}": load_' in source for name in gpu.FRAMEWORKS)
