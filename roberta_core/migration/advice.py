"""What a script has to change by hand: one sentence for each name, attribute and argument that is not replaced."""

from roberta_core.checkpoints.load_options import UNSUPPORTED

GONE = "transformers 5 removed it"

# Names of transformers that stay imported -> what to do. Other names that stay need no change.
NAMES = {
    "set_seed": (
        "it does not change the initial values of new weights here: pass seed= to from_pretrained or to the class"
    ),
    "create_optimizer": f"{GONE}: use that of roberta_tf",
    "AdamWeightDecay": f"{GONE}: use that of roberta_tf",
    "GradientAccumulator": f"{GONE}: pass gradient_accumulation_steps to a Keras optimizer",
    "WarmUp": f"{GONE}: use that of roberta_tf",
    "KerasMetricCallback": f"{GONE}: use the metrics of model.compile, or a keras.callbacks.Callback",
    "PushToHubCallback": f"{GONE}: call model.push_to_hub(...) after training",
    "TFTrainer": f"{GONE}: use model.compile and model.fit",
    "TFTrainingArguments": f"{GONE}: use TrainingArguments, or arguments of your own",
    "DynamicCache": "past_key_values of models are tuples; building blocks also accept that of roberta_pt",
    "EncoderDecoderCache": "past_key_values of models are tuples; building blocks also accept that of roberta_pt",
    "GenerationConfig": "generate accepts one if it sets only options that generate has; roberta_core has its own",
    "ModelOutput": "outputs here are roberta_core.outputs.ModelOutput: replace it where isinstance tests them",
    "BitsAndBytesConfig": UNSUPPORTED["quantization_config"],
    "TF_WEIGHTS_NAME": f'{GONE}: the name of a file, "model.ckpt"',
    "TF2_WEIGHTS_NAME": f'{GONE}: the name of a file, "tf_model.h5", which safe_serialization=False writes',
    "FLAX_WEIGHTS_NAME": f'{GONE}: the name of a file, "flax_model.msgpack", which safe_serialization=False writes',
    "CONFIG_MAPPING": "construct roberta_core.RobertaConfig instead",
    "TOKENIZER_MAPPING": "use the tokenizer classes of roberta_core instead",
}

# Attributes of a model, by framework -> what to do.
ATTRIBUTES = {
    "roberta_tf": {
        "load_repo_checkpoint": "not available: resume with keras.callbacks.BackupAndRestore",
    },
    "roberta_flax": {},
    "roberta_pt": {},
}
# Qualified names of other libraries that current versions lack -> what to do.
LIBRARIES = {
    "sentence_transformers": (
        'it loads with transformers; roberta_core.pipeline("sentence-embedding", model=...) reads the same folders'
    ),
    "tf_keras": "Keras 2 does not accept these models: use `import keras`, or tf.keras of TensorFlow 2.16 or newer",
    "tensorflow.keras.optimizers.legacy": "Keras 3 has none: use keras.optimizers",
    "tensorflow.keras.optimizers.experimental": "Keras 3 has none: use keras.optimizers",
    "tensorflow.keras.mixed_precision.experimental": "Keras 3 has none: use keras.mixed_precision",
    "tensorflow.keras.layers.experimental": "Keras 3 has none: use keras.layers",
    "tensorflow.keras.utils.experimental": "Keras 3 has none: use keras.utils",
    "tensorflow.keras.experimental": "Keras 3 has none",
    "jax.tree_map": "current JAX lacks it: use jax.tree.map",
    "jax.tree_multimap": "current JAX lacks it: use jax.tree.map",
    "jax.tree_leaves": "current JAX lacks it: use jax.tree.leaves",
    "jax.tree_flatten": "current JAX lacks it: use jax.tree.flatten",
    "jax.tree_unflatten": "current JAX lacks it: use jax.tree.unflatten",
    "jax.device_put_replicated": "deprecated in JAX: use jax.device_put",
    "jax.random.KeyArray": "current JAX lacks it: use jax.Array",
    "jax.numpy.DeviceArray": "current JAX lacks it: use jax.Array",
    "jax.ShapedArray": "current JAX lacks it: use jax.core.ShapedArray",
    "jax.linear_util": "current JAX lacks it",
    "jax.config.config": "current JAX lacks this module: use jax.config",
    "jax.experimental.maps": "current JAX lacks it: use jax.sharding",
    "jax.experimental.optimizers": "current JAX lacks it: use optax",
    "jax.lib.xla_bridge": "current JAX lacks it: use jax.extend.backend",
    "flax.optim": "current Flax lacks it: use optax",
}
# Arguments of Keras optimizers that Keras 3 lacks.
OPTIMIZER_ARGUMENTS = {
    "lr": "Keras 3 lacks it: use learning_rate",
    "decay": "Keras 3 ignores it: pass a schedule as learning_rate",
}
LEGACY_KERAS = "TF_USE_LEGACY_KERAS"


def advise_on_name(name: str) -> str | None:
    """Return what to do about a name of transformers that stays imported, None if nothing."""
    if name in NAMES:
        return NAMES[name]
    if name.startswith(("TF_", "FLAX_")):
        return f"{GONE}: it lists model classes, here only RoBERTa's: name the classes yourself"
    if name.startswith(("TF", "Flax")):
        return f"{GONE}, and these packages have no replacement: it needs transformers 4.57.6"
    return None
