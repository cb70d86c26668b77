from importlib.metadata import version

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("quick")


def test_a_model_runs_from_numpy_to_numpy(framework, config, ids, weights):
    given = weights(config, "ForMaskedLM")
    model = framework.backend.from_tensors("ForMaskedLM", config, given)
    inputs = {"input_ids": ids, "attention_mask": ids != 1}
    output = framework.backend.run(model, inputs, output_hidden_states=True, output_attentions=True)
    assert isinstance(output.logits, np.ndarray)
    assert [type(state) for state in output.hidden_states] == [np.ndarray] * 3
    want = framework.call(model, ids, attention_mask=ids != 1).logits
    np.testing.assert_allclose(output.logits, want, rtol=1e-4, atol=1e-5)
    for name, value in framework.tensors(model).items():
        np.testing.assert_array_equal(value, given[name])


def test_a_checkpoint_loads_through_the_backend(framework, make, config, tmp_path):
    make("ForMaskedLM", config).save_pretrained(tmp_path)
    found = framework.backend
    assert type(found.from_pretrained("ForMaskedLM", tmp_path)) is framework.kind("ForMaskedLM")
    assert (found.name, found.title) == (framework.name, framework.TITLE)
    assert found.version.split("+")[0] == version(framework.DISTRIBUTION).split("+")[0]


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.arange(6)[::-1], np.arange(6)[::2], np.zeros((2, 0))])
def test_an_array_is_converted_to_a_tensor(framework, array):
    for given in (array, np.broadcast_to(array, array.shape)):  # which cannot be written to
        tensor = framework.backend.tensor(given)
        assert isinstance(tensor, framework.TENSOR)
        np.testing.assert_array_equal(np.asarray(tensor), given, strict=True)


def test_a_run_uses_no_dropout(framework, config, ids, weights):
    model = framework.backend.from_tensors("ForMaskedLM", config, weights(config, "ForMaskedLM"))
    first, second = (framework.backend.run(model, {"input_ids": ids}).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)
