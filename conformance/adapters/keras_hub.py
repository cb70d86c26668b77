"""The adapter of keras-hub's RoBERTa on TensorFlow: an encoder, a masked language model and a classifier."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX

NORMS = {"gamma": "weight", "beta": "bias"}
# Published module names by the paths of its variables: within a layer, then outside of layers.
LAYER = {
    "self_attention_layer/query": "attention.self.query",
    "self_attention_layer/key": "attention.self.key",
    "self_attention_layer/value": "attention.self.value",
    "self_attention_layer/attention_output": "attention.output.dense",
    "self_attention_layer_norm": "attention.output.LayerNorm",
    "feedforward_layer_norm": "output.LayerNorm",
    "feedforward_intermediate_dense": "intermediate.dense",
    "feedforward_output_dense": "output.dense",
}
HEADS = {
    "mlm_head/intermediate_dense": "lm_head.dense",
    "mlm_head/intermediate_layer_norm": "lm_head.layer_norm",
    "pooled_dense": "classifier.dense",
    "logits": "classifier.out_proj",
    "embeddings_layer_norm": "embeddings.LayerNorm",
}


class KerasHub:
    """The library's classes, built without a preprocessor."""

    name, title = "keras-hub", "TensorFlow"
    offers = ("last_hidden_state", "logits")  # the library returns no other stage

    @property
    def version(self) -> str:
        """The library's version."""
        keras_hub: Any = import_module("keras_hub")

        return keras_hub.__version__

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build a model of a class from tensors under their published names."""
        keras_hub: Any = import_module("keras_hub")

        if architecture not in ("Model", "ForMaskedLM", "ForSequenceClassification"):
            raise NotImplementedError(f"the library has no class {architecture}")
        for field, value in (("hidden_act", "gelu"), ("is_decoder", False), ("tie_word_embeddings", True)):
            if getattr(config, field) != value:
                raise NotImplementedError(f"the library supports only {field}={value!r}")
        model = keras_hub.models.RobertaBackbone(
            vocabulary_size=config.vocab_size,
            num_layers=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            hidden_dim=config.hidden_size,
            intermediate_dim=config.intermediate_size,
            max_sequence_length=config.max_sequence_length,
        )
        if architecture == "ForMaskedLM":
            model = keras_hub.models.RobertaMaskedLM(model, preprocessor=None)
        if architecture == "ForSequenceClassification":
            model = keras_hub.models.RobertaTextClassifier(
                model, num_classes=config.num_labels, hidden_dim=config.hidden_size, preprocessor=None
            )
        for variable in model.weights:
            value = _find_value(variable.path, tensors, config)
            variable.assign(value.reshape(variable.shape))
        return architecture, model

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Not supported: the library reads only its own checkpoint format."""
        raise NotImplementedError

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the outputs as stages."""
        architecture, network = model
        lacking = sorted(inputs.keys() - {"input_ids", "attention_mask", "labels"})
        if lacking:
            raise TypeError(f"the library does not accept {', '.join(lacking)}")
        ids = inputs["input_ids"]
        given = {"token_ids": ids, "padding_mask": inputs.get("attention_mask", np.ones_like(ids))}
        if architecture == "ForMaskedLM":
            given["mask_positions"] = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        output = network(given, training=False)
        return {"last_hidden_state" if architecture == "Model" else "logits": np.asarray(output)}


def _find_value(path: str, tensors: Mapping[str, np.ndarray], config: RobertaConfig) -> np.ndarray:
    """Return the value of a variable, found by its path, in the library's layout."""
    path, _, leaf = path.rpartition("/")
    if path == "embeddings/token_embedding":
        return _find_tensor(tensors, "embeddings.word_embeddings.weight")
    if path == "embeddings/position_embedding":  # no padding rows; the library has no token types, so type 0 is added
        types = _find_tensor(tensors, "embeddings.token_type_embeddings.weight")
        return _find_tensor(tensors, "embeddings.position_embeddings.weight")[config.pad_token_id + 1 :] + types[0]
    if path == "mlm_head" or leaf == "output_bias":
        return _find_tensor(tensors, "lm_head.bias")
    module = HEADS.get(path)
    if path.startswith("transformer_layer_"):
        number, _, part = path.removeprefix("transformer_layer_").partition("/")
        module = f"encoder.layer.{number}.{LAYER[part]}"
    value = _find_tensor(tensors, f"{module}.{NORMS.get(leaf, 'weight' if leaf == 'kernel' else leaf)}")
    return value.T if leaf == "kernel" else value


def _find_tensor(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return tensors[name] if name in tensors else tensors[BASE_PREFIX + name]
