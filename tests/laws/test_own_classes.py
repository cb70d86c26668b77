"""A user's class: a body in `self.roberta` and layers of any kind. `adapters/NAME.py` has one, as `OwnClassifier`."""

import logging

import numpy as np
import pytest

from roberta_core import checkpoints
from roberta_core.checkpoints.safetensors_file import read
from roberta_core.config import RobertaConfig

pytestmark = pytest.mark.usefixtures("eager")

OWN = {
    "dense.weight": (12, 24),
    "dense.bias": (12,),
    "norm.weight": (12,),
    "norm.bias": (12,),
    "heads.0.weight": (5, 12),
    "heads.0.bias": (5,),
    "heads.1.weight": (3, 12),
    "heads.1.bias": (3,),
    "transitions": (3, 3),
}


@pytest.fixture
def labelled(config):
    changed = RobertaConfig.from_dict(config.to_dict())
    changed.num_labels = 3
    return changed


@pytest.fixture
def source(framework, labelled, weights, tmp_path):
    """`source(architecture)`: the folder of a checkpoint of a published class."""

    def saved(architecture):
        folder = tmp_path / architecture
        checkpoints.save(folder, labelled, architecture, weights(labelled, architecture))
        return folder

    return saved


def values(outputs):
    return [np.asarray(output.detach() if hasattr(output, "detach") else output) for output in outputs]


@pytest.mark.parametrize("architecture", ["Model", "ForTokenClassification"])
def test_the_body_of_any_checkpoint_is_loaded_and_new_layers_are_named(
    framework, source, weights, labelled, caplog, architecture
):
    with caplog.at_level(logging.WARNING):
        model, info = framework.OwnClassifier.from_pretrained(source(architecture), output_loading_info=True)
    assert set(info["missing_keys"]) == set(OWN)
    for part in ("dense", "norm", "heads.0", "heads.1", "transitions"):
        assert f"{part} was newly initialised (" in caplog.text
    tensors, want = model._get_tensors(), weights(labelled, architecture)
    prefix = "" if architecture == "Model" else "roberta."
    for name in (name for name in tensors if name.startswith("roberta.")):
        np.testing.assert_array_equal(tensors[name], want[prefix + name.removeprefix("roberta.")])
    assert {name: tensors[name].shape for name in OWN} == OWN
    assert 0 < np.abs(tensors["dense.weight"]).max() < 1
    assert (tensors["norm.weight"] == 1).all()


def test_own_layers_come_back_and_have_the_names_and_shapes_of_pytorch(framework, labelled, ids, tmp_path, close):
    generator = np.random.default_rng(0)
    model = framework.OwnClassifier(labelled)
    getattr(model, "eval", int)()  # PyTorch's and NNX's switch for dropout
    model._assign((name, generator.standard_normal(shape, np.float32)) for name, shape in OWN.items())
    want = values(model(framework.arguments(ids)))
    for format in ("safetensors", "h5", "msgpack"):
        model.save_pretrained(tmp_path / format, format=format)
        again, info = framework.OwnClassifier.from_pretrained(tmp_path / format, scale=2.0, output_loading_info=True)
        assert info == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}
        for one, other, factor in zip(values(again(framework.arguments(ids))), want, (1, 2), strict=True):
            close(one, other * factor, 1e-5)
    assert RobertaConfig.from_pretrained(tmp_path / "h5").architectures == ["OwnClassifier"]
    stored = read(tmp_path / "safetensors")
    assert {name: stored[name].shape for name in OWN} == OWN
    # The same by NumPy: names, shapes and transposition are those that the other frameworks read.
    body = framework.kind("Model").from_pretrained(tmp_path / "safetensors", add_pooling_layer=False)
    hidden = values([framework.call(body, framework.arguments(ids)).last_hidden_state])[0].astype(np.float64)
    pooled = np.concatenate([hidden[:, 0], hidden.mean(1)], axis=-1) @ stored["dense.weight"].T + stored["dense.bias"]
    pooled = np.tanh(pooled)
    pooled = (pooled - pooled.mean(-1, keepdims=True)) / np.sqrt(pooled.var(-1, keepdims=True) + 1e-5)
    pooled = pooled * stored["norm.weight"] + stored["norm.bias"]
    close(want[0], pooled @ stored["heads.0.weight"].T + stored["heads.0.bias"], 1e-5)


def test_a_subclass_of_a_published_class_keeps_its_further_layer(framework, config, tmp_path):
    kind = framework.kind("ForSequenceClassification")

    class More(kind):
        def __init__(self, config, *args, **settings):
            super().__init__(config, *args, **settings)
            self.extra = framework.new_layer()

    model = More(config)
    model.save_pretrained(tmp_path)
    again, info = More.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == info["unexpected_keys"] == []
    one, other = model._get_tensors(), again._get_tensors()
    assert one.keys() == other.keys() >= {"extra.weight", "extra.bias", "classifier.out_proj.weight"}
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)
    _, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert info["unexpected_keys"] == ["extra.bias", "extra.weight"]


def test_a_layer_added_to_a_model_is_saved(framework, config, tmp_path):
    model = framework.kind("Model")(config)
    if framework.name == "tf":
        with pytest.raises(ValueError, match="You cannot add new elements"):  # Keras's own rule
            model.extra = framework.new_layer()
        return
    model.extra = framework.new_layer()
    model.save_pretrained(tmp_path)
    assert {"extra.weight", "extra.bias"} <= set(read(tmp_path))


def test_a_class_without_a_body_is_refused(framework, config, tmp_path):
    class Empty(type(framework.kind("Model")(config)).__mro__[1]):
        pass

    with pytest.raises(ValueError, match=r"Empty has no model as self.roberta: assign one in its constructor"):
        Empty(config).save_pretrained(tmp_path)
