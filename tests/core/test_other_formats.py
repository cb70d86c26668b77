"""Weights in several formats in one folder: those that differ from the loaded ones are reported."""

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from roberta_core import checkpoints
from roberta_core.checkpoints import conversion
from roberta_core.cli.info import examine

BIAS = "encoder.layer.0.output.dense.bias"


@pytest.fixture
def folder(config, weights, tmp_path):
    """Return a folder with the same weights in safetensors, h5 and msgpack."""
    checkpoints.save(tmp_path, config, "ForMaskedLM", weights(config, "ForMaskedLM"))
    for kind in ("h5", "msgpack"):
        conversion.convert(tmp_path, tmp_path, kind)
    return tmp_path


def change_h5(folder, ending, place=0, value=0.5):
    """Add to one value of a dataset."""
    with h5py.File(folder / "tf_model.h5", "r+") as file:
        names = []
        file.visit(names.append)
        (name,) = [name for name in names if name.endswith(ending)]
        array = file[name][()]
        array.flat[place] += value
        file[name][...] = array


def load(folder, config, architecture="ForMaskedLM"):
    return checkpoints.load(folder, config, architecture)[1]


def test_formats_that_agree_are_not_mentioned(folder, config):
    assert load(folder, config).sentences() == ()
    assert load(folder, config, "Model").differing == ()


def test_a_bias_that_differs_is_reported_when_loading(folder, config):
    change_h5(folder, "layer_._0/output/dense/bias:0")
    (sentence,) = load(folder, config).sentences()
    assert sentence == (
        f"{folder}/tf_model.h5 differs from {folder}/model.safetensors, which is loaded: {BIAS} differs by up to 0.5 "
        "in 1 of 12 values"
    )


@pytest.mark.parametrize("place", [0, -1])
def test_a_corner_of_a_matrix_that_differs_is_reported_when_loading(folder, config, place):
    change_h5(folder, "layer_._1/intermediate/dense/kernel:0", place)
    (sentence,) = load(folder, config).differing
    assert sentence.endswith("encoder.layer.1.intermediate.dense.weight differs by 0.5 or more")


def test_info_finds_a_single_value_that_loading_does_not_read(folder, config):
    change_h5(folder, "roberta/embeddings/word_embeddings/weight:0", 50 * 12)
    assert load(folder, config).differing == ()
    change_h5(folder, "layer_._1/intermediate/dense/kernel:0")
    (remark,) = examine(str(folder))["remarks"]
    assert remark.endswith("embeddings.word_embeddings.weight differs by up to 0.5 in 1 of 1212 values (1 more)")


def test_a_file_of_another_type_agrees_if_only_rounding_differs(folder, config):
    tensors = load_file(folder / "model.safetensors")
    half = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder, config).differing == ()
    half["roberta.encoder.layer.0.output.dense.bias"] += np.float16(0.5)
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    assert len(load(folder, config).differing) == 2


def test_a_file_without_a_tensor_or_with_another_shape_is_reported(folder, config):
    (folder / "model.safetensors").unlink()
    smaller = {"vocab_size": 90}
    other = type(config).from_dict({**config.to_dict(), **smaller})
    table = checkpoints.parameters(other, "Model", pooler=False)
    body = {name: np.ones(row.shape, np.float32) for name, row in table.items()}
    checkpoints.save(folder / "body", other, "Model", body)
    (folder / "body" / "model.safetensors").rename(folder / "model.safetensors")
    opened = checkpoints.load(folder, other, "Model", pooler=False)[1]
    assert len(opened.differing) == 2
    assert all("embeddings.word_embeddings.weight has shape [101, 12], not [90, 12]" in one for one in opened.differing)


def test_a_file_that_cannot_be_read_does_not_stop_the_load(folder, config):
    (folder / "tf_model.h5").write_bytes(b"nothing")
    (sentence,) = load(folder, config).differing
    assert sentence.startswith(f"{folder}/tf_model.h5 cannot be compared with {folder}/model.safetensors")


def test_a_tensor_that_only_one_file_has_is_reported(folder, config):
    tensors = load_file(folder / "model.safetensors")
    save_file({name: one for name, one in tensors.items() if "lm_head" not in name}, folder / "model.safetensors")
    report = load(folder, config)
    assert len(report.differing) == 2
    assert all(one.endswith("which is loaded: lm_head.bias is only there") for one in report.differing)
