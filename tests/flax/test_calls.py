import copy
from functools import wraps

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from roberta_flax import FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification, FlaxRobertaModel, calls


@pytest.fixture
def config(config):
    """One layer, for what is compiled here, and room for some lengths."""
    config.num_hidden_layers, config.max_position_embeddings = 1, 60
    return config


@pytest.fixture
def traces(monkeypatch):
    """How often the forward pass was traced: an entry with the shape of the ids for each compilation."""
    seen = []
    forward = FlaxRobertaForMaskedLM._forward

    @wraps(forward)
    def counted(self, input_ids=None, *args, **kwargs):
        seen.append(input_ids.shape)
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(FlaxRobertaForMaskedLM, "_forward", counted)
    return seen


@pytest.fixture
def fresh(config):
    """A configuration that no other test has compiled."""
    fresh.size = getattr(fresh, "size", 40) + 1
    config.intermediate_size = fresh.size
    return config


def close(got, want, rtol=1e-5, atol=1e-5):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def test_many_lengths_and_batches_compile_seldom(make, fresh, traces):
    model = make(FlaxRobertaForMaskedLM, fresh)
    for batch in (3, 4):
        for length in range(1, 34, 2):
            ids = np.full((batch, length), 5)
            for given in (ids, ids.astype(np.int32), ids.tolist()) if length == 1 else (ids,):
                assert model(given).logits.shape == (batch, length, 101)
            assert model(ids, attention_mask=ids > 0).logits.shape == (batch, length, 101)
    assert traces == [(4, 16), (4, 24), (4, 32), (4, 40)]


def test_a_copy_shares_what_was_compiled_but_not_values(make, fresh, traces, ids):
    model = make(FlaxRobertaForMaskedLM, fresh)
    before = model(ids).logits
    for copied in (copy.deepcopy(model), nnx.clone(model)):
        copied.lm_head.bias[...] += 1
        close(copied(ids).logits, before + 1)
        close(model(ids).logits, before, 0, 0)
    assert len(traces) == 1


def test_checkpoints_of_one_kind_share_what_was_compiled(make, fresh, traces, ids, tmp_path):
    model = make(FlaxRobertaForMaskedLM, fresh)
    for version in ("4.57.6", "5.23.0"):
        model.config.transformers_version = version
        model.lm_head.bias[...] += 1
        model.save_pretrained(tmp_path / version)
    load = FlaxRobertaForMaskedLM.from_pretrained
    one, other = (load(tmp_path / version)(ids).logits for version in ("4.57.6", "5.23.0"))
    close(other, one + 1)
    assert len(traces) == 1
    load(tmp_path / "5.23.0", output_hidden_states=True)(ids)
    assert len(traces) == 2


def test_a_change_is_seen(make, fresh, traces, ids):
    model = make(FlaxRobertaForMaskedLM, fresh)
    before = model(ids).logits
    model.lm_head.bias[...] += 1
    close(model(ids).logits, before + 1)
    assert len(traces) == 1
    model.config.output_hidden_states = True
    assert len(model(ids).hidden_states) == 2
    model.lm_head.dense = nnx.Linear(12, 12, rngs=nnx.Rngs(0))
    assert np.abs(model(ids).logits - before).max() > 1
    assert len(traces) == 3


def test_parameters_are_given_to_the_compiled_function_as_they_are(make, config, ids, monkeypatch):
    model, given, run = make(FlaxRobertaForMaskedLM, config), [], calls.run
    monkeypatch.setattr(calls, "run", lambda *arguments: given.append(arguments[4]) or run(*arguments))
    model(ids)
    model(ids)
    own = [id(leaf) for leaf in jax.tree.leaves(nnx.state(model))]
    assert [id(leaf) for leaf in given[0]] == [id(leaf) for leaf in given[1]]
    assert set(own) == {id(leaf) for leaf in given[0]}
    structure = jax.tree.structure(model)
    traced = jax.make_jaxpr(lambda leaves: run.__wrapped__(structure, "", (), False, leaves, {"input_ids": ids}, None))
    assert max((np.size(constant) for constant in traced(given[0]).consts), default=0) <= ids.size


def test_a_change_of_the_configuration_is_seen(make, config, ids):
    model = make(FlaxRobertaForSequenceClassification, config)
    labels = np.array([[1, 0], [1, 1]], np.float32)
    losses = []
    for problem in (None, "regression", None):
        model.config.problem_type = problem
        losses.append(float(model(ids, labels=labels).loss))
    assert losses[0] == losses[2] != losses[1]


