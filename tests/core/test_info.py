"""`roberta info` on every format: dialect, conversion of the keys, and missing tensors."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.cli.info import examine, show, show_runtimes
from roberta_core.config import RobertaConfig
from roberta_core.frozen import FrozenView
from roberta_core.parameters import draw


@pytest.fixture
def fairseq_config(config):
    """Return a configuration that fairseq can express too."""
    config.type_vocab_size = 1
    return config


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_every_format_is_reported(fairseq_config, tmp_path, format, capsys):
    checkpoints.save(
        tmp_path, fairseq_config, "ForMaskedLM", dict(draw(fairseq_config, "ForMaskedLM")), format=format.name
    )
    facts = examine(str(tmp_path))
    assert (facts["format"], facts["files"], facts["class"]) == (format.name, [format.file], "RobertaForMaskedLM")
    assert facts["dialect"] == ("fairseq" if format.name == "fairseq" else format.dialect)
    assert (facts["missing"], facts["unexpected"], facts["not_finite"], facts["remarks"]) == ([], [], [], [])
    assert facts["bytes"] == 4 * facts["parameters"]
    show(facts)
    assert f"{format.name}, float32" in capsys.readouterr().out


def test_shards_are_reported(config, tmp_path):
    tensors = dict(draw(config, "ForMaskedLM"))
    checkpoints.save(tmp_path, config, "ForMaskedLM", tensors, format="bin", max_shard_size="10KB")
    files = examine(str(tmp_path))["files"]
    assert files[0] == "pytorch_model.bin.index.json"
    assert sorted(files) == sorted(path.name for path in tmp_path.glob("pytorch_model*"))


def test_missing_and_non_finite_tensors_are_reported(config, tmp_path, capsys):
    tensors = dict(draw(config, "Model", pooler=False))
    tensors["embeddings.LayerNorm.bias"] = np.full(12, np.inf, np.float32)
    checkpoints.save(tmp_path, config, "Model", tensors)
    config.architectures = ["RobertaForTokenClassification"]
    config.save_pretrained(tmp_path)
    facts = examine(str(tmp_path))
    assert facts["missing"] == ["classifier.weight", "classifier.bias"]
    assert facts["not_finite"] == ["roberta.embeddings.LayerNorm.bias"]
    assert facts["bytes"] < 4 * facts["parameters"]
    show(facts)
    shown = " ".join(capsys.readouterr().out.split())
    assert "not finite: roberta.embeddings.LayerNorm.bias" in shown
    assert "classifier was newly initialised" in shown


def test_a_fairseq_folder_needs_no_configuration(shared):
    facts = examine(str(shared / "fixtures/fairseq/v0.12.2-classification"))
    assert (facts["format"], facts["dialect"]) == ("fairseq", "fairseq")
    assert facts["class"] == "RobertaForSequenceClassification"
    config = RobertaConfig.from_pretrained(shared / "fixtures/fairseq/v0.12.2-classification", hidden_dropout_prob=0.0)
    assert (config.vocab_size, config.num_labels, config.hidden_dropout_prob) == (105, 3, 0.0)


def test_the_runtime_of_each_installed_framework_is_printed(monkeypatch, capsys):
    class Fast:
        title, version, device = "Fast", "1.0", "cpu"

        def describe_runtime(self):
            return "packed: AMD, AVX2"

    class Other:
        title, version, device = "Other", "2.0", "cpu"

    found = {"fast": Fast(), "other": Other()}
    monkeypatch.setattr("roberta_core.backend.available", lambda: tuple(found))
    monkeypatch.setattr("roberta_core.cli.frameworks.load_backend", found.get)
    show_runtimes(None, as_json=False)
    assert capsys.readouterr().out == "Fast 1.0 on cpu: packed: AMD, AVX2\nOther 2.0 on cpu: plain\n"
    show_runtimes(None, as_json=True)
    assert json.loads(capsys.readouterr().out)["fast"]["path"] == "packed: AMD, AVX2"


def test_the_runtime_of_a_checkpoint_is_the_path_that_its_model_takes(monkeypatch, capsys, tmp_path):
    class View(FrozenView):
        def refresh(self):
            self.path = "plain: the model is a decoder"

    class Framework:
        name, title, version, device = "fast", "Fast", "1.0", "cpu"

        def from_pretrained(self, architecture, source):
            assert (architecture, source.name) == ("ForMaskedLM", "roberta-tiny")
            return object()

        def freeze(self, model):
            return frozen(model)

        def describe_runtime(self):
            return "packed: AMD, AVX2"

    frozen = View
    monkeypatch.setattr("roberta_core.backend.available", lambda: ("fast",))
    monkeypatch.setattr("roberta_core.cli.frameworks.load_backend", lambda name: Framework())
    show_runtimes("roberta-tiny", as_json=False)
    assert capsys.readouterr().out == "Fast 1.0 on cpu: plain: the model is a decoder\n"
    frozen = lambda model: model  # noqa: E731  # a framework that refused to freeze it
    show_runtimes("roberta-tiny", as_json=False)
    assert "plain: the optimised form was refused" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="nothing-here"):
        show_runtimes(str(tmp_path / "nothing-here"), as_json=False)


def test_only_runtimes_of_graphs_describe_an_exported_folder(monkeypatch, capsys, tmp_path):
    class Runtime:
        name, title, version, device = "onnx", "ONNX Runtime", "1.0", "cpu"

        def from_pretrained(self, architecture, source):
            assert (architecture, source) == ("ForTokenClassification", tmp_path)
            return SimpleNamespace(path="compiled for inference")

        def freeze(self, model):
            return model

        def describe_runtime(self):
            return "compiled for inference"

    RobertaConfig(architectures=["RobertaForTokenClassification"]).save_pretrained(tmp_path)
    (tmp_path / "model.onnx").touch()
    monkeypatch.setattr("roberta_core.backend.available", lambda: ("pt", "onnx"))
    monkeypatch.setattr("roberta_core.cli.frameworks.load_backend", {"onnx": Runtime()}.get)
    show_runtimes(str(tmp_path), as_json=False)
    assert capsys.readouterr().out == "ONNX Runtime 1.0 on cpu: compiled for inference\n"
