import os
import subprocess
import sys

import pytest
import tensorflow as tf

from roberta_tf import TFRobertaModel, frozen


@pytest.fixture
def model(fresh, config, monkeypatch):
    monkeypatch.setattr(frozen, "find_fusion_obstacle", lambda: None)
    return fresh(TFRobertaModel, config)


def test_a_wrong_layer_is_refused_with_the_figure(model, monkeypatch):
    monkeypatch.setattr(frozen, "_run_layer", lambda layer, hidden, mask: layer(hidden, mask)[0] * 1.001)
    with pytest.raises(ValueError, match=r"differs from the ordinary one by 1\.0e-03 .* the limit is 1e-05"):
        model.frozen()


def test_calls_that_are_recorded_or_traced_go_to_the_model(model, ids, monkeypatch):
    monkeypatch.setattr(frozen, "_run_layer", lambda layer, hidden, mask: layer(hidden, mask)[0])
    view = model.frozen()
    assert view.path == "oneDNN fused"
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(view(ids).last_hidden_state)
    assert view.path == "plain: a GradientTape records"
    query = model.encoder.layer[0].attention.self.query
    assert tape.gradient(total, query.kernel.value) is not None
    tf.function(lambda: view(tf.constant(ids)).last_hidden_state, autograph=False).get_concrete_function()
    assert view.path == "plain: the call is traced"
    view(ids, training=True)
    assert view.path == "plain: the call has training"
    query.enable_lora(2)
    view(ids)
    assert view.path == "plain: a layer of the encoder was changed: call refresh()"
    view.refresh()
    assert "has an adapter" in view.path


SCRIPT = """
import importlib.util, sys
import numpy as np
from roberta_core import RobertaConfig
from roberta_tf import TFRobertaForMaskedLM, frozen
from roberta_tf.weights import assign
spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
config = RobertaConfig(
    vocab_size=101, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=19, layer_norm_eps=1e-5,
)
model = TFRobertaForMaskedLM(config, seed=None)
assign(model, tests.large_weights(config, "ForMaskedLM").items())
view = model.frozen()
ids = np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])
for doubled in (False, True):
    got, want = (one(ids, attention_mask=ids != 1).logits.numpy() for one in (view, model))
    assert view.path == "oneDNN fused", view.path
    assert np.abs(got - want).max() <= 5e-5 * np.abs(want).max(), np.abs(got - want).max()
    bias = model.roberta.encoder.layer[1].attention.self.query.bias
    bias.assign(2 * bias)
frozen.op_def_library.apply_op = lambda kind, **given: given["x" if kind == "_MklLayerNorm" else "a"]
try:
    model.frozen()
except ValueError as error:
    print(error)
"""


def test_the_fused_operations_give_the_results_of_the_model():
    """In a process of its own: TensorFlow uses oneDNN by default only on some CPUs."""
    tests = os.path.join(os.path.dirname(os.path.dirname(__file__)), "conftest.py")
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, tests],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "differs from the ordinary one" in found.stdout, found.stdout
