"""A SavedModel in Python, in a session as TensorFlow Serving runs it, and in TFLite with built-in operations."""

import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import (
    TFRobertaForCausalLM,
    TFRobertaForMaskedLM,
    TFRobertaForMultipleChoice,
    TFRobertaForQuestionAnswering,
)


def run_signature(function, ids):
    ids = np.asarray(ids, np.int32)
    return function(input_ids=tf.constant(ids), attention_mask=tf.ones_like(ids), token_type_ids=tf.zeros_like(ids))


def differ(got, want):
    return np.abs(np.asarray(got) - np.asarray(want)).max() / np.abs(want).max()


def write_with_saved_model(model, folder):
    tf.saved_model.save(model, folder)


def write_with_export(model, folder):
    model.export(folder, verbose=False)


def run_in_session(folder, ids):
    """Run a signature as TensorFlow Serving does, which restores variables by their names."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return session.run(
            {name: tensor.name for name, tensor in signature.outputs.items()},
            {tensor.name: values[name] for name, tensor in signature.inputs.items()},
        )


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (TFRobertaForMaskedLM, write_with_export),
        (TFRobertaForCausalLM, write_with_export),  # its cache is not served
        (TFRobertaForQuestionAnswering, write_with_saved_model),
        (TFRobertaForMultipleChoice, write_with_saved_model),
    ],
)
def test_a_saved_model_gives_the_same_outputs_in_every_runtime(fresh, config, ids, tmp_path, kind, write):
    config.is_decoder, config.num_hidden_layers = kind is TFRobertaForCausalLM, 1
    ids = ids[None] if kind is TFRobertaForMultipleChoice else ids
    model, folder = fresh(kind, config), str(tmp_path / "model")
    want = {name: value for name, value in model(ids, attention_mask=np.ones_like(ids)).items() if "past" not in name}
    write(model, folder)
    content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    made = {
        "Python": run_signature(tf.saved_model.load(folder).signatures["serving_default"], ids),
        "a session": run_in_session(folder, ids),
        "TFLite": run_signature(tf.lite.Interpreter(model_content=content).get_signature_runner(), ids),
    }
    for runtime, got in made.items():
        assert got.keys() == want.keys(), runtime
        assert max(differ(got[name], want[name]) for name in want) < (1e-5 if runtime == "TFLite" else 2e-6), runtime
