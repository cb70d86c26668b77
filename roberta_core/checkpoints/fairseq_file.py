"""Reading fairseq's `model.pt` with its `dict.txt`, written by the releases of 2019 to 2022, without fairseq.

The names changed over the years (docs/checkpoints.md); the computation did not, except for models that normalise
before each block, which the published classes cannot represent.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import torch_file
from roberta_core.checkpoints.errors import CheckpointError, shorten
from roberta_core.checkpoints.mapped import Lazy, Tensors
from roberta_core.checkpoints.plain_pickle import Plain
from roberta_core.checkpoints.torch_file import Tensor, select_tensors
from roberta_core.config import RobertaConfig

FILE = "model.pt"
DICTIONARY = "dict.txt"
LABELS = "label.dict.txt"
SPECIALS = 4  # <s> <pad> </s> <unk>, not in dict.txt
MASK = 1  # <mask>, appended after it

BODY = "roberta."
# Below encoder. (since 2020) or decoder. (before).
MODULES = {
    "sentence_encoder.embed_tokens": f"{BODY}embeddings.word_embeddings",
    "sentence_encoder.embed_positions": f"{BODY}embeddings.position_embeddings",
    "sentence_encoder.segment_embeddings": f"{BODY}embeddings.token_type_embeddings",
    "sentence_encoder.emb_layer_norm": f"{BODY}embeddings.LayerNorm",
    "sentence_encoder.layernorm_embedding": f"{BODY}embeddings.LayerNorm",
    "lm_head": "lm_head.decoder",
    "lm_head.dense": "lm_head.dense",
    "lm_head.layer_norm": "lm_head.layer_norm",
}
LAYER = "sentence_encoder.layers."
LAYER_MODULES = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "layer_norms.0": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
    "layer_norms.1": "output.LayerNorm",
}
IN_PROJ = ("self_attn.in_proj_weight", "self_attn.in_proj_bias")  # query, key and value in one, before November 2019
# Copies (zeros or outdated) that 0.12 keeps for a fast path, and counters.
DROPPED = ("in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias", "fc1_weight", "fc1_bias",
           "fc2_weight", "fc2_bias", "version", "_float_tensor")  # fmt: skip
PRENORM = "sentence_encoder.layer_norm.weight"

# fairseq's names for activations, and the published ones: its gelu_accurate is the tanh form.
ACTIVATIONS = {"gelu": "gelu", "gelu_accurate": "gelu_new", "gelu_fast": "gelu_new", "relu": "relu", "tanh": "tanh"}


class _Names(dict[str, Any]):
    """Names that a training checkpoint may use besides tensors: objects of these packages, read as their fields."""

    packages = ("fairseq.", "omegaconf.", "argparse.Namespace")

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(self.packages))

    def __missing__(self, name: str) -> Any:
        return Plain


# Types that OmegaConf names without calling them.
BUILTINS = ("dict", "list", "tuple", "str", "unicode", "int", "long", "float", "bool")
NAMES = {"typing.Any": None, "collections.defaultdict": lambda *_: {},
         **{f"{module}.{name}": None for module in ("builtins", "__builtin__") for name in BUILTINS}}  # fmt: skip


@dataclass(frozen=True)
class Zeros:
    """The token type table, which fairseq's RoBERTa does not have: one row of zeros."""

    like: Tensor

    def array(self) -> np.ndarray:
        """Return the table [1, D]."""
        return np.zeros((1, self.like.shape[1]), self.like.storage.dtype)


def read(folder: str | os.PathLike[str]) -> Tensors:
    """Return the tensors of a folder's `model.pt` under the published names, mapped.

    Keys without a published name keep theirs; so do heads whose activation differs from the published one (gelu for
    language models, tanh for classification).

    Raises:
        CheckpointError: The file is broken, would run code, or its model normalises before each block.
    """
    state, settings = _open(Path(folder))
    return Tensors(_rename_tensors(state, settings))


def read_config(folder: str | os.PathLike[str]) -> RobertaConfig:
    """Return the configuration: sizes from the tensors, the rest from the settings of the training run.

    Raises:
        CheckpointError: It cannot be represented, or `dict.txt` does not match the word table.
    """
    folder = Path(folder)
    state, settings = _open(folder)
    names = _rename_tensors(state, settings)
    words, positions, types = (
        _shape(folder, names, f"{BODY}embeddings.{table}_embeddings.weight")
        for table in ("word", "position", "token_type")
    )
    activation = _setting(settings, "activation_fn", "gelu")
    heads = _setting(settings, "encoder_attention_heads", None)
    if not isinstance(activation, str) or activation not in ACTIVATIONS or not isinstance(heads, int):
        raise CheckpointError(f"{folder / FILE} does not state its attention heads, or has an unknown activation_fn")
    _check_dictionary(folder, words[0])
    fields: dict[str, Any] = {
        "vocab_size": words[0],
        "hidden_size": words[1],
        "num_hidden_layers": sum(name.endswith("intermediate.dense.bias") for name in names),
        "num_attention_heads": heads,
        "intermediate_size": _shape(folder, names, f"{BODY}encoder.layer.0.intermediate.dense.weight")[0],
        "max_position_embeddings": positions[0],
        "type_vocab_size": types[0],
        "hidden_act": ACTIVATIONS[activation],
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": _setting(settings, "dropout", 0.1),
        "attention_probs_dropout_prob": _setting(settings, "attention_dropout", 0.1),
        "classifier_dropout": _setting(settings, "pooler_dropout", 0.0),
        "tie_word_embeddings": not _setting(settings, "untie_weights_roberta", False),
    }
    fields |= _read_labels(folder, names, settings)
    try:
        return RobertaConfig(**fields)
    except (ValueError, TypeError) as error:  # numbers in its settings that no model can have
        raise CheckpointError(f"{folder / FILE} has invalid settings: {shorten(str(error))}") from None


