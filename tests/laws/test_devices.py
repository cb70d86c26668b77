"""Models, inputs and training states are placed on the device of their backend."""

import subprocess
import sys

import numpy as np
import pytest

from roberta_core import backend
from roberta_core.backend import BackendError

# Configures two CPU devices; with the name of the second.
SETUPS = {
    "tf": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
def place(array): return array.device
""",
    "flax": """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"
def place(array): return str(array.devices())
""",
}
PROGRAM = """
import numpy as np
from roberta_core import RobertaConfig, backend
from roberta_core.parameters import draw
from roberta_core.training.recipe import Recipe

config = RobertaConfig(vocab_size=101, hidden_size=12, num_hidden_layers=1, num_attention_heads=3,
                       intermediate_size=20, max_position_embeddings=19)
one, other = backend.load("{name}"), backend.load("{name}", "cpu:1")
given = dict(draw(config, "ForMaskedLM"))
ids = np.arange(14).reshape(2, 7) + 4
batch = dict(input_ids=ids, attention_mask=np.ones_like(ids), labels=ids)
want = one.run(one.from_tensors("ForMaskedLM", config, given), dict(input_ids=ids)).logits
model = other.from_tensors("ForMaskedLM", config, given)
got = other.run(model, dict(input_ids=ids)).logits
assert type(got) is np.ndarray
np.testing.assert_array_equal(want, got)
trainer = other.trainer(model, Recipe())
trainer.step([batch], 1e-3)
trainer.load_state(trainer.state())
found = [place(trainer.step([batch], 1e-3)["loss"]), *places(model, trainer)]
assert not [where for where in found if not where.endswith("{second}")], found
"""
PLACES = {
    "tf": """
def places(model, trainer):
    from roberta_tf.weights import variables
    values = [*dict(variables(model)).values(), *trainer.optimizer.first.values(), *trainer.optimizer.second.values()]
    return [place(variable if hasattr(variable, "device") else variable.value) for variable in values]
""",
    "flax": """
def places(model, trainer):
    import jax
    state = trainer.params, trainer.moments, jax.random.key_data(trainer.key)
    return [place(leaf) for leaf in jax.tree.leaves(state)]
""",
}
ENDS = {"tf": "CPU:1", "flax": "id=1)}"}


@pytest.mark.usefixtures("quick")
def test_a_backend_on_the_cpu_gives_the_same_result(framework, config, ids, weights):
    given = weights(config, "ForMaskedLM")
    here, there = framework.backend, framework.backend.on("cpu")
    assert (here.device, there.device) == ("", "cpu")
    one, other = (chosen.from_tensors("ForMaskedLM", config, given) for chosen in (here, there))
    for inputs in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": ids != 1}):
        want, got = here.run(one, inputs).logits, there.run(other, inputs).logits
        np.testing.assert_array_equal(got, want)


def test_auto_selects_a_device_of_the_framework(framework):
    assert framework.backend.on("auto").device


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "abacus"])
def test_a_device_that_is_missing_is_refused_by_name(framework, device):
    with pytest.raises(BackendError, match=f"there is no device {device!r} here: {framework.TITLE} sees only .*cpu"):
        framework.backend.on(device)


@pytest.mark.parametrize("name", [name for name in SETUPS if name in backend.available()])
def test_everything_is_on_the_second_device_on_request(name):
    # PyTorch has no second CPU device: see tests/pt/test_devices.py.
    program = SETUPS[name] + PLACES[name]
    program += PROGRAM.replace("{name}", name).replace("{second}", ENDS[name])
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-3000:]
