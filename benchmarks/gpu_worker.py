"""Run one implementation on a device in a separate process: `python gpu_worker.py NAME FOLDER DEVICE PRECISION`.

It needs Python, NumPy and what the implementation needs. The answers are JSON lines on standard output: first the
version and the device; then, for each line of standard input, the outputs of a file of ids in another file, or the
seconds of timed calls. Inputs are moved to the device before a call is timed, and outputs stay there; one number is
read to wait for them.
"""

import json
import os
import sys
import time

import numpy as np

WARM = 3  # calls that are not timed: the first ones compile


def load_pt(folder, device, precision):
    """Return the version, the device, a function that moves an array there, and the model's function."""
    import torch

    from roberta_core.backend import load

    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    framework = load("pt").on(device)
    dtype = {"dtype": "bfloat16"} if precision == "bfloat16" else {}
    model = framework.from_pretrained("Model", folder, add_pooling_layer=False, **dtype)

    def run(ids, mask):
        with torch.inference_mode():
            return model(ids, attention_mask=mask).last_hidden_state.float()

    return framework.version, framework.device, lambda array: torch.from_numpy(array).to(framework.device), run


def load_tf(folder, device, precision):
    """As `load_pt`, in TensorFlow."""
    import tensorflow as tf

    from roberta_core.backend import load

    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    framework = load("tf").on(device)
    dtype = {"dtype": "mixed_bfloat16"} if precision == "bfloat16" else {}
    model = framework.from_pretrained("Model", folder, add_pooling_layer=False, **dtype)

    def run(ids, mask):
        with framework._scope():
            return model(ids, attention_mask=mask, training=False).last_hidden_state

    def move(array):
        with framework._scope():
            return tf.constant(array, tf.int32)

    return framework.version, framework.device, move, run


def load_flax(folder, device, precision):
    """As `load_pt`, in Flax."""
    import jax

    from roberta_core.backend import load

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "highest")
    framework = load("flax").on(device)
    dtype = {"dtype": "bfloat16"} if precision == "bfloat16" else {}
    model = framework.from_pretrained("Model", folder, add_pooling_layer=False, **dtype)

    def move(array):
        with framework._scope():
            return jax.numpy.asarray(array, "int32")

    def run(ids, mask):
        with framework._scope():
            return model(ids, attention_mask=mask).last_hidden_state

    return framework.version, framework.device, move, run


def load_transformers(folder, device, precision):
    """As `load_pt`, in transformers' PyTorch class."""
    import torch
    import transformers

    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    place = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model = transformers.RobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype=dtype).eval().to(place)

    def run(ids, mask):
        with torch.inference_mode():
            return model(ids, attention_mask=mask).last_hidden_state.float()

    return transformers.__version__, place, lambda array: torch.from_numpy(array).to(place), run


LOADERS = {"pt": load_pt, "tf": load_tf, "flax": load_flax, "transformers": load_transformers}


def to_numpy(states):
    """Return an array of any framework as float64."""
    return np.asarray(states.cpu() if hasattr(states, "cpu") else states, np.float32).astype(np.float64)


def time_calls(run, given, rounds):
    """Return the seconds of calls, each of which has ended when a number of its output is read."""
    seconds = []
    for number in range(WARM + rounds):
        begin = time.perf_counter()
        float(run(*given)[0, 0, 0])
        if number >= WARM:
            seconds.append(time.perf_counter() - begin)
    return seconds


def main(name, folder, device, precision):
    """Load, report, then answer every line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    version, place, move, run = LOADERS[name](folder, device, precision)
    print(json.dumps({"version": str(version), "device": str(place)}), file=answers)
    for line in sys.stdin:
        question = json.loads(line)
        ids = np.load(question["ids"])
        given = move(ids), move(np.ones_like(ids))
        if "save" in question:
            np.save(question["save"], to_numpy(run(*given)))
            print(json.dumps({"saved": question["save"]}), file=answers)
        else:
            print(json.dumps({"seconds": time_calls(run, given, question["rounds"])}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
