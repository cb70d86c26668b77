"""A model as a SavedModel, and an exported one in TFLite, whose built-in operations are enough."""

import numpy as np
import pytest
import tensorflow as tf

from roberta_tf import TFRobertaForMaskedLM, TFRobertaForQuestionAnswering


def run_signature(function, ids):
    ids = np.asarray(ids, np.int32)
    return function(input_ids=tf.constant(ids), attention_mask=tf.ones_like(ids), token_type_ids=tf.zeros_like(ids))


def differ(got, want):
    return np.abs(np.asarray(got) - np.asarray(want)).max() / np.abs(want).max()


@pytest.mark.parametrize("kind", [TFRobertaForMaskedLM, TFRobertaForQuestionAnswering])
def test_an_exported_model_is_converted_to_tflite(fresh, config, ids, tmp_path, kind):
    model = fresh(kind, config)
    want = model(ids, attention_mask=np.ones_like(ids))
    model.export(tmp_path / "model", verbose=False)
    served = run_signature(tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"], ids)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model")).convert()
    converted = run_signature(tf.lite.Interpreter(model_content=content).get_signature_runner(), ids)
    assert served.keys() == converted.keys() == want.keys()
    for name in want:
        assert differ(served[name], want[name]) < 2e-6
        assert differ(converted[name], want[name]) < 1e-5


def test_a_saved_model_has_a_signature(fresh, config, ids, tmp_path):
    model = fresh(TFRobertaForQuestionAnswering, config)
    want = model(ids, attention_mask=np.ones_like(ids))
    tf.saved_model.save(model, str(tmp_path / "model"))
    served = run_signature(tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"], ids)
    assert served.keys() == {"start_logits", "end_logits"}
    assert all(differ(served[name], want[name]) < 2e-6 for name in served)
