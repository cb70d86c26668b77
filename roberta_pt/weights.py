"""Tensors in and out of a PyTorch model by their published names, which are its own."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor, nn

from roberta_core.parameters import LEAVES, Kind, Parameter
from roberta_pt.layers import Embedding, Linear

# Second names of a tied model's tensors: omitted from a state dict on save, filled in on load.
TIED = {
    "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
KINDS = {nn.Linear: Kind.LINEAR, nn.LayerNorm: Kind.NORM, nn.Embedding: Kind.EMBEDDING}
SIZES: dict[type, tuple[str, str]] = {
    Linear: ("out_features", "in_features"),
    Embedding: ("num_embeddings", "embedding_dim"),
}
OLD_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # in the state dicts of 3.1 to 4.30


def assign(model: nn.Module, tensors: Iterable[tuple[str, np.ndarray]], dtype: torch.dtype | None = None) -> None:
    """Make NumPy arrays the parameters of a model, without a copy where the type stays; `model` may be on meta."""
    for name, array in tensors:
        path, _, leaf = name.rpartition(".")
        value = from_numpy(array)
        module: Any = model.get_submodule(path)
        old = getattr(module, leaf)
        device = None if old.device.type == "meta" else old.device
        kind = dtype if value.is_floating_point() else old.dtype
        if leaf in module._buffers:
            module._buffers[leaf] = value.to(device, kind)
            continue
        module.register_parameter(leaf, nn.Parameter(value.to(device, kind), requires_grad=old.requires_grad))
        for size, number in zip(SIZES.get(type(module), ()), value.shape, strict=False):
            setattr(module, size, number)  # what the layer says of itself, after its size has changed


def tensors(model: nn.Module, own: Collection[str] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters of a model as NumPy arrays, on the CPU sharing its memory; and the buffers named in `own`."""
    for name, value in iterate_stored(model):
        if name in own or isinstance(value, nn.Parameter):
            yield name, to_numpy(value)


def iterate_stored(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters of a model, a tied one once, and the buffers that its state dict has."""
    yield from model.named_parameters()
    for path, module in model.named_modules():
        for leaf, value in module._buffers.items():
            if value is not None and leaf not in module._non_persistent_buffers_set:
                yield f"{path}.{leaf}".lstrip("."), value


def describe(model: nn.Module, name: str, value: Tensor) -> Parameter:
    """The row of the table for a tensor of a model, by the type of its module."""
    path, _, leaf = name.rpartition(".")
    module = model.get_submodule(path)
    kind = next((kind for layer, kind in KINDS.items() if isinstance(module, layer)), Kind.OTHER)
    if kind is Kind.LINEAR and module.bias is None:
        kind = Kind.PROJECTION
    return Parameter(name, kind if leaf in LEAVES.get(kind, ()) else Kind.OTHER, tuple(value.shape))


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor of an array's memory; bfloat16 too, which NumPy knows only through ml_dtypes."""
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    plain = array.flags.writeable and min(array.strides, default=0) >= 0  # PyTorch knows no negative strides
    return torch.from_numpy(array if plain else array.copy())


def to_numpy(tensor: Tensor) -> np.ndarray:
    """An array of a tensor's memory, copied only from an accelerator."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def as_concrete(tensor: Tensor | None) -> Tensor | np.ndarray | None:
    """An array to check values in, where reading them costs nothing: eager, on the CPU; else the tensor itself."""
    if type(tensor) is not Tensor or tensor.device.type != "cpu":
        return tensor
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() or torch._C._are_functorch_transforms_active():
        return tensor
    return to_numpy(tensor)


def drop_aliases(module: nn.Module, state: dict, prefix: str, _: dict) -> None:
    """A state-dict hook: a tensor with two names is saved under the stored one, as in published safetensors files."""
    for alias, name in TIED.items():
        if prefix + name in state and state.get(prefix + alias) is not None:
            same = state[prefix + alias].data_ptr() == state[prefix + name].data_ptr()
            if same and state[prefix + alias].shape == state[prefix + name].shape:
                del state[prefix + alias]


def fill_aliases(module: Any, state: dict, prefix: str, *_: object) -> None:
    """A hook before loading: a tied tensor may come under either name or both; old position buffers are dropped."""
    own = set(dict(module.named_parameters(remove_duplicate=False)))
    for alias, name in TIED.items():
        if alias in own and (alias != "lm_head.decoder.weight" or module.config.tie_word_embeddings):
            for missing, found in ((alias, name), (name, alias)):
                if prefix + missing not in state and prefix + found in state:
                    state[prefix + missing] = state[prefix + found]
    for name in [name for name in state if name.endswith(OLD_BUFFERS)]:
        del state[name]
