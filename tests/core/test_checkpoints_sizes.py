"""Sizes in a configuration are compared with the weights before anything is built, so that huge sizes cost nothing."""

import json
import os
import time

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.checkpoints.sizes import count_parameters
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

SIZES = {"vocab_size": 11, "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 6, "num_hidden_layers": 1}
CONFIG = RobertaConfig(**SIZES, max_position_embeddings=9, layer_norm_eps=1e-5, type_vocab_size=1)  # pyright: ignore
TENSORS = {
    name: np.ones(row.shape, np.float32) for name, row in parameters(CONFIG, "ForSequenceClassification").items()
}
HUGE = {
    "num_hidden_layers": (1_000_000, "num_hidden_layers is 1000000, but the weights have 1 layers"),
    "num_labels": (150_000, "num_labels is 150000, but no tensor in the weights has 150000 rows"),
    "vocab_size": (10**12, "the configuration describes .* parameters, but the weights have"),
    "hidden_size": (10**9, "the configuration describes .* parameters, but the weights have"),
    "intermediate_size": (10**30, "the configuration describes .* parameters, but the weights have"),
}


def put(folder, name, value, format="safetensors"):
    checkpoints.save(folder, CONFIG, "ForSequenceClassification", TENSORS, format=format)
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, name: value}))


@pytest.mark.parametrize("format", [row.name for row in FORMATS])
@pytest.mark.parametrize("name", HUGE)
def test_a_huge_size_is_compared_with_the_weights_first(tmp_path, name, format):
    value, sentence = HUGE[name]
    put(tmp_path, name, value, format)
    start = time.process_time()
    for read in (RobertaConfig.from_pretrained, conversion.open_checkpoint):
        with pytest.raises(CheckpointError, match=sentence):
            read(tmp_path)
    assert time.process_time() - start < 4


def test_loading_with_a_huge_configuration_is_refused_before_its_tensors_are_listed(tmp_path):
    put(tmp_path, "num_hidden_layers", 1)
    config = RobertaConfig.from_pretrained(tmp_path)
    config.num_hidden_layers = 1_000_000
    with pytest.raises(CheckpointError, match="the weights have 1 layers"):
        checkpoints.load(tmp_path, config, "ForMaskedLM")


def test_a_large_number_of_labels_that_matches_the_weights_is_accepted(tmp_path):
    config = RobertaConfig.from_dict({**CONFIG.to_dict(), "id2label": None, "label2id": None}, num_labels=20_000)
    tensors = {
        name: np.ones(row.shape, np.float32) for name, row in parameters(config, "ForSequenceClassification").items()
    }
    checkpoints.save(tmp_path, config, "ForSequenceClassification", tensors)
    assert RobertaConfig.from_pretrained(tmp_path).num_labels == 20_000
    assert RobertaConfig.from_pretrained(tmp_path, num_labels=3).num_labels == 3


def test_parameters_are_counted_without_listing_the_layers():
    assert count_parameters(RobertaConfig.base(num_labels=1)) == 124_697_433 + 768
    assert count_parameters(RobertaConfig(num_hidden_layers=10**15)) > 10**21


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "unfinished-save.json"])
def test_a_special_file_is_refused_without_waiting(tmp_path, name):
    put(tmp_path, "num_hidden_layers", 1)
    if "index" in name:
        (tmp_path / "model.safetensors").unlink()
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        make(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"not a regular file|between two|names files that do not"):
            conversion.open_checkpoint(tmp_path)
        if "index" not in name:
            with pytest.raises(CheckpointError, match="was not written by a save"):
                checkpoints.finish(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.pt"]
)
def test_a_special_file_for_weights_is_refused(tmp_path, name):
    put(tmp_path, "num_hidden_layers", 1)
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(CheckpointError, match="is not a file"):
        conversion.open_checkpoint(tmp_path)
