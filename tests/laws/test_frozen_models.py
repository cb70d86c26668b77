"""`frozen()` means the same in every framework: the model's results, and the model itself where it must be called."""

import copy

import numpy as np
import pytest

from roberta_core.config import RobertaConfig

LIMIT = 5e-5  # of the largest value: a head with large weights amplifies the rounding of hidden states (2e-6)
ARCHITECTURES = ("ForMaskedLM", "ForMultipleChoice")

pytestmark = pytest.mark.usefixtures("quick")


def check(framework, view, model, *args, **kwargs):
    """Compare every output of a view with those of its model."""
    got, want = framework.call(view, *args, **kwargs), framework.call(model, *args, **kwargs)
    assert list(got) == list(want)
    for one, other in zip(framework.leaves(got)[0], framework.leaves(want)[0], strict=True):
        one, other = framework.numpy(one), framework.numpy(other)
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= LIMIT * np.abs(other).max()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_frozen_model_returns_what_its_model_returns(framework, config, ids, weights, architecture):
    config.num_hidden_layers = 1
    model = framework.fresh(architecture, config, weights(config, architecture))
    given = ids[None] if architecture == "ForMultipleChoice" else ids
    view = model.frozen()
    check(framework, view, model, given, attention_mask=given != 1)
    check(framework, view, model, given, output_hidden_states=True)
    assert view.config is model.config
    copied = copy.deepcopy(view)
    assert copied.model is not model
    check(framework, copied, model, given, attention_mask=given != 1)


def test_the_logits_of_some_tokens_are_those_of_all(framework, config, ids, weights):
    config.num_hidden_layers = 1
    model = framework.fresh("ForMaskedLM", config, weights(config, "ForMaskedLM"))
    view, positions, rows = model.frozen(), np.array([[1, 4, 0], [3, 0, 2]]), np.arange(2)[:, None]
    for more in ({}, {"attention_mask": (ids != 1).astype(np.int64)}, {"output_attentions": True}):
        want = framework.numpy(framework.call(model, ids, **more).logits)[rows, positions]
        got = framework.numpy(framework.call(view, ids, positions=positions, **more).logits)
        assert got.shape == want.shape == (2, 3, config.vocab_size)
        assert np.abs(got - want).max() <= LIMIT * np.abs(want).max()
    wrong = ([[-1], [0]], [1, 2], [[0.5], [1.0]], [[1]], [[1], [7]], [[0] * 8] * 2)
    for table in map(np.array, wrong):
        with pytest.raises(ValueError, match=r"positions must be integers from 0 to 6 of shape \[2, K\]"):
            framework.call(view, ids, positions=table)
    with pytest.raises(ValueError, match="the loss needs the logits of all tokens"):
        framework.call(view, ids, labels=ids, positions=positions)
    with pytest.raises(TypeError, match="has no logits for each word"):
        framework.call(framework.fresh("Model", config, weights(config, "Model")).frozen(), ids, positions=positions)


def test_changed_weights_are_in_the_results(framework, config, ids, weights):
    model = framework.fresh("Model", config, weights(config, "Model"))
    view = model.frozen()
    before = framework.numpy(framework.call(view, ids).last_hidden_state)
    for name in ("encoder.layer.1.attention.self.query.weight", "encoder.layer.0.output.LayerNorm.bias"):
        framework.change(model, name, lambda value: 2 * value)
        check(framework, view, model, ids)
    assert np.abs(framework.numpy(framework.call(view, ids).last_hidden_state) - before).max() > 1e-2
    view.refresh()
    check(framework, view, model, ids)


def test_calls_and_models_that_are_not_served_go_to_the_model(framework, config, ids, weights):
    model = framework.fresh("Model", config, weights(config, "Model"))
    view = model.frozen()
    unsupported = framework.backend.describe_runtime()  # where this CPU has only the plain path
    for name, value in (("output_attentions", True), ("head_mask", np.float32([1, 0, 1]))):
        check(framework, view, model, ids, **{name: value})
        assert view.path == f"plain: the call has {name}" or view.path == unsupported
    decoder = RobertaConfig.from_dict({**config.to_dict(), "is_decoder": True})
    model = framework.fresh("Model", decoder, weights(decoder, "Model"))
    view = model.frozen()
    check(framework, view, model, ids)
    assert view.path in ("plain: the model is a decoder", unsupported)
    half = framework.half("Model", config, weights(config, "Model"), "bfloat16").frozen()
    assert "bfloat16" in half.path or half.path == unsupported