def test_a_call_may_be_traced_before_it_is_made(make, fresh, ids):
    model = make(FlaxRobertaForMaskedLM, fresh)
    traced = jax.jit(lambda ids: model(ids).logits)(ids)
    close(model(ids).logits, traced)
    close(jax.jit(lambda ids: model(ids).logits)(ids + 0), traced)


def test_nothing_is_rounded_under_a_trace(make, fresh, traces, ids):
    model = make(FlaxRobertaForMaskedLM, fresh)
    jax.eval_shape(lambda ids: model(ids), ids)
    jax.eval_shape(lambda params: model(ids, params=params), model.params)
    assert set(traces) == {(2, 7)}


def test_parameters_may_be_given(make, config, weights, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    other = FlaxRobertaForMaskedLM(config, seed=1)
    want = other(ids).logits
    assert np.abs(model(ids).logits - want).max() > 1
    close(model(ids, params=other.params).logits, want, 0, 0)
    empty = FlaxRobertaForMaskedLM(config, _do_init=False)
    close(empty(ids, params=other.params).logits, want, 0, 0)
    close(jax.jit(lambda params: empty(ids, params=params).logits)(other.params), want)
    model.params = other.params
    close(model(ids).logits, want, 0, 0)


def test_a_model_without_values_asks_for_them(config, ids):
    model = FlaxRobertaForMaskedLM(config, _do_init=False)
    with pytest.raises(ValueError, match=r"_do_init=False.*call it with params="):
        model(ids)
    with pytest.raises(ValueError, match="_do_init=False"):
        model.params  # noqa: B018


def test_parameters_that_do_not_fit_are_refused(make, config, ids):
    model = make(FlaxRobertaForMaskedLM, config)
    params = model.params
    del params["lm_head"]["bias"]
    params["lm_head"]["dense"]["weight"] = params["lm_head"]["dense"].pop("kernel")
    sentence = r"missing \['lm_head.bias', 'lm_head.dense.kernel'\]; unknown \['lm_head.dense.weight'\]"
    with pytest.raises(ValueError, match=sentence):
        model(ids, params=params)
    with pytest.raises(ValueError, match=sentence):
        model.params = params


def test_a_call_can_be_mapped_over_models_and_over_inputs(make, config, ids):
    models = [FlaxRobertaModel(config, seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(model.params for model in models))
    both = jax.vmap(lambda params, row: models[0](row[None], params=params).pooler_output[0])(stacked, ids)
    close(both, np.concatenate([model(ids[row : row + 1]).pooler_output for row, model in enumerate(models)]))


@pytest.mark.usefixtures("lenient")
def test_the_functional_call_trains_with_optax(make, config, ids):
    config.attention_probs_dropout_prob = 0.0  # fewer random numbers, which XLA is slow to compile
    model = make(FlaxRobertaForSequenceClassification, config)
    before, labels, optimizer = model(ids).logits, np.array([1, 0]), optax.adamw(3e-2)

    @jax.jit
    def step(params, state, key):
        def loss(params):
            return model(ids, labels=labels, params=params, dropout_rng=key, train=True).loss

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    params, state = model.params, optimizer.init(model.params)
    losses = []
    for number in range(12):
        params, state, loss = step(params, state, jax.random.key(number, impl="rbg"))
        losses.append(float(loss))
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) / 2
    close(model(ids).logits, before, 0, 0)  # the model itself stays as it was


@pytest.mark.usefixtures("lenient")
def test_an_nnx_module_trains_with_an_nnx_optimizer(make, config, ids):
    model = make(FlaxRobertaForSequenceClassification, config)
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda model: model(ids, labels=np.array([1, 0])).loss)(model)
        optimizer.update(model, gradients)
        return loss

    first = step(model, optimizer)
    for _ in range(8):
        last = step(model, optimizer)
    assert last < first / 2
    assert model(ids, labels=np.array([1, 0])).loss < last


def test_old_keys_are_keys(config, ids):
    with jax.default_prng_impl("rbg"):  # XLA compiles the usual one for seconds
        model = FlaxRobertaModel(config)
        old = model(ids, train=True, dropout_rng=jax.random.PRNGKey(3)).pooler_output
        close(old, model(ids, train=True, dropout_rng=jax.random.key(3)).pooler_output, 0, 0)
        assert (old != model(ids, train=True, dropout_rng=jax.random.key(4)).pooler_output).any()


@pytest.mark.usefixtures("lenient")
def test_a_call_computes_in_float64_where_that_is_asked_for(config, ids):
    with jax.enable_x64(True):
        model = FlaxRobertaModel(config, dtype=jnp.float64)
        states = model(ids).last_hidden_state
    assert states.dtype == np.float64
    assert 0 < np.abs(np.asarray(states) - np.asarray(FlaxRobertaModel(config)(ids).last_hidden_state)).max() < 1e-5
