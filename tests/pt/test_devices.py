"""Inputs go to the device of a model: shown on the meta device, which the CPU's tensors cannot be computed with."""

import numpy as np
import pytest
import torch

import roberta_pt
from roberta_core.backend import load
from roberta_core.parameters import draw
from roberta_core.training.recipe import Recipe
from roberta_pt.interop import find_device


def test_inputs_follow_the_device_of_the_model(config, monkeypatch):
    backend = load("pt")
    model = backend.from_tensors("ForMaskedLM", config, dict(draw(config, "ForMaskedLM"))).to("meta")
    crossed = []
    monkeypatch.setattr("roberta_pt.backend.to_numpy", lambda tensor: crossed.append(tensor) or tensor.shape)
    ids = np.arange(14).reshape(2, 7) + 4
    outputs = backend.run(model, {"input_ids": ids, "attention_mask": ids != 5})
    assert [(tensor.device.type, tensor.shape) for tensor in crossed] == [("meta", (2, 7, config.vocab_size))]
    assert list(outputs) == ["logits"]  # what was not requested does not cross


def test_a_trainer_follows_the_device_of_the_model(config, monkeypatch):
    fused = torch.optim.AdamW  # which has no kernel for the meta device
    monkeypatch.setattr("torch.optim.AdamW", lambda *given, **settings: fused(*given, **{**settings, "fused": False}))
    model = load("pt").from_tensors("ForMaskedLM", config, dict(draw(config, "ForMaskedLM"))).to("meta")
    model.tie_weights()  # which a move to the meta device unties
    trainer = load("pt").trainer(model, Recipe())
    ids = np.arange(14).reshape(2, 7) + 4
    scalars = trainer.step([{"input_ids": ids, "attention_mask": ids != 5, "labels": ids}], 1e-3)
    assert [scalar.device.type for scalar in scalars.values()] == ["meta", "meta"]
    states = (trainer.optimizer.state[parameter] for parameter in trainer.parameters.values())
    moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]
    assert {moment.device.type for moment in moments} == {"meta"}


def test_a_model_is_placed_on_the_device_that_is_requested(config, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    moved = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: moved.append(device) or self)
    backend = load("pt").on("cuda:1")
    backend.from_tensors("ForMaskedLM", config, dict(draw(config, "ForMaskedLM"))).save_pretrained(tmp_path)
    backend.from_pretrained("ForMaskedLM", tmp_path)
    backend.from_pretrained("ForMaskedLM", tmp_path, output_loading_info=True)
    assert moved == ["cuda:1"] * 3
    assert (load("pt").on("auto").device, load("pt").on("cuda").device) == ("cuda:0", "cuda:0")


@pytest.mark.parametrize(
    ("device_map", "device"),
    [("auto", "cuda:0"), (1, "cuda:1"), ({"": "cuda:1"}, "cuda:1"), (torch.device("cpu"), "cpu"), (None, None)],
)
def test_a_device_map_with_one_device_places_the_model(monkeypatch, device_map, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert find_device(device_map) == device
    moved = []
    monkeypatch.setattr("roberta_pt.RobertaModel.to", lambda model, place: moved.append(place) or model)
    roberta_pt.RobertaModel.from_pretrained("roberta-tiny", device_map=device_map)
    assert moved == ([device] if device else [])


@pytest.mark.parametrize(
    ("device_map", "sentence"),
    [
        ({"embeddings": 0, "encoder": "cpu"}, "one device for the whole model"),
        ("cuda:9", "there is no device 'cuda:9'"),
    ],
)
def test_a_device_map_that_cannot_be_satisfied_is_refused(device_map, sentence):
    with pytest.raises(ValueError, match=sentence):
        roberta_pt.RobertaModel.from_pretrained("roberta-tiny", device_map=device_map)
