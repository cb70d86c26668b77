"""The adapter of sentence-transformers' packed path: all texts of a batch in one row, without padding.

The library packs texts only with FlashAttention, which requires a GPU. `attend_texts` takes the place of that kernel;
the packing, the position ids, the model and the call are the library's.

Shapes: B batch, S sequence, T tokens of all texts, N heads, H head, D hidden.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from roberta_core.checkpoints import resolve, save
from roberta_core.checkpoints.hub import CARRIED, read_inside
from roberta_core.config import RobertaConfig

KERNEL = "flash_attention_2"
TASKS = {"Model": "feature-extraction", "ForMaskedLM": "fill-mask"}  # those for which the library packs texts
ACCEPTED = {"input_ids", "attention_mask", "position_ids", "labels"}  # labels are ignored: the module has no loss


def attend_texts(query: Any, key: Any, value: Any, cu_seqlens_q: Any, softmax_scale: float, **others: Any) -> Any:
    """Return the attention [T, N, H] within each text, with the arguments of FlashAttention's function."""
    import torch

    if others.get("causal"):
        raise NotImplementedError("only bidirectional attention")
    parts = []
    for start, stop in pairwise(cu_seqlens_q):
        q, k, v = (array[start:stop].transpose(0, 1) for array in (query, key, value))  # [N, S, H]
        parts.append((torch.softmax(q @ k.transpose(1, 2) * softmax_scale, dim=-1) @ v).transpose(0, 1))
    return torch.cat(parts)


class PackedTexts:
    """The library's `Transformer` module on ids instead of texts."""

    name, title = "sentence-transformers", "packed texts"
    offers = ("last_hidden_state", "logits")  # the module returns one output
    skips_padding = True

    @property
    def version(self) -> str:
        """The library's version."""
        library: Any = import_module("sentence_transformers")

        return library.__version__

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """Build the module through a checkpoint, and let it use `attend_texts` as FlashAttention."""
        if architecture not in TASKS:
            raise NotImplementedError(f"the library packs no texts for {architecture}")
        if config.is_decoder:
            raise NotImplementedError("the module is an encoder")
        modules: Any = import_module("sentence_transformers.sentence_transformer.modules")
        flash: Any = import_module("transformers.modeling_flash_attention_utils")
        with patch.object(flash, "_lazy_imports", lambda *_, **__: (None, attend_texts, None, None, None)):
            flash.lazy_import_flash_attention(KERNEL)
        with TemporaryDirectory() as folder:
            save(folder, config, architecture, tensors, carried=read_inside(resolve("roberta-tiny"), CARRIED))
            module = modules.Transformer(folder, transformer_task=TASKS[architecture])
        module.model.config._attn_implementation_internal = KERNEL
        module.unpad_inputs = None  # makes the library decide again
        if not module.can_flatten_inputs:
            raise RuntimeError("the library does not pack texts")
        return architecture, config.pad_token_id + 1, module.eval()

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """Not supported: only cases are run."""
        raise NotImplementedError

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Not supported: only outputs are compared."""
        raise NotImplementedError

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """Pack the texts and return the output [B, S, D] as a stage, with zeros for padding."""
        import torch

        architecture, first, module = model
        if lacking := sorted(inputs.keys() - ACCEPTED):
            raise TypeError(f"the library does not accept {', '.join(lacking)}")
        numbers = number_texts(inputs, first)
        texts = [inputs["input_ids"][numbers == number].tolist() for number in range(1, int(numbers.max()) + 1)]
        with patch.object(module, "_call_processor", lambda *_, **__: {"input_ids": texts}), torch.no_grad():
            packed = module(module.preprocess(["text"] * len(texts)))[module.module_output_name][0].numpy()  # [T, D]
        output = np.zeros((*numbers.shape, packed.shape[-1]), packed.dtype)
        output[numbers > 0] = packed
        return {"last_hidden_state" if architecture == "Model" else "logits": output}


def number_texts(inputs: Mapping[str, np.ndarray], first: int) -> np.ndarray:
    """Return the number [B, S] of the text of each token, counted from 1 over all rows; padding has 0.

    Args:
        inputs: The inputs: one text per row, or several with position ids that restart and a mask [B, S, S].
        first: The position of a text's first token.

    Raises:
        NotImplementedError: If the inputs are not whole texts: packing has no masks and no other positions.
    """
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask", np.ones_like(ids)) != 0
    positions = inputs.get("position_ids")
    real = mask if mask.ndim == 2 else np.ones(ids.shape, bool)
    if positions is None:
        starts = real & ~np.pad(real, ((0, 0), (1, 0)))[:, :-1]
        if mask.ndim != 2 or (starts.sum(axis=1) > 1).any():
            raise NotImplementedError("a token inside a text cannot be masked")
    else:
        starts = positions == first
    numbers = np.cumsum(starts).reshape(ids.shape) * real
    if positions is not None and mask.ndim == 3:
        whole = np.array_equal(mask, numbers[:, :, None] == numbers[:, None])
        if not whole or not np.array_equal(positions, _count_within(starts) + first):
            raise NotImplementedError("only whole texts can be packed")
    elif positions is not None:
        raise NotImplementedError("texts are numbered from the first position")
    return numbers


def _count_within(starts: np.ndarray) -> np.ndarray:
    """Return how many tokens [B, S] of the same text come before each token."""
    at = np.broadcast_to(np.arange(starts.shape[1]), starts.shape)
    return at - np.maximum.accumulate(np.where(starts, at, 0), axis=1)
