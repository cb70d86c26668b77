"""Adapters of the published classes: transformers 4 in three frameworks, transformers 5 in PyTorch."""

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from roberta_core.checkpoints import save
from roberta_core.config import RobertaConfig
from roberta_core.parameters import aliases

from . import flatten, split_calls

CACHE = "past_key_values"


def _make_config(config: RobertaConfig) -> Any:
    transformers: Any = import_module("transformers")

    return transformers.RobertaConfig(**config.to_dict())


def _find_class(prefix: str, architecture: str) -> Any:
    transformers: Any = import_module("transformers")

    return getattr(transformers, f"{prefix}Roberta{architecture}")


def _unpack_cache(value: Any) -> Any:
    """Return a cache of any of the library's classes as one tuple per layer."""
    if hasattr(value, "self_attention_cache"):
        crosses = _unpack_cache(value.cross_attention_cache)
        own = _unpack_cache(value.self_attention_cache)
        return [pair + (crosses[at] if at < len(crosses) else ()) for at, pair in enumerate(own)]
    if hasattr(value, "layers"):
        return [(layer.keys, layer.values) for layer in value.layers if layer.keys is not None]
    return value


def _name_stages(output: Mapping[str, Any], to_numpy: Any) -> dict[str, np.ndarray]:
    fields = {name: _unpack_cache(value) if name == CACHE else value for name, value in output.items()}
    found = flatten({name: _map_to_numpy(value, to_numpy) for name, value in fields.items() if value is not None})
    return {name: value for name, value in found.items() if value.dtype != object}


def _map_to_numpy(value: Any, to_numpy: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_map_to_numpy(one, to_numpy) for one in value if one is not None]
    return to_numpy(value)


def _make_generation_arguments(ids: np.ndarray, new_tokens: int, beams: int) -> dict[str, int]:
    """Return the arguments of `generate` for a number of new tokens, each once per row: the frameworks share them."""
    length = ids.shape[1] + new_tokens
    return {"max_new_tokens": new_tokens, "min_length": length, "no_repeat_ngram_size": 1, "num_beams": beams}


class PyTorch:
    """The PyTorch classes; with `attentions`, the eager implementation."""

    name = "transformers-pt"

    @property
    def title(self) -> str:
        """The library and the framework."""
        return "PyTorch"

    @property
    def version(self) -> str:
        """The library's version."""
        transformers: Any = import_module("transformers")

        return transformers.__version__

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build two models of a class: one with the fused kernel, one that returns attentions."""
        import torch

        state = {name: torch.tensor(tensor) for name, tensor in tensors.items()}
        state |= {alias: state[name] for alias, name in aliases(config, architecture).items()}
        made = {}
        for attentions, kind in ((False, "sdpa"), (True, "eager")):
            model = _find_class("", architecture)._from_config(_make_config(config), attn_implementation=kind)
            model.load_state_dict(state)
            made[attentions] = model.eval()
        return made

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load the two models of a checkpoint."""
        kinds = ((False, "sdpa"), (True, "eager"))
        return {
            attentions: _find_class("", architecture).from_pretrained(source, attn_implementation=kind).eval()
            for attentions, kind in kinds
        }

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return a model's tensors under their published names."""
        return {name: value.detach().numpy() for name, value in model[True].named_parameters()}

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the outputs as stages."""
        import torch

        first, last = split_calls(inputs)
        given = {name: torch.tensor(value) for name, value in last.items() if name != CACHE}
        if CACHE in inputs:
            given[CACHE] = self._make_cache(model[attentions].config, torch.tensor(inputs[CACHE]))
        with torch.no_grad():
            if first is not None:
                ids = {name: torch.tensor(value) for name, value in first.items() if name != "use_cache"}
                given[CACHE] = model[attentions](**ids, use_cache=True)[CACHE]
            output = model[attentions](**given, output_hidden_states=True, output_attentions=attentions)
        return _name_stages(output, lambda value: value.numpy())

    def generate(self, model: Any, ids: np.ndarray, mask: np.ndarray, new_tokens: int, beams: int) -> np.ndarray:
        """Return the prompts and the generated tokens [B, S + new_tokens]."""
        import torch

        arguments = _make_generation_arguments(ids, new_tokens, beams)
        return model[False].generate(torch.tensor(ids), attention_mask=torch.tensor(mask), **arguments).numpy()

    def _make_cache(self, config: Any, layers: Any) -> Any:
        """Return a cache [L, 2 or 4, B, N, T, H] as an object of the library."""
        library: Any = import_module("transformers")

        def fill(pairs: Iterable[Any]) -> Any:
            cache = library.DynamicCache()
            for at, (key, value) in enumerate(pairs):
                cache.update(key, value, at)
            return cache

        own = fill(layer[:2] for layer in layers)
        if layers.shape[1] == 2:
            return own
        return library.EncoderDecoderCache(own, fill(layer[2:] for layer in layers))


class TensorFlow:
    """The TensorFlow classes of transformers 4."""

    name, title = "transformers-tf", "TensorFlow"
    prefix, format = "TF", "h5"
    ties_head = True  # even if tie_word_embeddings is False
    version = PyTorch.version

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build a model of a class, through a checkpoint in the framework's own format."""
        if self.ties_head and "lm_head.decoder.weight" in tensors:
            raise NotImplementedError("an untied head is not supported")
        with TemporaryDirectory() as folder:
            save(folder, config, architecture, tensors, format=self.format)
            return self.load(architecture, folder)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Load the model of a checkpoint."""
        return _find_class(self.prefix, architecture).from_pretrained(source)

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the outputs as stages."""
        import tensorflow as tf

        first, last = split_calls(inputs)
        given = tf.nest.map_structure(tf.convert_to_tensor, last)
        if first is not None:
            given[CACHE] = model(**first, training=False)[CACHE]
        ids = given.pop("input_ids", None)  # the library requires it as the first argument, even if None
        output = model(ids, **given, output_hidden_states=True, output_attentions=attentions, training=False)
        return _name_stages(output, lambda value: value.numpy())

    def generate(self, model: Any, ids: np.ndarray, mask: np.ndarray, new_tokens: int, beams: int) -> np.ndarray:
        """Return the prompts and the generated tokens [B, S + new_tokens]."""
        import tensorflow as tf

        arguments = _make_generation_arguments(ids, new_tokens, beams)
        return model.generate(tf.constant(ids), attention_mask=tf.constant(mask), **arguments).numpy()


class Flax:
    """The Flax classes of transformers 4."""

    name, title = "transformers-flax", "Flax"
    prefix, format = "Flax", "msgpack"
    ties_head = False
    version, build, load, tensors = PyTorch.version, TensorFlow.build, TensorFlow.load, TensorFlow.tensors

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Return the outputs as stages; the library has no loss and accepts caches only in its own format."""
        labels = ("labels", "start_positions", "end_positions")
        given = {name: value for name, value in inputs.items() if name not in labels}
        output = model(**given, output_hidden_states=True, output_attentions=attentions)
        return _name_stages(output, np.asarray)

    def generate(self, model: Any, ids: np.ndarray, mask: np.ndarray, new_tokens: int, beams: int) -> np.ndarray:
        """Return the prompts and the generated tokens [B, S + new_tokens]."""
        arguments = _make_generation_arguments(ids, new_tokens, beams)
        return np.asarray(model.generate(ids, attention_mask=mask, **arguments).sequences)
