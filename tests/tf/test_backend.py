import numpy as np
import tensorflow as tf

from roberta_core import backend
from roberta_tf import TFRobertaForMaskedLM


def test_a_model_runs_from_numpy_to_numpy(config, ids, weights):
    backend_tf = backend.load("tf")
    given = weights(config, "ForMaskedLM")
    model = backend_tf.from_tensors("ForMaskedLM", config, given)
    inputs = {"input_ids": ids, "attention_mask": ids != 1}
    output = backend_tf.run(model, inputs, output_hidden_states=True, output_attentions=True)
    assert isinstance(output.logits, np.ndarray)
    assert [type(state) for state in output.hidden_states] == [np.ndarray] * 3
    np.testing.assert_allclose(output.logits, model(ids, attention_mask=ids != 1).logits, rtol=1e-4, atol=1e-5)
    for name, value in backend_tf.tensors(model).items():
        np.testing.assert_array_equal(value, given[name])


def test_a_checkpoint_loads_through_the_backend(make, config, tmp_path):
    make(TFRobertaForMaskedLM, config).save_pretrained(tmp_path)
    backend_tf = backend.load("tf")
    assert type(backend_tf.from_pretrained("ForMaskedLM", tmp_path)) is TFRobertaForMaskedLM
    assert (backend_tf.name, backend_tf.title, backend_tf.version) == ("tf", "TensorFlow", tf.__version__)


def test_an_array_becomes_a_tensor():
    array = np.arange(6).reshape(2, 3)[:, ::-1]
    tensor = backend.load("tf").tensor(array)
    assert tf.is_tensor(tensor)
    np.testing.assert_array_equal(tensor.numpy(), array, strict=True)


def test_a_run_uses_no_dropout(config, ids, weights):
    backend_tf = backend.load("tf")
    model = backend_tf.from_tensors("ForMaskedLM", config, weights(config, "ForMaskedLM"))
    first, second = (backend_tf.run(model, {"input_ids": ids}).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)
