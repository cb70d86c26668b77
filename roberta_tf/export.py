"""Export to a SavedModel and to TFLite."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from roberta_core.checkpoints.conversion import Opened
from roberta_core.exports import Exporter, Function, keep_pooler
from roberta_tf.backend import BACKEND

FOLDER, FILE = "saved_model", "model.tflite"


def write_saved_model(opened: Opened, folder: Path, dtype: str, ids: str) -> None:
    """Write a SavedModel with the signature `serving_default`."""
    model = BACKEND.from_tensors(opened.architecture, opened.config, opened.tensors, **keep_pooler(opened))
    tf.saved_model.save(model, str(folder / FOLDER))  # `model.export` stores each variable twice


def open_saved_model(folder: Path) -> Function:
    """Return the function of a SavedModel's signature."""
    loaded: Any = tf.saved_model.load(str(folder / FOLDER))
    run = _fill_token_types(loaded.signatures["serving_default"])
    run.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return run


def write_tflite(opened: Opened, folder: Path, dtype: str, ids: str) -> None:
    """Write a TFLite model of built-in operations, with the signature `serving_default`."""
    with tempfile.TemporaryDirectory() as temporary:
        write_saved_model(opened, Path(temporary), dtype, ids)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(temporary) / FOLDER))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        (folder / FILE).write_bytes(converter.convert())


def open_tflite(folder: Path) -> Function:
    """Return the function of a TFLite model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces that the interpreter will be a package of its own
        interpreter: Any = tf.lite.Interpreter(model_path=str(folder / FILE))
    return _fill_token_types(interpreter.get_signature_runner())


def _fill_token_types(signature: Any) -> Any:
    """Return the function of a signature with three int32 inputs; token types are 0 if they are not given."""

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        given = {"token_type_ids": np.zeros_like(inputs["input_ids"]), **inputs}
        found = signature(**{name: tf.constant(array, tf.int32) for name, array in given.items()})
        return {name: np.array(value) for name, value in found.items()}

    return run


SAVED_MODEL = Exporter("tf", FOLDER, write_saved_model, open_saved_model, ids=("int32",))
TFLITE = Exporter("tf", FILE, write_tflite, open_tflite, ids=("int32",))
