"""What the Flax classes have in common: being built, called, loaded, saved and asked about."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.checkpoints.card import card
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig
from roberta_core.input_validation import check_all_labels, check_inputs
from roberta_core.outputs import FixedCache, ModelOutput
from roberta_core.parameters import Kind, draw, parameters
from roberta_core.surgery import Surgery, prune_heads, resize_token_types, resize_vocabulary
from roberta_flax.caches import make_cache, unpack_cache
from roberta_flax.calls import Held, call, check_room, filter_arguments
from roberta_flax.layers import Embedding, Linear
from roberta_flax.weights import assign, cast, convert_tensors, flatten, get_params, get_seed, nest, set_params, tensors

logger = logging.getLogger(__name__)

ATTENTIONS = ("sdpa", "eager")
REDUCTIONS = ("mean", "none")


class FlaxRobertaPreTrainedModel(nnx.Module):
    """The base of the seven classes. Each names its `architecture`, the class name without its prefix.

    `attn_implementation` is "sdpa" or "eager", which are one in Flax; `loss_reduction` "mean" or "none" (one loss a
    label). A new model is drawn from `seed`, the same in every framework; `_do_init=False` leaves it without values, to
    be called with `params`. `dtype` is the type that it computes in; its parameters stay float32. `input_shape` belongs
    to the published signature, and nothing depends on it.
    """

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    architecture: ClassVar[str]

    def __init__(
        self,
        config: RobertaConfig,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
        gradient_checkpointing: bool = False,
        *,
        attn_implementation: str = "sdpa",
        loss_reduction: str = "mean",
    ):
        config.validate()
        for name, value, known in (
            ("attn_implementation", attn_implementation, ATTENTIONS),
            ("loss_reduction", loss_reduction, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; known are {', '.join(known)}")
        self._config = Held(config)
        self.seed = seed if _do_init else None
        self.dtype = jnp.dtype(dtype)
        self.gradient_checkpointing = gradient_checkpointing
        self.attn_implementation, self.loss_reduction = attn_implementation, loss_reduction

    def __setattr__(self, name: str, value: Any) -> None:
        # nnx.Module keeps every attribute itself: a property of the class is not asked.
        if name == "params":
            set_params(self, value)
        elif name == "config":
            self._config = self.base_model._config = Held(value, self._config.folder)
        else:
            super().__setattr__(name, value)

    @property
    def config(self) -> RobertaConfig:
        """The configuration."""
        return self._config.config

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as the published nested dict, which can be set too; layers have their number as a string."""
        return get_params(self)

    def _build_body(self, model: Any, add_pooling_layer: bool = False) -> Any:
        """The Model inside a class with a head, without values of its own."""
        settings = {"attn_implementation": self.attn_implementation, "loss_reduction": self.loss_reduction}
        settings |= {"dtype": self.dtype, "gradient_checkpointing": self.gradient_checkpointing}
        return model(self.config, add_pooling_layer=add_pooling_layer, _do_init=False, **settings)

    def _initialise(self) -> None:
        """Give every parameter its first value, drawn from the seed."""
        if self.seed is not None:
            assign(self, draw(self.config, self.architecture, self.seed, self.has_pooler))

    def init_weights(
        self, rng: Array, input_shape: tuple[int, ...] = (1, 1), params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """New parameters drawn from a key, as a nested dict; those in `params` stay."""
        fresh = convert_tensors(self, draw(self.config, self.architecture, get_seed(rng), self.has_pooler))
        return nest({**dict(fresh), **dict(flatten(params or {}))}.items())

    @property
    def has_pooler(self) -> bool:
        """Whether the body has a pooler."""
        return self.base_model.pooler is not None

    @property
    def base_model(self) -> Any:
        """The Model inside, or itself."""
        return getattr(self, self.base_model_prefix, self)

    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        encoder_hidden_states: ArrayLike | None = None,
        encoder_attention_mask: ArrayLike | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        train: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: Any = None,
        inputs_embeds: ArrayLike | None = None,
        use_cache: bool | None = None,
        labels: ArrayLike | None = None,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        num_items_in_batch: ArrayLike | None = None,
    ) -> Any:
        """The output that `forward` describes, for arrays of the shapes that it gives; compiled, and pure.

        `params` is a nested dict as in `model.params`, to be used instead of the model's own: a call may be jitted,
        differentiated and mapped. `train` applies dropout, drawn from the key `dropout_rng`.
        `ValueError` for ids, lengths and shapes that the model cannot take; `TypeError` for an argument that it lacks.
        """
        past, _ = unpack_cache(past_key_values)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "head_mask": head_mask,
            "inputs_embeds": inputs_embeds,
            "encoder_hidden_states": encoder_hidden_states,
            "encoder_attention_mask": encoder_attention_mask,
            "past_key_values": past_key_values if isinstance(past_key_values, FixedCache) else past,
            "labels": labels,
            "start_positions": start_positions,
            "end_positions": end_positions,
            "num_items_in_batch": num_items_in_batch,
        }
        options = {
            "use_cache": use_cache,
            "output_attentions": self._resolve_option("output_attentions", output_attentions),
            "output_hidden_states": self._resolve_option("output_hidden_states", output_hidden_states),
            "return_dict": True,
        }
        inputs, options = filter_arguments(type(self), inputs), filter_arguments(type(self), options)
        output = call(self, inputs, options, params, bool(train), dropout_rng)
        return output if self._resolve_option("return_dict", return_dict) else output.to_tuple()

    def _check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Raise `ValueError` for inputs that the model cannot take, as far as they can be read."""
        rows = self._to_body_inputs(inputs)
        past, filled = unpack_cache(inputs.get("past_key_values"))
        length = past[0][0].shape[2] if past else 0
        rows = {**rows, "past_key_values": past}
        if filled is None:
            check_inputs(self.config, rows, length)
        else:
            check_inputs(self.config, rows, int(filled) if isinstance(filled, np.ndarray) else filled, length)
            check_room(rows, filled, length)
        check_all_labels(self.config, self.architecture, inputs)

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs as Model takes them."""
        return inputs

    @classmethod
    def from_config(cls, config: RobertaConfig, **settings: Any) -> Self:
        """A new model of a configuration; `settings` are those of the constructor."""
        return cls(config, **settings)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        dtype: DTypeLike = jnp.float32,
        *,
        config: RobertaConfig | None = None,
        seed: int = 0,
        _do_init: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        from_pt: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model of a checkpoint: a folder, the name of an embedded model, or one on the Hub.

        Parameters are copied once from the mapped file, as float32; `dtype` is the type that the model computes in.
        With `_do_init=False` they are returned beside a model without values: (model, params). What the checkpoint
        lacks, such as a new head, is drawn from `seed` and named in the log. Other keyword arguments are the
        constructor's settings, say how to come by a repository (`checkpoints.resolve`) or override fields of the
        configuration. Every framework's files are read, so `from_pt` says nothing. `OSError` if there is no such
        checkpoint, `CheckpointError` if it does not fit.
        """
        folder = resolve(pretrained_model_name_or_path, **hub.options(kwargs))
        known = ("attn_implementation", "loss_reduction", "gradient_checkpointing", "input_shape", "add_pooling_layer")
        settings = {name: kwargs.pop(name) for name in known if name in kwargs}
        model = cls(
            config or RobertaConfig.from_pretrained(folder, _name_or_path=str(pretrained_model_name_or_path), **kwargs),
            dtype=dtype,
            _do_init=False,
            **settings,
        )
        found, report = checkpoints.load(
            folder,
            model.config,
            cls.architecture,
            pooler=model.has_pooler,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
        found |= draw(model.config, cls.architecture, seed, model.has_pooler, only=report.new)
        for sentence in report.sentences():
            logger.warning("%s", sentence)
        model._config.folder = folder
        result: Any = model
        if _do_init:
            assign(model, found.items(), dtype=np.float32)
        else:
            result = model, nest(convert_tensors(model, found.items(), dtype=np.float32))
        return (result, report.as_dict()) if output_loading_info else result

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "5GB",
        format: str = "safetensors",
    ) -> None:
        """Write config.json and the weights, and the tokenizer's files if the model was loaded with some beside it.

        As model.safetensors transformers and the other two frameworks read it; other formats, such as "bin", "h5" and
        "msgpack", are in `checkpoints.formats.FORMATS`. `CheckpointError` if it cannot be written.
        """
        stored, carried = dict(tensors(self, params)), hub.carried(self._config.folder, Path(save_directory))
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
        self,
        repo_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "5GB",
        format: str = "safetensors",
        **where: Any,
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card if there is none; returns the commit's address.

        `where` are `token`, `private`, `revision`, `commit_message` and `create_pr`, as in `hub.push`.
        """
        text = card(repo_id, self.config, self.architecture, self.num_parameters(), format)

        def save(folder: Path) -> None:
            self.save_pretrained(folder, params, max_shard_size=max_shard_size, format=format)

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

    def get_input_embeddings(self) -> Embedding:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def get_output_embeddings(self) -> Linear | Embedding | None:
        """The layer that scores the vocabulary, in the classes that have one: where it is tied, the word embeddings."""
        head: Any = getattr(self, "lm_head", None)
        return None if head is None else head.decoder or self.get_input_embeddings()

    def set_input_embeddings(self, embeddings: nnx.Embed) -> None:
        """Replace the word embeddings, those of the language-model head too if they are tied."""
        rows, size = embeddings.embedding.shape
        words = Embedding(rows, size, self.dtype, padding_idx=self.config.pad_token_id)
        words.embedding = embeddings.embedding
        self.base_model.embeddings.word_embeddings = words

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> Embedding:
        """Give the vocabulary another size: first words stay, new ones are drawn, new biases are 0."""
        if new_num_tokens is not None or pad_to_multiple_of is not None:
            size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
            self._become(resize_vocabulary, size, pad_to_multiple_of, self.seed or 0)
        return self.get_input_embeddings()

    def resize_token_type_embeddings(self, size: int) -> Embedding:
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
        assign(self, surgery.tensors.items())

    def gradient_checkpointing_enable(self) -> None:
        """Keep only each layer's input for the backward pass, and compute the rest again."""
        self.base_model.encoder.gradient_checkpointing = True

    enable_gradient_checkpointing = gradient_checkpointing_enable  # as the published Flax classes call it

    def gradient_checkpointing_disable(self) -> None:
        """Keep all that the backward pass needs."""
        self.base_model.encoder.gradient_checkpointing = False

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold, a tied one counted once; all of them can be trained."""
        table = parameters(self.config, self.architecture, self.has_pooler).values()
        return sum(value.size for value in table if not (exclude_embeddings and value.kind is Kind.EMBEDDING))

    def to_fp32(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters as float32; where `mask` has False, as they are."""
        return cast(params, jnp.float32, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters as float16; where `mask` has False, as they are."""
        return cast(params, jnp.float16, mask)

    def to_bf16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters as bfloat16; where `mask` has False, as they are."""
        return cast(params, jnp.bfloat16, mask)

    @property
    def dummy_inputs(self) -> dict[str, Array]:
        """A small batch that any of the classes takes."""
        return {"input_ids": jnp.array([[0, 3, 2]])}
