"""`roberta export --to saved-model`: the exported model is opened again and compared with float64."""

from roberta_core import checkpoints, exports


def test_an_exported_model_is_the_same_model(config, weights, tmp_path):
    checkpoints.save(tmp_path / "source", config, "ForMultipleChoice", weights(config, "ForMultipleChoice"))
    made = exports.export(tmp_path / "source", tmp_path / "out", "saved-model")
    assert len(made.checks) == 5
    assert all(check.error < 1e-5 for check in made.checks)
    assert made.files["saved_model/saved_model.pb"]
