import json

import numpy as np
import pytest
import typer

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.checkpoints.conversion import Check
from roberta_core.cli.convert import convert
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters


@pytest.fixture
def start(tmp_path):
    config = RobertaConfig(
        vocab_size=101, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=1
    )
    generator = np.random.default_rng(0)
    table = parameters(config, "ForMaskedLM")
    tensors = {name: generator.standard_normal(parameter.shape, np.float32) for name, parameter in table.items()}
    checkpoints.save(tmp_path / "start", config, "ForMaskedLM", tensors)
    return tmp_path / "start"


def run(*arguments):
    app = typer.Typer(add_completion=False)
    app.command()(convert)
    typer.main.get_command(app).main([str(argument) for argument in arguments], standalone_mode=False)


def test_the_result_is_printed_as_json(start, tmp_path, capsys):
    run(start, tmp_path / "to", "--to", "bin", "--dtype", "float16", "--verify", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["from"], facts["to"], facts["class"]) == ("safetensors", "bin", "RobertaForMaskedLM")
    assert (facts["dtype"], facts["verified"], facts["remarks"]) == ("float16", True, [])
    assert facts["bytes"] == 2 * facts["parameters"]
    assert (tmp_path / "to" / "pytorch_model.bin").exists()


def test_the_result_is_printed_as_a_table_with_new_parts(start, tmp_path, capsys):
    run(start, tmp_path / "to", "--to", "msgpack", "--class", "RobertaForTokenClassification")
    shown = capsys.readouterr().out
    assert "RobertaForTokenClassification" in shown
    assert "classifier was newly initialised" in " ".join(shown.split())


def test_a_size_of_shards_may_be_a_number_of_bytes(start, tmp_path):
    run(start, tmp_path / "to", "--to", "safetensors", "--max-shard-size", "8000")
    assert len(list((tmp_path / "to").glob("model-*.safetensors"))) > 1


def test_a_copy_that_differs_is_an_error(start, tmp_path, monkeypatch):
    monkeypatch.setattr("roberta_core.checkpoints.conversion.compare_result", lambda summary: ["lm_head.bias"])
    with pytest.raises(CheckpointError, match=r"differs from .* in 1 tensors, first lm_head\.bias"):
        run(start, tmp_path / "to", "--to", "bin", "--verify")


def test_results_of_verifiers_are_reported_and_a_failure_is_an_error(start, tmp_path, monkeypatch, capsys):
    checks = [Check("one", 1e-7, 1e-5, None)]
    monkeypatch.setattr(conversion, "load_verifiers", lambda: [lambda summary: checks])
    run(start, tmp_path / "to", "--to", "bin", "--verify", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["checks"] == [{"name": "one", "error": 1e-7, "tolerance": 1e-5, "complaint": None}]
    checks.append(Check("two", 1.0, 1e-5, "logits: error 1.0e+00 exceeds the tolerance 1e-05"))
    with pytest.raises(CheckpointError, match="was written, but two fails: logits: error"):
        run(start, tmp_path / "to", "--to", "bin", "--verify")


def test_strict_refuses_non_finite_values_and_writes_nothing(start, tmp_path):
    config = RobertaConfig.from_pretrained(start)
    tensors, _ = checkpoints.load(start, config, "ForMaskedLM")
    tensors["lm_head.bias"] = np.full_like(tensors["lm_head.bias"], np.nan)
    checkpoints.save(start.parent / "odd", config, "ForMaskedLM", tensors)
    with pytest.raises(CheckpointError, match=r"not finite in the stored dtype: lm_head\.bias"):
        run(start.parent / "odd", tmp_path / "to", "--to", "bin", "--strict")
    assert not (tmp_path / "to").exists()
    run(start.parent / "odd", tmp_path / "to", "--to", "bin")
    assert (tmp_path / "to" / "pytorch_model.bin").exists()


def test_a_source_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="there is no folder"):
        run(tmp_path / "nothing", tmp_path / "to", "--to", "bin")
