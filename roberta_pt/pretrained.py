"""The base of the PyTorch classes: loading, saving, embeddings, gradient checkpointing."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, overload

import numpy as np
import torch
from torch import Tensor, nn

from roberta_core.checkpoints.load_options import AUTO, find_stored_dtype
from roberta_core.config import RobertaConfig
from roberta_core.outputs import FixedCache
from roberta_core.parameters import Parameter, parameters
from roberta_core.pretrained import ModelCall, P, PreTrainedBase, R
from roberta_pt.caches import make_cache
from roberta_pt.frozen import FrozenModel
from roberta_pt.heads import LMHead
from roberta_pt.initialisation import draw_module, finish_own_model, initialise_modules, iterate_ties, restore_ties
from roberta_pt.interop import TransformersMethods, find_device
from roberta_pt.published_methods import PublishedMethods
from roberta_pt.weights import (
    assign,
    describe,
    drop_aliases,
    fill_aliases,
    from_numpy,
    iterate_stored,
    tensors,
    to_numpy,
)

NARROW = (torch.int8, torch.int16, torch.uint8, torch.uint16, torch.uint32)


class _HasForward(Protocol[P, R]):
    """A model, by the signature of its forward pass."""

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute the outputs."""
        ...


class RobertaPreTrainedModel(  # pyright: ignore[reportIncompatibleMethodOverride]  # save_pretrained accepts more
    TransformersMethods, PublishedMethods, PreTrainedBase, nn.Module
):
    """The base of the seven classes and of a user's own, which assigns a model to `self.roberta`, then adds layers.

    Args:
        config: The configuration.
        *inputs: Accepted for compatibility and ignored.
        seed: Seed of the initial values, which are the same in every framework; None leaves the parameters without
            values, on the meta device.
        attn_implementation: "sdpa" (fused kernels) or "eager".
        loss_reduction: "mean" or "none" (one loss for each label).
    """

    config: RobertaConfig
    _other_format = "bin"
    _loads_state_dict = True

    def __init__(
        self,
        config: RobertaConfig,
        *inputs: Any,
        seed: int | None = 0,
        attn_implementation: str = "sdpa",
        loss_reduction: str = "mean",
    ):
        super().__init__()
        self._check_config(config)
        seed, attn_implementation, loss_reduction = self._override_settings(
            seed=seed, attn_implementation=attn_implementation, loss_reduction=loss_reduction
        )
        self._set_options(attn_implementation, loss_reduction)
        self.config = config
        self.seed = seed
        self.register_state_dict_post_hook(drop_aliases)
        self.register_load_state_dict_pre_hook(fill_aliases)

    if TYPE_CHECKING:

        @property
        def __call__(self: _HasForward[P, R]) -> ModelCall[P, R]:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Compute the outputs that `forward` describes."""
            ...

    else:

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Compute the outputs that `forward` describes; arrays and lists are accepted in place of tensors."""
            if not type(self).forward.__module__.startswith("roberta_pt."):
                return super().__call__(*args, **kwargs)  # a user's forward pass may have arguments of any kind
            given = {name: self._to_tensor(value, name) for name, value in kwargs.items()}
            return super().__call__(*(self._to_tensor(value) for value in args), **given)

    def _to_tensor(self, value: Any, name: str = "") -> Any:
        """Return an array or a list of numbers as a tensor on the model's device, and narrow integers as int64."""
        if isinstance(value, list) and name != "past_key_values":
            value = np.asarray(value)
        if isinstance(value, np.ndarray):
            # A uint64 above the range of int64 becomes its largest number, which no table has.
            value = np.minimum(value, np.uint64(2**63 - 1)).astype(np.int64) if value.dtype.kind == "u" else value
            value = from_numpy(value).to(self.device)
        return value.long() if isinstance(value, Tensor) and value.dtype in NARROW else value

    @contextmanager
    def _layer_context(self) -> Iterator[None]:
        """Make layers without values: those come once, from a seed or a checkpoint."""
        with torch.device("meta"):
            yield

    def _get_tensors(self) -> dict[str, np.ndarray]:
        return dict(tensors(self, own=self._get_table(whole=True)))

    def _assign(self, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
        assign(self, tensors, dtype=self.dtype)

    def _list_parameters(self) -> dict[str, Parameter]:
        return {name: describe(self, name, value) for name, value in iterate_stored(self)}

    def _initialise(self) -> None:
        super()._initialise()
        if self.seed is not None and self._overrides_init_weights():
            initialise_modules(self)

    def _overrides_init_weights(self) -> bool:
        return type(self)._init_weights is not RobertaPreTrainedModel._init_weights

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise the parameters of one module, which a user's class may override.

        Linear layers and embeddings are normal(0, initializer_range), biases 0, norms 1; other modules keep the values
        that their constructors gave them.
        """
        draw_module(self, module)

    def post_init(self) -> None:
        """Initialise the layers of a user's class, and tie the weights: the last call of its constructor."""
        if self.seed is not None:
            overridden = self._overrides_init_weights()
            initialise_modules(self, None if overridden else self._list_own_names())
        self.tie_weights()

    init_weights = post_init

    def _list_own_names(self) -> set[str]:
        """Return the names of the tensors that a user's class adds."""
        published = parameters(self.config, self._get_architecture(), self.has_pooler)
        return {name for name, row in self._get_table().items() if published.get(name) != row}

    def _resolve_option(self, name: str, value: bool | None) -> bool:
        traced = name == "return_dict" and value is None and getattr(self.config, "torchscript", False)
        return False if traced else super()._resolve_option(name, value)

    def tie_weights(self) -> None:
        """Tie the decoder of the language-model head to the word embeddings, unless the configuration unties them."""
        head: Any = getattr(self, "lm_head", None)
        if not isinstance(head, LMHead):
            output = self.get_output_embeddings()
            if output is not None and self.config.tie_word_embeddings:
                output.weight = self.get_input_embeddings().weight
            return
        head.decoder.bias = head.bias
        if self.config.tie_word_embeddings:
            head.decoder.weight = self.get_input_embeddings().weight
        head.decoder.out_features = len(head.bias)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        config: RobertaConfig | str | os.PathLike[str] | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load the model of a checkpoint, in eval mode.

        Parameters are mapped from the file, not copied, where they are stored as `dtype`.

        Args:
            pretrained_model_name_or_path: A folder, the name of an embedded model, or a repository on the Hub.
            *model_args: Further positional arguments of the constructor of a user's class.
            config: The configuration, or where to load it from; None means the checkpoint's.
            dtype: The type of the parameters; float32 if it is None, and as stored if it is "auto".
            torch_dtype: The old name of `dtype`.
            device_map: The device of the whole model, such as "cuda:0" or {"": 0}; "auto" means an accelerator if
                there is one, None the CPU.
            seed: Seed of the parameters that the checkpoint lacks, such as a new head; the log names them.
            ignore_mismatched_sizes: Draw tensors whose shapes differ from the model's, instead of refusing them.
            output_loading_info: Also return the names of missing, unexpected and mismatched tensors.
            add_pooling_layer: Whether the body has a pooler; None means as published for the class.
            state_dict: Tensors by name to load instead of the weights of the checkpoint, which may then be None if
                `config` is given.
            from_tf: Accepted for compatibility and ignored; the format is detected.
            from_flax: Accepted for compatibility and ignored; the format is detected.
            **kwargs: Settings of the constructor, options of the download (`checkpoints.resolve`), and fields of the
                configuration to override.

        Returns:
            The model, or (model, loading information).

        Raises:
            OSError: There is no such checkpoint.
            CheckpointError: The checkpoint does not fit the model.
        """
        kind = dtype or torch_dtype or "float32"
        kind, device = kind if kind == AUTO else _to_dtype(kind), find_device(device_map)
        settings = {} if add_pooling_layer is None else {"add_pooling_layer": add_pooling_layer}
        source, given = pretrained_model_name_or_path, None if state_dict is None else to_arrays(state_dict)
        model, found, drawn, info = cls._load(
            source, config, seed, ignore_mismatched_sizes, kwargs, model_args, given, **settings
        )
        if not isinstance(kind, torch.dtype):
            folder = model._folder or Path()
            kind = find_dtype(state_dict, model.config) or _to_dtype(find_stored_dtype(folder, model.config))
        if cls._is_own():
            finish_own_model(model, found, drawn, seed, kind)
        ties = list(iterate_ties(model))
        assign(model, found.items(), dtype=kind)
        assign(model, drawn.items(), dtype=kind)
        restore_ties(model, ties)
        model.tie_weights()
        model = model if device is None else model.to(device)
        return (model.eval(), info) if output_loading_info else model.eval()

    def frozen(self) -> FrozenModel:
        """Return a view of the model for inference, with packed weights: `roberta_pt.frozen` describes it.

        Raises:
            ValueError: Its results differ from the model's by more than rounding.
        """
        return FrozenModel(self)

    def init_cache(self, batch_size: int, max_length: int) -> FixedCache:
        """Return an empty cache with room for `max_length` tokens, for calls that all have the same shapes."""
        return make_cache(self.base_model, batch_size, max_length)

    def get_output_embeddings(self) -> nn.Linear | None:
        """Return the layer that scores the vocabulary, in the classes that have one."""
        head: Any = getattr(self, "lm_head", None)
        return head.decoder if isinstance(head, LMHead) else None

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the word embeddings, and those of the language-model head if they are tied."""
        self.base_model.embeddings.word_embeddings = value
        self.tie_weights()

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary. Raises `ValueError` if it is tied or the class has none."""
        head: Any = getattr(self, "lm_head", None)
        if head is None or self.config.tie_word_embeddings:
            raise ValueError("the output embeddings are tied, or this class has none: see set_input_embeddings")
        head.decoder, head.bias = new_embeddings, new_embeddings.bias

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Keep only the input of each layer for the backward pass, and recompute the rest.

        Args:
            gradient_checkpointing_kwargs: Further arguments of `torch.utils.checkpoint.checkpoint`; use_reentrant is
                False unless given.
        """
        super().gradient_checkpointing_enable()
        self.base_model.encoder.checkpointing = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of elements of the parameters, a tied one counted once."""
        tables = {id(table.weight) for table in self.modules() if isinstance(table, nn.Embedding)}
        return sum(
            value.numel()
            for value in self.parameters()
            if (value.requires_grad or not only_trainable) and not (exclude_embeddings and id(value) in tables)
        )

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A small batch that every class accepts."""
        return {"input_ids": torch.tensor([[0, 3, 2]])}


def to_arrays(state_dict: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The tensors of a state dict as NumPy arrays, copied: the model's parameters shall be its own."""
    return {name: to_numpy(value.detach().cpu()).copy() for name, value in state_dict.items()}


def find_dtype(state_dict: Mapping[str, Tensor] | None, config: RobertaConfig) -> torch.dtype | None:
    """The dtype that "auto" means for a state dict: the one that the configuration names, else that of a tensor."""
    if state_dict is None:
        return None
    if config.dtype is not None:
        return _to_dtype(config.dtype)
    return next((value.dtype for value in state_dict.values() if value.is_floating_point()), torch.float32)


def _to_dtype(name: torch.dtype | str) -> torch.dtype:
    found = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype):
        raise ValueError(f"dtype is {name!r}; it must name a type of torch, such as float32 or bfloat16")
    return found
