import flax
import jax
import numpy as np
import pytest

from roberta_core import backend
from roberta_flax import FlaxRobertaForMaskedLM

pytestmark = pytest.mark.usefixtures("eager")


def test_a_model_runs_from_numpy_to_numpy(config, ids, weights):
    flax = backend.load("flax")
    given = weights(config, "ForMaskedLM")
    model = flax.from_tensors("ForMaskedLM", config, given)
    inputs = {"input_ids": ids, "attention_mask": ids != 1}
    output = flax.run(model, inputs, output_hidden_states=True, output_attentions=True)
    assert isinstance(output.logits, np.ndarray)
    assert [type(state) for state in output.hidden_states] == [np.ndarray] * 3
    np.testing.assert_allclose(output.logits, model(ids, attention_mask=ids != 1).logits, rtol=1e-4, atol=1e-5)
    for name, value in flax.tensors(model).items():
        np.testing.assert_array_equal(value, given[name])


def test_a_checkpoint_loads_through_the_backend(make, config, tmp_path):
    make(FlaxRobertaForMaskedLM, config).save_pretrained(tmp_path)
    found = backend.load("flax")
    assert type(found.from_pretrained("ForMaskedLM", tmp_path)) is FlaxRobertaForMaskedLM
    assert (found.name, found.title, found.version) == ("flax", "Flax", flax.__version__)


def test_an_array_becomes_one_of_jax():
    array = np.arange(6).reshape(2, 3)[:, ::-1]
    tensor = backend.load("flax").tensor(array)
    assert isinstance(tensor, jax.Array)
    np.testing.assert_array_equal(tensor, array)
