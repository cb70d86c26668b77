"""Saving and uploading with the arguments of the published classes."""

from roberta_core.checkpoints import hub


def list_shards(folder):
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def test_large_checkpoints_are_split(framework, make, config, tmp_path, monkeypatch):
    config.num_hidden_layers = 1
    model = make("Model", config)
    model.save_pretrained(save_directory=tmp_path / "a", max_shard_size="5KB")
    monkeypatch.setattr(hub, "push", lambda name, save, card, format, **where: save(tmp_path / "b"))
    model.push_to_hub(repo_id="a/b", max_shard_size="5KB")
    assert len(list_shards(tmp_path / "a")) > 1
    assert list_shards(tmp_path / "a") == list_shards(tmp_path / "b")
