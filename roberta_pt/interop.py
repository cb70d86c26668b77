"""The methods that transformers' Trainer, accelerate and PEFT call on a model, and that RoBERTa itself does not need.

transformers is never imported. PEFT, too, finds the body of a classifier only where
`isinstance(model, transformers.PreTrainedModel)` holds.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from roberta_core.backend import select_device
from roberta_core.transformers_types import TransformersType
from roberta_pt.weights import drop_aliases, to_numpy

ANYWHERE = ("auto", "balanced", "balanced_low_0", "sequential")  # device maps that leave the choice to the library


class TransformersMethods(TransformersType):
    """Mixin of `RobertaPreTrainedModel`, before the classes whose methods it extends."""

    _transformers_type = ("transformers.modeling_utils", "PreTrainedModel")
    supports_gradient_checkpointing = True
    _no_split_modules = ("Layer",)  # a device map does not split these
    _keys_to_ignore_on_save: tuple[str, ...] | None = None  # a tied matrix is never in the state dict
    _auto_class = None
    _hooks_of_inputs: tuple[Any, ...] = ()

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        save_function: Any = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        token: str | bool | None = None,
        *,
        format: str | None = None,
        **options: Any,
    ) -> None:
        """Write config.json and the weights, and the files of the tokenizer if the model was loaded with one.

        Args:
            save_directory: The folder, which is created if there is none.
            is_main_process: Nothing is written if it is False.
            state_dict: Tensors by published name to write in the place of the model's own.
            save_function: Accepted for compatibility and ignored; files are written without PyTorch.
            push_to_hub: Also upload the model, to `repo_id` or a repository with the name of the folder.
            max_shard_size: The size of a file above which the weights are split, in bytes or such as "5GB".
            safe_serialization: Whether `format` is "safetensors" rather than "bin" unless given.
            variant: Only None is supported.
            token: The token for the upload.
            format: "safetensors", which transformers and the other frameworks read, "bin", "h5", "msgpack" or another
                name in `checkpoints.formats.FORMATS`.
            **options: Further options of the upload, as for `push_to_hub`.

        Raises:
            CheckpointError: The files cannot be written.
            ValueError: An argument has a value that is not supported, or `state_dict` does not fit the model.
        """
        options |= {"is_main_process": is_main_process, "push_to_hub": push_to_hub, "variant": variant}
        options |= {"safe_serialization": safe_serialization} | ({} if token is None else {"token": token})
        given = self._get_tensors if state_dict is None else lambda: self._arrays(state_dict)  # pyright: ignore
        self._save_with(given, save_directory, options, max_shard_size=max_shard_size, format=format)  # pyright: ignore

    def _arrays(self, state_dict: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        """Return the tensors of a state dict by published name; `ValueError` if they are not those of the model."""
        given, wanted = dict(state_dict), self.state_dict()  # pyright: ignore
        drop_aliases(self, given, "", {})  # pyright: ignore
        if given.keys() != wanted.keys():
            missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
            raise ValueError(f"state_dict does not fit {type(self).__name__}: missing {missing}, unknown {unknown}")
        return {name: to_numpy(value.detach().cpu()) for name, value in given.items()}

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep only the input of each layer for the backward pass, and recompute the rest (transformers 5).

        Args:
            activation_checkpointing_kwargs: As for `gradient_checkpointing_enable`.
            every_n_layers: Only 1 is supported: every layer.
            offload: Only False is supported: activations stay on their device.
        """
        if every_n_layers != 1 or offload:
            raise ValueError(
                f"activation checkpointing has every_n_layers={every_n_layers} and offload={offload}; "
                "only every_n_layers=1 and offload=False are supported"
            )
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs)  # pyright: ignore

    def activation_checkpointing_disable(self) -> None:
        """Keep everything that the backward pass needs (transformers 5)."""
        self.gradient_checkpointing_disable()  # pyright: ignore

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether the backward pass recomputes the layers (transformers 5)."""
        return self.is_gradient_checkpointing  # pyright: ignore

    def enable_input_require_grads(self) -> None:
        """Let the embeddings of the input require a gradient although they are frozen, as adapters need it."""
        self.disable_input_require_grads()
        table: nn.Module = self.get_input_embeddings()  # pyright: ignore
        self._hooks_of_inputs = (table.register_forward_hook(_require_gradient),)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        for hook in self._hooks_of_inputs:
            hook.remove()
        self._hooks_of_inputs = ()

    def is_remote_code(self) -> bool:
        """Return whether the class was downloaded with its checkpoint: never."""
        return False

    is_custom_code = is_remote_code  # as transformers 5 calls it


def _require_gradient(module: nn.Module, inputs: Any, output: Tensor) -> None:
    output.requires_grad_(True)


def refuse_prompt_learning(model: Any) -> None:
    """Raise `ValueError` if PEFT has replaced `prepare_inputs_for_generation` to prepend learned prompts."""
    replaced = vars(model).get("prepare_inputs_for_generation")
    adapter = getattr(getattr(replaced, "__self__", None), "active_peft_config", None)
    if adapter is not None and getattr(adapter, "is_prompt_learning", False):
        raise ValueError(
            f"generate does not support PEFT's {adapter.peft_type}, whose learned prompts it would ignore; use LoRA"
        )


def list_devices() -> list[str]:
    """Return the names of the devices that PyTorch sees, accelerators first."""
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*(f"cuda:{number}" for number in range(torch.cuda.device_count())), *mps, "cpu"]


def find_device(device_map: Any) -> str | None:
    """Return the device of a device map, None if it is None.

    Raises:
        ValueError: The map puts parts of the model onto several devices, or PyTorch does not see the device.
    """
    places = {*device_map.values()} if isinstance(device_map, Mapping) else {device_map}
    if len(places) != 1:
        raise ValueError(f'device_map is {device_map!r}; it must name one device for the whole model, such as "cuda:0"')
    place = places.pop()
    if place is None:
        return None
    name = f"cuda:{place}" if isinstance(place, int) else str(place)
    return select_device("PyTorch", "auto" if name in ANYWHERE else name, list_devices())
