"""What the PyTorch classes have in common: being built, loaded, saved and asked about."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.checkpoints.card import card
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig
from roberta_core.outputs import FixedCache, ModelOutput
from roberta_core.parameters import draw
from roberta_core.surgery import Surgery, prune_heads, resize_token_types, resize_vocabulary
from roberta_pt.caches import make_cache
from roberta_pt.weights import assign, drop_aliases, fill_aliases, tensors

logger = logging.getLogger(__name__)

ATTENTIONS = ("sdpa", "eager")
REDUCTIONS = ("mean", "none")


class RobertaPreTrainedModel(nn.Module):
    """The base of the seven classes. Each names its `architecture`, the class name without its prefix.

    `attn_implementation` is "sdpa" (fused kernels) or "eager"; `loss_reduction` "mean" or "none" (one loss a label).
    A new model is drawn from `seed`, the same in every framework; seed None leaves it without values, on meta.
    """

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    architecture: ClassVar[str]
    folder: Path | None = None  # that it was loaded from

    def __init__(
        self,
        config: RobertaConfig,
        *,
        seed: int | None = 0,
        attn_implementation: str = "sdpa",
        loss_reduction: str = "mean",
    ):
        super().__init__()
        config.validate()
        for name, value, known in (
            ("attn_implementation", attn_implementation, ATTENTIONS),
            ("loss_reduction", loss_reduction, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; known are {', '.join(known)}")
        self.config = config
        self.seed = seed
        self.attn_implementation, self.loss_reduction = attn_implementation, loss_reduction
        self.register_state_dict_post_hook(drop_aliases)
        self.register_load_state_dict_pre_hook(fill_aliases)

    @contextmanager
    def _layer_context(self) -> Iterator[None]:
        """Layers are made without values: those come once, from a seed or a checkpoint."""
        with torch.device("meta"):
            yield

    def _build_body(self, model: Any, add_pooling_layer: bool = False) -> Any:
        """The Model inside a class with a head, without values of its own."""
        settings = {"attn_implementation": self.attn_implementation, "loss_reduction": self.loss_reduction}
        return model(self.config, add_pooling_layer=add_pooling_layer, seed=None, **settings)

    def _initialise(self) -> None:
        """Give every parameter its first value, drawn from the seed."""
        if self.seed is not None:
            assign(self, draw(self.config, self.architecture, self.seed, self.has_pooler))
        self.tie_weights()

    @property
    def has_pooler(self) -> bool:
        """Whether the body has a pooler."""
        return self.base_model.pooler is not None

    @property
    def base_model(self) -> Any:
        """The Model inside, or itself."""
        return getattr(self, self.base_model_prefix, self)

    def tie_weights(self) -> None:
        """Let the language-model head score with the word embeddings, unless the configuration unties them."""
        head: Any = getattr(self, "lm_head", None)
        if head is None:
            return
        head.decoder.bias = head.bias
        if self.config.tie_word_embeddings:
            head.decoder.weight = self.get_input_embeddings().weight
        head.decoder.out_features = len(head.bias)

    @classmethod
    def from_config(cls, config: RobertaConfig, **settings: Any) -> Self:
        """A new model of a configuration; `settings` are those of the constructor."""
        return cls(config, **settings)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: RobertaConfig | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool | None = None,
        from_tf: bool = False,
        from_flax: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model of a checkpoint, in eval mode: a folder, the name of an embedded model, or one on the Hub.

        Parameters are mapped from the file, not copied, where they are stored as `dtype` (float32 unless given).
        What the checkpoint lacks, such as a new head, is drawn from `seed` and named in the log. Other keyword
        arguments are the constructor's settings, say how to come by a repository (`checkpoints.resolve`) or override
        fields of the configuration. Every framework's files are read, so `from_tf` and `from_flax` say nothing.
        `OSError` if there is no such checkpoint, `CheckpointError` if it does not fit.
        """
        folder = resolve(pretrained_model_name_or_path, **hub.options(kwargs))
        settings = {name: kwargs.pop(name) for name in ("attn_implementation", "loss_reduction") if name in kwargs}
        if add_pooling_layer is not None:
            settings["add_pooling_layer"] = add_pooling_layer
        model = cls(
            config or RobertaConfig.from_pretrained(folder, _name_or_path=str(pretrained_model_name_or_path), **kwargs),
            seed=None,
            **settings,
        )
        found, report = checkpoints.load(
            folder,
            model.config,
            cls.architecture,
            pooler=model.has_pooler,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
        assign(model, found.items(), dtype=_dtype(dtype or torch_dtype or "float32"))
        assign(model, draw(model.config, cls.architecture, seed, model.has_pooler, only=report.new))
        model.tie_weights()
        model.folder = folder
        for sentence in report.sentences():
            logger.warning("%s", sentence)
        return (model.eval(), report.as_dict()) if output_loading_info else model.eval()

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, max_shard_size: int | str = "5GB", format: str = "safetensors"
    ) -> None:
        """Write config.json and the weights, and the tokenizer's files if the model was loaded with some beside it.

        As model.safetensors transformers and the other two frameworks read it; other formats, such as "bin", "h5" and
        "msgpack", are in `checkpoints.formats.FORMATS`. `CheckpointError` if it cannot be written.
        """
        stored, carried = dict(tensors(self)), hub.carried(self.folder, Path(save_directory))
        checkpoints.save(
            save_directory,
            self.config,
            self.architecture,
            stored,
            max_shard_size=max_shard_size,
            format=format,
            carried=carried,
        )

    def push_to_hub(
        self, repo_id: str, *, max_shard_size: int | str = "5GB", format: str = "safetensors", **where: Any
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card if there is none; returns the commit's address.

        `where` are `token`, `private`, `revision`, `commit_message` and `create_pr`, as in `hub.push`.
        """
        text = card(repo_id, self.config, self.architecture, self.num_parameters(), format)

        def save(folder: Path) -> None:
            self.save_pretrained(folder, max_shard_size=max_shard_size, format=format)

        return hub.push(repo_id, save, text, format, **where)

    def _resolve_option(self, name: str, value: bool | None) -> bool:
        """Whether a call asks for an output: by its argument, else by the configuration."""
        return bool(getattr(self.config, name) if value is None else value)

    def _resolve_use_cache(self, use_cache: bool | None) -> bool:
        """Whether a call returns its keys and values: a decoder's does, unless told otherwise."""
        if use_cache and not self.config.is_decoder:
            raise ValueError("use_cache=True needs a decoder: is_decoder=True in the configuration")
        return self.config.is_decoder and self._resolve_option("use_cache", use_cache)

    def init_cache(self, batch_size: int, max_length: int) -> FixedCache:
        """An empty cache with room for `max_length` tokens, for calls that all have the same shapes."""
        return make_cache(self.base_model, batch_size, max_length)

    def _pack_output(
        self, kind: type[ModelOutput], return_dict: bool | None, body: Mapping[str, Any] | None = None, **fields: Any
    ) -> Any:
        """A class's output, with the body's further fields; as a tuple if `return_dict` or the configuration say so."""
        inherited = {name: value for name, value in (body or {}).items() if name in kind.fields}
        made = kind({**inherited, **fields})
        return made if self._resolve_option("return_dict", return_dict) else made.to_tuple()

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def get_output_embeddings(self) -> nn.Linear | None:
        """The layer that scores the vocabulary, in the classes that have one."""
        head: Any = getattr(self, "lm_head", None)
        return None if head is None else head.decoder

    def set_input_embeddings(self, embeddings: nn.Embedding) -> None:
        """Replace the word embeddings, those of the language-model head too if they are tied."""
        self.base_model.embeddings.word_embeddings = embeddings
        self.tie_weights()

    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the layer that scores the vocabulary. `ValueError` where it is tied or there is none."""
        head: Any = getattr(self, "lm_head", None)
        if head is None or self.config.tie_word_embeddings:
            raise ValueError("the output embeddings are tied, or this class has none: see set_input_embeddings")
        head.decoder, head.bias = embeddings, embeddings.bias

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = False
    ) -> nn.Embedding:
        """Give the vocabulary another size: first words stay, new ones are drawn, new biases are 0."""
        if mean_resizing:
            raise ValueError("mean_resizing=True draws new words around the old ones; here they are drawn as at first")
        if new_num_tokens is not None or pad_to_multiple_of is not None:
            size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
            self._become(resize_vocabulary, size, pad_to_multiple_of, self.seed or 0)
        return self.get_input_embeddings()

    def resize_token_type_embeddings(self, size: int) -> nn.Embedding:
        """Give the token types another number: new ones begin as copies of the first."""
        self._become(resize_token_types, size)
        return self.base_model.embeddings.token_type_embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Take self-attention heads out, {layer: [head, ...]}, counted as in the whole model."""
        self._become(prune_heads, heads_to_prune)

    def _become(self, operation: Callable[..., Surgery], *arguments: Any) -> None:
        """Take over the configuration and the tensors that an operation of the core changes."""
        surgery = operation(self.config, self.architecture, dict(tensors(self)), *arguments)
        vars(self.config).update(vars(surgery.config))
        assign(self, surgery.tensors.items(), dtype=self.dtype)
        self.tie_weights()

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Keep only each layer's input for the backward pass, and compute the rest again.

        Further arguments are those of `torch.utils.checkpoint.checkpoint`; without one, use_reentrant=False.
        """
        self.base_model.encoder.gradient_checkpointing = True
        self.base_model.encoder.checkpointing = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def gradient_checkpointing_disable(self) -> None:
        """Keep all that the backward pass needs."""
        self.base_model.encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward pass computes the layers again."""
        return self.base_model.encoder.gradient_checkpointing

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold, a tied one counted once."""
        tables = {id(table.weight) for table in self.modules() if isinstance(table, nn.Embedding)}
        return sum(
            value.numel()
            for value in self.parameters()
            if (value.requires_grad or not only_trainable) and not (exclude_embeddings and id(value) in tables)
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A small batch that any of the classes takes."""
        return {"input_ids": torch.tensor([[0, 3, 2]])}


def _dtype(name: torch.dtype | str) -> torch.dtype:
    found = getattr(torch, name, None) if isinstance(name, str) else name
    if not isinstance(found, torch.dtype):
        raise ValueError(f"dtype is {name!r}; it must name a type of torch, such as float32 or bfloat16")
    return found
