"""`roberta convert --verify` runs both checkpoints and detects different models."""

import json
from dataclasses import replace

import numpy as np
import pytest

from conformance.suite import verification
from roberta_core import backend, cli
from roberta_core.checkpoints import conversion, load
from roberta_core.config import RobertaConfig


def checks(summary):
    return list(verification.verify(summary))


@pytest.mark.parametrize("architecture", ["ForMultipleChoice", "ForCausalLM"])
def test_a_faithful_copy_passes_in_every_framework(checkpoint, tmp_path, architecture):
    found = checks(conversion.convert(checkpoint(architecture), tmp_path, "h5"))
    assert [check.complaint for check in found] == [None] * (1 + len(backend.available()))
    assert found[0].error <= verification.SAME
    assert all(0 < check.error <= verification.RTOL for check in found[1:])


def test_rounding_moves_the_outputs_within_its_bound(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ())
    (check,) = checks(conversion.convert(checkpoint("ForTokenClassification"), tmp_path, "bin", dtype="bfloat16"))
    assert check.complaint is None
    assert 1e-4 < check.error < verification.ROUNDED["bfloat16"]


def test_another_model_than_the_source_fails(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ())
    summary = conversion.convert(checkpoint("ForTokenClassification"), tmp_path, "bin")
    name = "roberta.encoder.layer.0.attention.self.query.weight"
    changed = {**summary.source.tensors, name: summary.source.tensors[name].T}
    other = replace(summary, source=replace(summary.source, tensors=changed))
    (check,) = checks(other)
    assert check.complaint is not None
    assert check.complaint.startswith("attentions.0: error")


def test_a_framework_that_computes_something_else_fails(checkpoint, tmp_path, monkeypatch):
    summary = conversion.convert(checkpoint("ForTokenClassification"), tmp_path / "to", "bin")
    config = RobertaConfig.from_pretrained(tmp_path / "to", layer_norm_eps=0.1)
    config.save_pretrained(tmp_path / "to")
    monkeypatch.setattr(backend, "available", lambda: ("pt",))
    reference, framework = checks(summary)
    assert reference.complaint is None
    assert framework.complaint is not None
    assert framework.complaint.startswith("hidden_states.0: error")


def test_what_was_written_beside_its_source_is_what_runs(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "available", lambda: ("pt",))
    source = tmp_path / "model"
    conversion.convert(checkpoint("ForMaskedLM"), source, "safetensors", max_shard_size="5KB")
    summary = conversion.convert(source, source, "msgpack", max_shard_size="5KB")
    with verification.isolate_written(summary) as folder:
        assert not list(folder.glob("*.safetensors"))
        config = RobertaConfig.from_pretrained(folder)
        found, _ = load(folder, config, "ForMaskedLM")
        want = summary.source.tensors
        assert all(np.array_equal(found[name], want[name]) for name in want)
    assert [check.complaint for check in checks(summary)] == [None, None]


def test_the_command_finds_it_by_its_entry_point(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backend, "available", lambda: ())
    with pytest.raises(SystemExit) as ended:
        cli.main(["convert", checkpoint("ForMaskedLM"), str(tmp_path), "--to", "h5", "--verify", "--json"])
    assert ended.value.code == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert check["name"] == "NumPy float64, both checkpoints"
    assert check["complaint"] is None
