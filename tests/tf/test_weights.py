import keras
import numpy as np
import pytest
import tensorflow as tf

from roberta_core.parameters import parameters
from roberta_tf import TFRobertaForMaskedLM, TFRobertaModel
from roberta_tf.weights import as_concrete, assign, tensors


def test_variable_paths_are_the_published_names(fresh, config):
    config.is_decoder = config.add_cross_attention = True
    config.tie_word_embeddings = False
    leaves = {"kernel": "weight", "gamma": "weight", "beta": "bias", "embeddings": "weight", "bias": "bias"}
    for kind in (TFRobertaForMaskedLM, TFRobertaModel):
        model = fresh(kind, config)
        paths = [variable.path.split("/") for variable in model.weights]
        names = {".".join([*path[:-1], leaves[path[-1]]]) for path in paths}
        assert names == set(parameters(config, kind.architecture))
        prefix = "" if kind is TFRobertaModel else "roberta/"
        assert model.base_model.encoder.layer[1].output_.path == f"{prefix}encoder/layer/1/output"


def test_matrices_are_kept_turned(config):
    model = TFRobertaForMaskedLM(config, seed=None)
    given = {name: np.random.default_rng(0).random(shape.shape, np.float32) for name, shape in table(config)}
    assign(model, given.items())
    name = "roberta.encoder.layer.1.intermediate.dense.weight"
    np.testing.assert_array_equal(model.roberta.encoder.layer[1].intermediate.dense.kernel.numpy(), given[name].T)
    for name, value in tensors(model):
        np.testing.assert_array_equal(value, given[name], err_msg=name)


def table(config):
    return parameters(config, "ForMaskedLM").items()


def test_values_can_be_assigned_again_one_by_one(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    before = dict(tensors(model))
    changed = np.arange(12 * 12, dtype=np.float64).reshape(12, 12)
    assign(model, [("lm_head.dense.weight", changed)])
    for name, value in tensors(model):
        np.testing.assert_array_equal(value, changed if name == "lm_head.dense.weight" else before[name])


def test_first_values_do_not_stay_beside_the_trained_ones(fresh, config):
    model = fresh(TFRobertaForMaskedLM, config)
    for layer in model._flatten_layers():
        for name in ("kernel_initializer", "bias_initializer", "gamma_initializer", "embeddings_initializer"):
            assert isinstance(getattr(layer, name, None), keras.Initializer | str | None), layer.path


def test_a_tensor_without_a_value_is_named(config, weights):
    given = weights(config, "ForMaskedLM")
    del given["lm_head.dense.bias"]
    with pytest.raises(ValueError, match=r"TFRobertaForMaskedLM gets no value for lm_head\.dense\.bias"):
        assign(TFRobertaForMaskedLM(config, seed=None), given.items())


def test_a_model_without_values_is_built_by_keras(config, ids):
    model = TFRobertaModel(config, seed=None)
    assert not model.built
    model.build()
    assert [variable.path for variable in model.weights][:1] == ["embeddings/word_embeddings/embeddings"]
    assert np.isfinite(model(ids).last_hidden_state).all()


def test_values_are_read_only_where_it_costs_nothing():
    ids = tf.constant([1])
    assert isinstance(as_concrete(ids), np.ndarray)
    assert as_concrete(None) is None
    seen = []
    tf.function(lambda x: seen.append(as_concrete(x)) or x)(ids)
    assert not isinstance(seen[0], np.ndarray)
