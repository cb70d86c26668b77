"""transformers: PyTorch, and TensorFlow and Flax if its version has them, eager and compiled."""

from importlib import import_module

import transformers

FRAMEWORKS = {"pt": ("torch", ""), "tf": ("tensorflow", "TF"), "flax": ("flax", "Flax")}


def version(name):
    """Return the version of the library."""
    return transformers.__version__


def import_libraries(name):
    """Import the framework and the class."""
    module, prefix = FRAMEWORKS[split_name(name)[0]]
    import_module(module)
    getattr(transformers, f"{prefix}RobertaModel")


def split_name(name):
    """Return the framework and the suffix, such as `jit`."""
    framework, _, way = name.removeprefix("transformers-").partition("-")
    return framework, way


def load(name, folder):
    """Load `pt`, `pt-bf16`, `tf`, `tf-function`, `tf-xla`, `flax` or `flax-jit`, prefixed by the library's name."""
    framework, way = split_name(name)
    return {"pt": load_pytorch, "tf": load_tensorflow, "flax": load_flax}[framework](folder, way)


def load_pytorch(folder, way):
    """Return the model in eval mode, without gradients."""
    import torch

    dtype = torch.bfloat16 if way == "bf16" else torch.float32
    model = transformers.RobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype=dtype).eval()

    def run(ids, mask):
        with torch.no_grad():
            return model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).last_hidden_state.float().numpy()

    return run


def load_tensorflow(folder, way):
    """Return the eager model, or the model inside a `tf.function`."""
    import tensorflow as tf

    model = transformers.TFRobertaModel.from_pretrained(folder, from_pt=True)

    def call(ids, mask):
        return model(ids, attention_mask=mask, training=False).last_hidden_state

    function = tf.function(call, jit_compile=way == "xla") if way else call
    return lambda ids, mask: function(*(tf.constant(array, tf.int32) for array in (ids, mask))).numpy()


def load_flax(folder, way):
    """Return the eager model, or its call inside `jax.jit`."""
    import jax
    import numpy as np

    model = transformers.FlaxRobertaModel.from_pretrained(folder, from_pt=True, add_pooling_layer=False)

    def call(params, ids, mask):
        return model(ids, attention_mask=mask, params=params).last_hidden_state

    function = jax.jit(call) if way else call
    return lambda ids, mask: np.asarray(function(model.params, ids.astype("i4"), mask.astype("i4")))
