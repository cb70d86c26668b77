"""The base of the Flax classes: calling, loading, saving, embeddings, gradient checkpointing."""

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, Self, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from roberta_core.checkpoints.source import EMBEDDED
from roberta_core.config import RobertaConfig
from roberta_core.input_validation import check_all_labels, check_inputs
from roberta_core.outputs import FixedCache
from roberta_core.parameters import BODY, Kind, Parameter, draw
from roberta_core.pretrained import PreTrainedBase, R, refuse_fork
from roberta_flax.caches import make_cache, unpack_cache
from roberta_flax.calls import HashableConfig, call, check_room, filter_arguments
from roberta_flax.frozen import FrozenModel
from roberta_flax.layers import Embedding, Linear
from roberta_flax.linen import MODULES
from roberta_flax.own_layers import (
    apply_linen,
    describe,
    draw_linen,
    flatten,
    init_linen,
    list_values,
    make_linen_cache,
    make_linen_state,
    nest,
    to_raw,
)
from roberta_flax.published_methods import PublishedMethods
from roberta_flax.weights import assign, cast, convert_tensors, get_params, get_seed, set_params, tensors

logger = logging.getLogger(__name__)


class _HasForward(Protocol[R]):
    """A model, by the output of its forward pass."""

    def _forward(self, *args: Any, **kwargs: Any) -> R: ...


