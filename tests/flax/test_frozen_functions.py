import jax
import numpy as np
import pytest

from roberta_flax import FlaxRobertaModel, calls, frozen


@pytest.fixture
def config(config):
    config.num_hidden_layers, config.max_position_embeddings = 1, 300
    return config


def test_long_texts_and_few_rows_have_the_results_of_the_model(make, config, ids):
    model = make(FlaxRobertaModel, config)
    view = model.frozen()
    long = np.random.default_rng(0).integers(2, 101, (2, 257))
    mask = np.ones_like(long)
    mask[0, 250:], mask[1] = 0, 0  # the second is fully masked
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "_has_avx512", lambda: True)
        find = frozen._find_function
        patch.setattr(frozen, "_find_function", lambda few: seen.append(few) or find(few))
        for given in ((long, mask), (ids[:1], None)):
            got, want = view(*given).last_hidden_state, model(*given).last_hidden_state
            assert np.abs(got - want).max() <= 5e-6 * np.abs(want).max()
        other = long[:, :20]  # neither long nor few rows: the model's own function is as fast
        np.testing.assert_array_equal(view(other).last_hidden_state, model(other).last_hidden_state)
    assert seen == [False, True]
    assert calls.replacement.get() is None


@pytest.mark.parametrize(("flags", "found"), [("flags: avx2 avx512f", True), ("flags: avx2", False), (None, False)])
def test_avx512_is_read_from_the_system(tmp_path, monkeypatch, flags, found):
    monkeypatch.setattr(frozen, "CPU", tmp_path / "cpuinfo")
    if flags is not None:
        frozen.CPU.write_text(flags)
    assert frozen._has_avx512.__wrapped__() is found


def test_a_wrong_attention_is_refused_with_the_figure(make, config, monkeypatch):
    attend = frozen.attend
    monkeypatch.setattr(frozen, "attend", lambda *parts: (attend(*parts)[0] * 1.001, None))
    frozen._measure_error.cache_clear()
    with pytest.raises(ValueError, match=r"differs from the ordinary one by \d\.\de-0[34] .* the limit is 1e-05"):
        make(FlaxRobertaModel, config).frozen()
    frozen._measure_error.cache_clear()


def test_transformed_calls_and_training_go_to_the_model(make, config, ids):
    model = make(FlaxRobertaModel, config)
    view = model.frozen()
    traced = "plain: the call is traced"
    assert view.path != traced

    def paths(*given, **options):
        """Trace a call, which compiles nothing, and return how it was computed."""
        jax.eval_shape(lambda *given: view(*given, **options).last_hidden_state, *given)
        return view.path

    assert paths(ids) == traced
    jax.eval_shape(jax.grad(lambda params: view(ids, params=params).last_hidden_state.sum()), model.params)
    assert view.path == traced
    assert paths(ids, train=True, dropout_rng=jax.random.key(0)) == "plain: the call has train"
    model.gradient_checkpointing_enable()
    assert paths(ids) == "plain: gradient checkpointing is on"
