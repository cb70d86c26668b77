import subprocess
import sys

import numpy as np
import pytest
import torch

from roberta_core import backend
from roberta_pt import RobertaForMaskedLM


def test_a_model_runs_from_numpy_to_numpy(config, ids, weights):
    pt = backend.load("pt")
    given = weights(config, "ForMaskedLM")
    model = pt.from_tensors("ForMaskedLM", config, given)
    inputs = {"input_ids": ids.numpy(), "attention_mask": (ids != 1).numpy()}
    output = pt.run(model, inputs, output_hidden_states=True, output_attentions=True)
    assert isinstance(output.logits, np.ndarray)
    assert [type(state) for state in output.hidden_states] == [np.ndarray] * 3
    with torch.no_grad():
        want = model(ids, attention_mask=ids != 1).logits
    np.testing.assert_allclose(output.logits, want, rtol=1e-4, atol=1e-5)
    for name, value in pt.tensors(model).items():
        np.testing.assert_array_equal(value, given[name])


def test_a_checkpoint_loads_through_the_backend(make, config, tmp_path):
    make(RobertaForMaskedLM, config).save_pretrained(tmp_path)
    pt = backend.load("pt")
    assert type(pt.from_pretrained("ForMaskedLM", tmp_path)) is RobertaForMaskedLM
    assert (pt.name, pt.title, pt.version) == ("pt", "PyTorch", torch.__version__)


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.arange(6)[::-1], np.arange(6)[::2], np.zeros((2, 0))])
def test_an_array_becomes_a_tensor(array):
    for given in (array, np.broadcast_to(array, array.shape)):  # which cannot be written to
        tensor = backend.load("pt").tensor(given)
        assert torch.is_tensor(tensor)
        np.testing.assert_array_equal(tensor.numpy(), given, strict=True)


def test_a_run_uses_no_dropout_and_keeps_no_gradients(config, ids, weights):
    pt = backend.load("pt")
    model = pt.from_tensors("ForMaskedLM", config, weights(config, "ForMaskedLM")).train()
    first, second = (pt.run(model, {"input_ids": ids.numpy()}).logits for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_tensors_of_a_tokenizer_import_no_training_code():
    code = (
        "import sys; from roberta_core import RobertaTokenizerFast as Tokenizer\n"
        "Tokenizer.from_pretrained('roberta-tiny')('a', return_tensors='pt')\n"
        "print([name for name in sys.modules if name.startswith(('roberta_core.training', 'roberta_core.tasks'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