def _open(folder: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return the state dict of a checkpoint and the settings of its model."""
    path = folder / FILE
    saved = torch_file.read(path, _Names(NAMES))
    if type(saved) is not dict or type(saved.get("model")) is not dict:
        raise CheckpointError(f"{path} is not a fairseq checkpoint: it has no model")
    whole = _fields(saved.get("cfg"))
    settings = _fields(saved.get("args")) or _fields(whole.get("model"))
    state = select_tensors(saved["model"])
    if any(name.endswith(PRENORM) for name in state):
        raise CheckpointError(f"{path} normalises before each block (roberta_prenorm), which is not supported")
    return state, settings


def _fields(value: Any) -> Mapping[str, Any]:
    """Return the settings in a Namespace, a dict, or OmegaConf's form of one."""
    for _ in range(3):  # a Namespace in a node in the content of a DictConfig
        if isinstance(value, Plain):
            value = value.fields
        if isinstance(value, dict):
            value = value.get("_content", value.get("_val", value))
    return value if isinstance(value, dict) else {}


def _setting(settings: Mapping[str, Any], name: str, default: Any) -> Any:
    value = settings.get(name, default)
    if isinstance(value, Plain) and isinstance(value.fields, dict):
        value = value.fields.get("_val", default)
    return default if value is None or isinstance(value, Plain) else value


def _rename_tensors(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Lazy]:
    """Return the tensors under published names."""
    heads = {name.split(".")[1] for name in state if name.startswith("classification_heads.")}
    foreign = () if _setting(settings, "activation_fn", "gelu") == "gelu" else ("lm_head.",)
    if _setting(settings, "pooler_activation_fn", "tanh") != "tanh":
        foreign = (*foreign, "classification_heads.")
    found: dict[str, Lazy] = {}
    for key, tensor in state.items():
        name = key.partition(".")[2] if key.startswith(("encoder.", "decoder.")) else key
        if name.startswith(LAYER) and name.endswith(IN_PROJ):
            found.update(_split_attention(name, tensor))
            continue
        if name.rpartition(".")[2] in DROPPED:
            continue
        new = None if name.startswith(foreign) else _find_published(name, heads)
        found[new or key] = tensor
    words = found.get(f"{BODY}embeddings.word_embeddings.weight")
    if isinstance(words, Tensor) and len(words.shape) == 2:
        found.setdefault(f"{BODY}embeddings.token_type_embeddings.weight", Zeros(words))
    return found


def _find_published(name: str, heads: set[str]) -> str | None:
    """Return the published name of a tensor, if it has one; of several classification heads none is the classifier."""
    module, _, leaf = name.rpartition(".")
    if name == "lm_head.bias":
        return name
    if name.startswith(LAYER):
        layer, _, module = module.removeprefix(LAYER).partition(".")
        module = LAYER_MODULES.get(module, "")
        return f"{BODY}encoder.layer.{layer}.{module}.{leaf}" if module else None
    if name.startswith("classification_heads.") and len(heads) == 1:
        return f"classifier.{module.split('.', 2)[-1]}.{leaf}"
    return f"{MODULES[module]}.{leaf}" if module in MODULES else None


def _split_attention(name: str, tensor: Tensor) -> dict[str, Lazy]:
    """Split a tensor into query, key and value, each a third of the rows."""
    layer = name.removeprefix(LAYER).partition(".")[0]
    leaf = name.rpartition("_")[2]
    rows = tensor.shape[0] // 3 if tensor.shape else 0
    if not rows or tensor.shape[0] != 3 * rows:
        raise CheckpointError(f"{shorten(name)} cannot be split into query, key and value")
    return {
        f"{BODY}encoder.layer.{layer}.attention.self.{part}.{leaf}": replace(
            tensor, offset=tensor.offset + index * rows * tensor.strides[0], shape=(rows, *tensor.shape[1:])
        )
        for index, part in enumerate(("query", "key", "value"))
    }


def _shape(folder: Path, names: Mapping[str, Lazy], name: str) -> tuple[int, ...]:
    if name not in names or len(names[name].array().shape) != 2:
        raise CheckpointError(f"{folder / FILE} is not a RoBERTa model of fairseq: it has no {name}")
    return names[name].array().shape


def _check_dictionary(folder: Path, rows: int) -> None:
    """Raise `CheckpointError` if there is a dict.txt whose number of entries differs from the word table."""
    path = folder / DICTIONARY
    if not path.is_file():
        return
    lines = sum(1 for line in path.read_bytes().splitlines() if line.strip())
    if SPECIALS + lines + MASK != rows:
        raise CheckpointError(
            f"{path} has {lines} lines; with {SPECIALS} special tokens and <mask> that is {SPECIALS + lines + MASK} "
            f"tokens, but the word table has {rows} rows: dict.txt belongs to another model"
        )


def _read_labels(folder: Path, names: Mapping[str, Lazy], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels if there is one classification head: one for each row, named by label.dict.txt."""
    head = names.get("classifier.out_proj.weight")
    if head is None:
        return {}
    count = head.array().shape[0]
    fields: dict[str, Any] = {"num_labels": count}
    if _setting(settings, "regression_target", False):
        fields["problem_type"] = "regression"
    path = folder / LABELS
    if path.is_file():
        labels = [line.split()[0].decode() for line in path.read_bytes().splitlines() if line.split()][:count]
        if len(labels) == count and not all(label.isdigit() for label in labels):
            fields = {**fields, "id2label": dict(enumerate(labels))}
    return fields
