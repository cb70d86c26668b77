import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from roberta_flax import FlaxRobertaForMaskedLM, FlaxRobertaModel

pytestmark = pytest.mark.usefixtures("eager")


def key(seed=0):
    return jax.random.key(seed, impl="rbg")  # XLA takes seconds to compile the usual one


def close(got, want, rtol=2e-6):
    error = np.abs(np.asarray(got) - want).max() / np.abs(want).max()
    assert error <= rtol, f"error {error:.1e}"


def test_the_tied_pad_gets_its_gradient_from_being_scored(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    ids = np.pad(ids, ((0, 0), (0, 9)), constant_values=1)
    found = jax.grad(lambda params: model(ids, labels=ids, params=params).loss)(model.params)
    assert found["roberta"]["embeddings"]["word_embeddings"]["embedding"][1].any()
    assert not found["roberta"]["embeddings"]["position_embeddings"]["embedding"][1].any()


def test_a_key_without_training_drops_nothing(make, config, ids):
    model = make(FlaxRobertaModel, config)
    close(model(ids, dropout_rng=key()).last_hidden_state, model(ids).last_hidden_state, 0)


def test_each_dropout_draws_its_own_elements(make, config, ids):
    config.attention_probs_dropout_prob = 0.5
    model = make(FlaxRobertaModel, config)
    attentions = model(ids, train=True, dropout_rng=key(), output_attentions=True).attentions
    dropped = [np.asarray(weights == 0) for weights in attentions]
    assert 0.4 < dropped[0].mean() < 0.6
    heads = [*dropped[0].swapaxes(0, 1), *dropped[1].swapaxes(0, 1)]
    assert all((first != second).any() for number, first in enumerate(heads) for second in heads[:number])


def test_training_with_dropout_needs_a_key(make, config, ids):
    with pytest.raises(ValueError, match="train=True needs dropout_rng"):
        make(FlaxRobertaModel, config)(ids, train=True)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = make(FlaxRobertaModel, config)
    close(model(ids, train=True).last_hidden_state, model(ids).last_hidden_state, 0)


def test_what_nobody_could_check_becomes_nan(make, config, ids):
    model = make(FlaxRobertaModel, config)

    def states(name, value):
        arguments = {"input_ids": jnp.asarray(ids), "position_ids": jnp.asarray(ids % 19), "token_type_ids": ids * 0}
        arguments[name] = (
            arguments[name].at[0, 3].set(value) if name != "token_type_ids" else jnp.asarray(ids * 0 + value)
        )
        return model._forward(**arguments).last_hidden_state

    for name, limit in (("input_ids", 101), ("position_ids", 19), ("token_type_ids", 5)):
        assert jnp.isfinite(states(name, limit - 1)).all()
        for wrong in (limit, -1, -limit):
            assert jnp.isnan(states(name, wrong)[0]).all(), (name, wrong)


def test_the_configuration_is_not_copied(make, config):
    before = copy.deepcopy(config)
    model = make(FlaxRobertaModel, config)
    assert model.config is config
    assert config == before