class FlaxRobertaPreTrainedModel(PublishedMethods, PreTrainedBase, nnx.Module):
    """The base of the seven classes and of a user's own.

    A user's class assigns a model to `self.roberta` and adds NNX layers, or names a Linen module as `module_class`.

    Args:
        config: The configuration.
        input_shape: Part of the published signature, and ignored.
        seed: Seed of the initial values, which are the same in every framework.
        dtype: The type that the model computes in; its parameters keep theirs.
        _do_init: False leaves the model without values, to be called with `params`.
        gradient_checkpointing: Whether the backward pass recomputes the layers.
        attn_implementation: "sdpa" or "eager", which are the same in Flax.
        loss_reduction: "mean" or "none" (one loss for each label).
        **arguments: Further arguments of `module_class`.
    """

    _other_format = "msgpack"
    module_class: Any = None
    _class_prefix = "Flax"
    _linen: Any = None
    _without_values = {"_do_init": False}  # noqa: RUF012  # nnx reads no annotations here
    _settings = (*PreTrainedBase._settings, "gradient_checkpointing", "input_shape", "add_pooling_layer")

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
        **arguments: Any,
    ):
        refuse_fork("JAX")
        if arguments and self.module_class is None:
            raise TypeError(f"{type(self).__name__} takes no {' and no '.join(arguments)}")
        seed, dtype, _do_init, attn_implementation, loss_reduction = self._override_settings(
            seed=seed,
            dtype=dtype,
            _do_init=_do_init,
            attn_implementation=attn_implementation,
            loss_reduction=loss_reduction,
        )
        self._check_config(config)
        self._set_options(attn_implementation, loss_reduction)
        self._config = HashableConfig(config)
        self.seed = seed if _do_init else None
        self.dtype = jnp.dtype(dtype)
        self.gradient_checkpointing = gradient_checkpointing
        self.input_shape = tuple(input_shape)
        if self.module_class is not None:
            object.__setattr__(self, "_linen", make_linen_state(self, arguments, input_shape))
            if _do_init:
                draw_linen(self, seed, input_shape)

    def __setattr__(self, name: str, value: Any) -> None:
        # nnx.Module stores every attribute itself and ignores the properties of the class.
        if name == "params":
            set_params(self, value)
        elif name == "config":
            kept = (self._config.folder, self._config.generation)
            self._config = self.base_model._config = HashableConfig(value, *kept)
        elif name == "_folder":
            self._config.folder = value
        elif name in ("_generation", "generation_config"):
            # A new object: copies of a model share the one before.
            self._config = self.base_model._config = HashableConfig(self.config, self._config.folder, value)
        else:
            super().__setattr__(name, value)

    @property
    def config(self) -> RobertaConfig:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The configuration."""
        return self._config.config

    @property
    def _folder(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._config.folder

    @property
    def _generation(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._config.generation

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as the published nested dict, which can be set; the keys of layers are strings."""
        return get_params(self)

    def _body_settings(self) -> dict[str, Any]:
        more = {"dtype": self.dtype, "gradient_checkpointing": self.gradient_checkpointing}
        return {**super()._body_settings(), **more}

    def _get_tensors(self) -> dict[str, np.ndarray]:
        return dict(tensors(self))

    def _assign(self, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
        assign(self, tensors)

    def _get_shapes(self) -> dict[str, Any]:
        """Return the shapes and dtypes of the parameters as the published nested dict."""
        values = {name: to_raw(value) for name, value in list_values(self).items()}
        return nest((name, jax.ShapeDtypeStruct(value.shape, value.dtype)) for name, value in values.items())

    def _list_parameters(self) -> dict[str, Parameter]:
        return describe(list_values(self))

    def _get_architecture(self) -> str:
        return BODY if self._linen is not None else super()._get_architecture()

    @property
    def has_pooler(self) -> bool:
        """Whether the body has a pooler."""
        return "pooler" in self._linen.shapes.get("roberta", {}) if self._linen is not None else super().has_pooler

    @property
    def module(self) -> Any:
        """The Linen module that computes what the model computes from `params`: `model.module.apply(...)`."""
        if self._linen is not None:
            return self._linen.module
        if self._is_own():
            raise AttributeError(f"{type(self).__name__} is written as an NNX module, so it has no Linen module")
        recompute = self.base_model.encoder.gradient_checkpointing
        settings = {"add_pooling_layer": self.has_pooler} if self.architecture == "Model" else {}
        kind = MODULES[self.architecture]
        return kind(self.config, dtype=self.dtype, gradient_checkpointing=recompute, **settings)

    def init_weights(
        self, rng: Array, input_shape: tuple[int, ...] = (1, 1), params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Draw new parameters.

        Args:
            rng: The key that they are drawn from.
            input_shape: The shape of the ids that a Linen module is initialised with, and ignored by the others.
            params: A nested dict of parameters to keep.

        Returns:
            The parameters as a nested dict.
        """
        if self._linen is not None:
            fresh = dict(flatten(init_linen(self, self.module, rng, input_shape)))
            return nest({**fresh, **dict(flatten(params or {}))}.items())
        fresh = convert_tensors(self, draw(self.config, self.architecture, get_seed(rng), self.has_pooler))
        return nest({**dict(fresh), **dict(flatten(params or {}))}.items())

    @overload
    def __call__(self, *args: Any, return_dict: Literal[False], **kwargs: Any) -> tuple[Any, ...]: ...
    @overload
    def __call__(
        self: _HasForward[R],
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
    ) -> R: ...
    def __call__(  # pyright: ignore[reportInconsistentOverload]
        self: Any,
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
        """Compute the outputs that the class describes, by a compiled and pure function.

        Args:
            input_ids: [B, S].
            attention_mask: [B, T], [B, S, T] or [B, 1, S, T].
            token_type_ids: [B, S].
            position_ids: [B, S].
            head_mask: [N] or [L, N].
            encoder_hidden_states: [B, T, D].
            encoder_attention_mask: [B, T].
            params: A nested dict as in `model.params`, to be used instead of the model's own.
            dropout_rng: The key that dropout is drawn from.
            train: Whether dropout is applied.
            output_attentions: Whether to return the attention weights.
            output_hidden_states: Whether to return the hidden states of every layer.
            return_dict: False returns a tuple.
            past_key_values: The key/value cache of an earlier call.
            inputs_embeds: [B, S, D], instead of `input_ids`.
            use_cache: Whether to return the key/value cache (decoders only).
            labels: Labels of the class; with them the loss is returned.
            start_positions: [B], of question answering.
            end_positions: [B], of question answering.
            num_items_in_batch: The number that divides the loss of ForCausalLM.

        Returns:
            The output of the class, or a tuple.

        Raises:
            ValueError: Ids, lengths or shapes that the model cannot accept.
            TypeError: An argument that the class does not have.
        """
        refuse_fork("JAX")
        if self._linen is not None:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            inputs |= {"position_ids": position_ids, "head_mask": head_mask}
            inputs |= {"encoder_hidden_states": encoder_hidden_states, "encoder_attention_mask": encoder_attention_mask}
            wanted = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
            options = {
                name: self._resolve_option(name, value)
                for name, value in {**wanted, "return_dict": return_dict}.items()
            }
            others = {"inputs_embeds": inputs_embeds, "use_cache": use_cache, "labels": labels}
            others |= {"start_positions": start_positions, "end_positions": end_positions}
            others |= {"num_items_in_batch": num_items_in_batch}
            lacking = [name for name, value in others.items() if value is not None and value is not False]
            if lacking:
                raise TypeError(
                    f"{type(self).__name__} does not accept {', '.join(lacking)}: its module is a Linen one"
                )
            return apply_linen(self, inputs, params, train, dropout_rng, options, past_key_values)
        layers: Any
        layers, filled, real = unpack_cache(past_key_values)
        cache = FixedCache(layers, filled, real)  # unpacked once: `filled` is None if it grows
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "head_mask": head_mask,
            "inputs_embeds": inputs_embeds,
            "encoder_hidden_states": encoder_hidden_states,
            "encoder_attention_mask": encoder_attention_mask,
            "past_key_values": cache if cache.layers else None,
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
        """Raise `ValueError` for inputs that the model does not accept, as far as they can be read."""
        rows = self._to_body_inputs(inputs)
        past, filled, _ = inputs.get("past_key_values") or (None, None, None)
        length = past[0][0].shape[2] if past else 0
        rows = {**rows, "past_key_values": past}
        if filled is None:
            check_inputs(self.config, rows, length)
        else:
            check_inputs(self.config, rows, int(filled) if isinstance(filled, np.ndarray) else filled, length)
            check_room(rows, filled, length)
        check_all_labels(self.config, self.architecture, inputs)

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the inputs as the body receives them."""
        return inputs

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        dtype: DTypeLike = jnp.float32,
        *,
        output_loading_info: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        dtype: DTypeLike = jnp.float32,
        *,
        output_loading_info: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        dtype: DTypeLike = jnp.float32,
        *model_args: Any,
        config: RobertaConfig | str | os.PathLike[str] | None = None,
        seed: int = 0,
        _do_init: bool = True,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        from_pt: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load the model of a checkpoint.

        Parameters are copied once from the mapped file: those that it stores in 16 bits as they are, which is logged,
        others and those of embedded models as float32.

        Args:
            pretrained_model_name_or_path: A folder, the name of an embedded model, or a repository on the Hub.
            dtype: The type that the model computes in.
            *model_args: Further positional arguments of the constructor of a user's class.
            config: The configuration, or where to load it from; None means the checkpoint's.
            seed: Seed of the parameters that the checkpoint lacks, such as a new head; the log names them.
            _do_init: False returns (model, params) instead of the model, which has no values then.
            ignore_mismatched_sizes: Draw tensors whose shapes differ from the model's, instead of refusing them.
            output_loading_info: Also return the names of missing, unexpected and mismatched tensors.
            from_pt: Accepted for compatibility and ignored; the format is detected.
            **kwargs: Settings of the constructor, options of the download (`checkpoints.resolve`), and fields of the
                configuration to override.

        Returns:
            The model, or (model, loading information).

        Raises:
            OSError: There is no such checkpoint.
            CheckpointError: The checkpoint does not fit the model.
        """
        source = pretrained_model_name_or_path
        model, found, drawn, info = cls._load(
            source, config, seed, ignore_mismatched_sizes, kwargs, model_args, dtype=dtype
        )
        if model._linen is not None and model._get_table().keys() - found.keys() - drawn.keys():
            draw_linen(model, seed, (1, 1))
        result: Any = model
        # The embedded models are stored in 16 bits only to be small.
        keep_half = model._folder is None or EMBEDDED not in model._folder.parents
        half = sorted({array.dtype.name for array in found.values() if keep_half and array.dtype.itemsize == 2})
        if half:
            logger.warning("the parameters are %s, as stored: call to_fp32 before training", " and ".join(half))
        if _do_init:
            assign(model, (found | drawn).items(), dtype=np.float32, keep_half=keep_half)
        else:
            own = {name: to_raw(value) for name, value in list_values(model).items()}
            own = {name: value for name, value in own.items() if not isinstance(value, jax.ShapeDtypeStruct)}
            loaded = dict(convert_tensors(model, (found | drawn).items(), dtype=np.float32, keep_half=keep_half))
            result = model, nest({**own, **loaded}.items())
        return (result, info) if output_loading_info else result

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "5GB",
        format: str | None = None,
        **options: Any,
    ) -> None:
        """Write config.json and the weights, and the files of the tokenizer if the model was loaded with one.

        Args:
            save_directory: The folder, which is created if there is none.
            params: A nested dict as in `model.params`, to be written instead of the model's own.
            max_shard_size: The size of a file above which the weights are split, in bytes or such as "5GB".
            format: "safetensors" (the default), which transformers and the other frameworks read, "bin", "h5",
                "msgpack" or another name in `checkpoints.formats.FORMATS`.
            **options: Further options of the published classes, such as `push_to_hub` and `safe_serialization`.

        Raises:
            CheckpointError: The files cannot be written.
            ValueError: An option has a value that is not supported.
        """
        self._save_with(
            lambda: dict(tensors(self, params)), save_directory, options, max_shard_size=max_shard_size, format=format
        )

    def push_to_hub(
        self,
        repo_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        max_shard_size: int | str = "5GB",
        format: str | None = None,
        **where: Any,
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card if the repository has none.

        Args:
            repo_id: The repository, such as "name/model".
            params: As for `save_pretrained`.
            max_shard_size: As for `save_pretrained`.
            format: As for `save_pretrained`.
            **where: `token`, `private`, `revision`, `commit_message`, `commit_description` and `create_pr`, as for
                `hub.push`, and further options of `save_pretrained`.

        Returns:
            The address of the commit.
        """
        return self._push_with(
            lambda: dict(tensors(self, params)), repo_id, where, max_shard_size=max_shard_size, format=format
        )

    def frozen(self) -> FrozenModel:
        """Return a view of the model for inference, compiled for it: `roberta_flax.frozen` describes it.

        Raises:
            ValueError: Its results differ from the model's by more than rounding.
        """
        return FrozenModel(self)

    def init_cache(self, batch_size: int, max_length: int) -> Any:
        """Return an empty cache with room for `max_length` tokens, for calls that all have the same shapes.

        It is a `FixedCache`, or the nested dict of the Linen module of a class that names one.
        """
        if self._linen is not None:
            return make_linen_cache(self, batch_size, max_length)
        return make_cache(self.base_model, batch_size, max_length)

    def get_output_embeddings(self) -> Linear | Embedding | None:
        """Return the layer that scores the vocabulary, in the classes that have one; the word embeddings if tied."""
        head: Any = getattr(self, "lm_head", None)
        return None if head is None else head.decoder or self.get_input_embeddings()

    def set_input_embeddings(self, value: nnx.Embed) -> None:
        """Replace the word embeddings, and those of the language-model head if they are tied."""
        rows, size = value.embedding.shape
        words = Embedding(rows, size, self.dtype, padding_idx=self.config.pad_token_id)
        words.embedding = value.embedding
        self.base_model.embeddings.word_embeddings = words

    # The name of the published Flax classes.
    enable_gradient_checkpointing = PreTrainedBase.gradient_checkpointing_enable

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of elements of the parameters, a tied one counted once; all of them can be trained."""
        table = self._get_table().values()
        return sum(value.size for value in table if not (exclude_embeddings and value.kind is Kind.EMBEDDING))

    def to_fp32(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters as float32; those that are False in `mask` are not changed."""
        return cast(params, jnp.float32, mask)

    def to_fp16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters as float16; those that are False in `mask` are not changed."""
        return cast(params, jnp.float16, mask)

    def to_bf16(self, params: Mapping[str, Any], mask: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the parameters as bfloat16; those that are False in `mask` are not changed."""
        return cast(params, jnp.bfloat16, mask)

    @property
    def dummy_inputs(self) -> dict[str, Array]:
        """A small batch that every class accepts."""
        return {"input_ids": jnp.array([[0, 3, 2]])}
