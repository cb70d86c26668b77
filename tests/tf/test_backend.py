import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf

from roberta_core import backend
from roberta_core.cli.frameworks import UNUSED
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


INSTALLED = [name for name in UNUSED["tf"] if find_spec(name)]
LOADED = f"import sys; print([name for name in {INSTALLED} if name in sys.modules])"
COMMAND = """
from contextlib import suppress
from roberta_core.cli import frameworks, main
{change}
with suppress(SystemExit):
    main(["fill-mask", "Hello <mask>!", "--framework", "tf", "--json"])
"""


def printed_by(*lines):
    """What a new process prints."""
    code = "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not INSTALLED, reason="nothing that TensorFlow and Keras could do without is installed")
def test_the_command_loads_tensorflow_without_what_it_has_no_use_for():
    later = [f"import {name}" for name in INSTALLED]
    *answer, loaded, then = printed_by(COMMAND.format(change=""), LOADED, *later, LOADED).splitlines()
    assert (loaded, then) == ("[]", str(INSTALLED))
    whole = json.loads(printed_by(COMMAND.format(change="frameworks.UNUSED.clear()")))
    assert json.loads("\n".join(answer)) == whole


@pytest.mark.skipif(not INSTALLED, reason="nothing that TensorFlow and Keras could do without is installed")
def test_the_package_is_imported_with_all_that_keras_finds():
    assert printed_by("import roberta_tf", LOADED) == printed_by("import keras", LOADED) != "[]\n"
