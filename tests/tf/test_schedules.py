import keras
import numpy as np
import pytest

from roberta_tf import AdamWeightDecay, WarmUp, create_optimizer


def test_the_learning_rate_rises_and_falls():
    _, schedule = create_optimizer(0.1, num_train_steps=10, num_warmup_steps=4, min_lr_ratio=0.1)
    want = [0, 0.025, 0.05, 0.075, *(0.01 + 0.09 * (1 - step / 6) for step in range(7)), 0.01]
    np.testing.assert_allclose([float(schedule(step)) for step in range(12)], want, rtol=1e-6)
    assert type(create_optimizer(0.1, 10, 0)[1]) is keras.optimizers.schedules.PolynomialDecay
    with pytest.raises(ValueError, match="num_train_steps is 4 and num_warmup_steps 4"):
        create_optimizer(0.1, 4, 4)
    with pytest.raises(ValueError, match="warmup_steps is 0"):
        WarmUp(0.1, schedule, 0)


def test_only_matrices_decay_unless_a_name_is_included():
    for included, decays in (([], [True, False, False]), (["dense/bias"], [True, True, False])):
        optimizer, _ = create_optimizer(0.5, 10, 0, weight_decay_rate=0.1, include_in_weight_decay=included)
        with keras.name_scope("dense"):
            variables = [keras.Variable([2.0], name=name) for name in ("kernel", "bias")]
        with keras.name_scope("LayerNorm"):
            variables.append(keras.Variable([2.0], name="gamma"))
        optimizer.apply([np.zeros(1, np.float32)] * 3, variables)
        found = [float(variable.numpy()[0]) for variable in variables]
        np.testing.assert_allclose(found, [1.9 if one else 2.0 for one in decays], rtol=1e-6)
    assert type(create_optimizer(0.5, 10, 0)[0]) is keras.optimizers.Adam


def test_the_optimiser_comes_back_from_its_configuration():
    optimizer, _ = create_optimizer(0.1, 10, 4, weight_decay_rate=0.1, adam_global_clipnorm=1.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is AdamWeightDecay
    assert again.get_config() == optimizer.get_config()
    assert (again.weight_decay, again.global_clipnorm, again.excluded) == (0.1, 1.0, optimizer.excluded)


def test_exclusions_by_patterns_and_those_that_the_user_sets_are_kept():
    variables = [keras.Variable([2.0], name=name) for name in ("kernel", "bias")]
    optimizer = AdamWeightDecay(0.5, weight_decay_rate=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.apply([np.zeros(1, np.float32)] * 2, variables)
    np.testing.assert_allclose([float(one.numpy()[0]) for one in variables], [1.9, 2.0], rtol=1e-6)
    optimizer = AdamWeightDecay(0.5, weight_decay_rate=0.1, exclude_from_weight_decay=["^b.*s$"])
    optimizer.apply([np.zeros(1, np.float32)] * 2, variables)
    np.testing.assert_allclose([float(one.numpy()[0]) for one in variables], [1.805, 2.0], rtol=1e-6)
