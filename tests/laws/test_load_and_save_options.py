"""Options of loading and saving that are honoured in every framework: docs/migrating.md has the whole table."""

import pytest

from roberta_core.checkpoints import hub

FILES = {"pt": "pytorch_model.bin", "tf": "tf_model.h5", "flax": "flax_model.msgpack"}


def test_the_options_of_saving_are_honoured(framework, make, config, tmp_path, monkeypatch):
    model = make("ForMaskedLM", config)
    model.save_pretrained(tmp_path / "a", safe_serialization=False, save_function=print)
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"config.json", FILES[framework.name]}
    model.save_pretrained(tmp_path / "b", is_main_process=False)
    assert not (tmp_path / "b").exists()
    with pytest.raises(ValueError, match=r"variant='fp16' is not supported: rename the file after saving"):
        model.save_pretrained(tmp_path / "b", variant="fp16")
    with pytest.raises(TypeError, match="there is no option fast for saving a model"):
        model.save_pretrained(tmp_path / "b", fast=True)

    uploads = []
    monkeypatch.setattr(hub, "push", lambda name, save, card, format, **where: uploads.append((name, format, where)))
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, token="t", commit_message="m")
    assert (tmp_path / "mine" / "model.safetensors").is_file()
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="a/b")
    model.push_to_hub("a/c", safe_serialization=False, use_temp_dir=True, use_auth_token="t")
    assert uploads == [
        ("mine", "safetensors", {"token": "t", "commit_message": "m"}),
        ("a/b", "safetensors", {}),
        ("a/c", FILES[framework.name].rpartition(".")[2], {"token": "t"}),
    ]


def test_the_configuration_may_be_a_folder(framework, make, config, tmp_path):
    config.hidden_dropout_prob = 0.25
    make("ForMaskedLM", config).save_pretrained(tmp_path / "weights")
    config.hidden_dropout_prob = 0.5
    config.save_pretrained(tmp_path / "config")
    kind = framework.kind("ForMaskedLM")
    for place in (tmp_path / "config", str(tmp_path / "config" / "config.json")):
        assert kind.from_pretrained(tmp_path / "weights", config=place).config.hidden_dropout_prob == 0.5
    model = kind.from_pretrained(tmp_path / "weights", config=tmp_path / "config", attention_probs_dropout_prob=0.75)
    assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.5, 0.75)
