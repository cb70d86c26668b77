import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_tf import TFRobertaForMaskedLM, TFRobertaModel
from roberta_tf.weights import tensors


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16", "float64"])
def test_variables_and_results_have_the_types_of_the_policy(make, config, ids, tmp_path, policy):
    make(TFRobertaModel, config).save_pretrained(tmp_path)
    model = TFRobertaModel.from_pretrained(tmp_path, dtype=policy)
    assert {variable.dtype for variable in model.weights} == {"float32" if "mixed" in policy else policy}
    assert model(ids).last_hidden_state.dtype.name == policy.removeprefix("mixed_")
    with pytest.raises(ValueError, match="float23"):
        TFRobertaModel.from_pretrained(tmp_path, dtype="float23")


def test_float64_is_computed_in_float64(make, fresh, config, ids):
    single = make(TFRobertaModel, config)(ids).last_hidden_state.numpy()
    double = fresh(TFRobertaModel, config, dtype="float64")(ids).last_hidden_state.numpy()
    again = fresh(TFRobertaModel, config, dtype="float64")(ids, attention_mask=np.ones_like(ids))
    assert 0 < abs(double - single).max() < 1e-5
    np.testing.assert_allclose(again.last_hidden_state, double, rtol=1e-13, atol=1e-13)


def test_settings_of_keras_can_be_changed_on_loading(make, config, tmp_path):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    model = TFRobertaForMaskedLM.from_pretrained(tmp_path, name="mine", trainable=False)
    assert (model.name, model.trainable_weights) == ("mine", [])


def test_a_frozen_body_is_not_counted(config):
    model = TFRobertaForMaskedLM(config)
    assert model.num_parameters() == model.count_params()
    model.roberta.trainable = False
    assert model.num_parameters(only_trainable=True) == 12 * 12 + 101 + 3 * 12


def test_keras_makes_a_model_of_its_configuration():
    config = RobertaConfig(vocab_size=11, hidden_size=6, num_attention_heads=2, num_hidden_layers=1)
    first = TFRobertaModel(config, seed=2, name="mine", add_pooling_layer=False)
    revived = TFRobertaModel.from_config(first.get_config())
    assert (revived.name, revived.config) == ("mine", config)
    for (name, value), (_, want) in zip(tensors(revived), tensors(first), strict=True):
        np.testing.assert_array_equal(value, want, err_msg=name)
