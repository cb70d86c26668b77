"""The base of the TensorFlow classes: loading, saving, embeddings, gradient checkpointing."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Concatenate, Literal, Self, overload

import keras
import numpy as np
import tensorflow as tf

from roberta_core.config import RobertaConfig
from roberta_core.input_validation import TARGETS, check_all_labels, check_inputs
from roberta_core.outputs import FixedCache
from roberta_core.parameters import Parameter
from roberta_core.pretrained import ModelCall, P, PreTrainedBase, R, construct_with, refuse_fork
from roberta_tf.caches import make_cache, unpack_cache
from roberta_tf.calls import Graphs, bind_inputs, convert_inputs, has_own_call, is_eager_call, unpack_first
from roberta_tf.fitting import FitModel
from roberta_tf.frozen import FrozenModel
from roberta_tf.heads import LMHead
from roberta_tf.layers import Watched
from roberta_tf.own_layers import build_own, list_stored
from roberta_tf.published_methods import PublishedMethods
from roberta_tf.serving import make_serving_function, make_serving_specs, name_outputs, unwrap_variables
from roberta_tf.weights import as_concrete, assign, build, tensors

CONTEXT = ("seed", "attn_implementation", "loss_reduction", "dtype")  # settings that the models inside a class share


def typed_as(call: Callable[Concatenate[Any, P], R]) -> Callable[[Callable[..., Any]], ModelCall[P, R]]:
    """Give `model(...)` the types of `call`, for type checkers: they cannot see through Keras's base classes."""
    raise NotImplementedError


class TFRobertaPreTrainedModel(PublishedMethods, PreTrainedBase, Watched, FitModel):
    """The base of the seven classes and of a user's own, which assigns a model to `self.roberta`, then adds layers.

    Args:
        config: The configuration.
        *inputs: Accepted for compatibility and ignored.
        seed: Seed of the initial values, which are the same in every framework; None leaves the model without
            variables.
        attn_implementation: "sdpa" or "eager", which are the same in TensorFlow.
        loss_reduction: "mean" or "none" (one loss for each label).
        name: Keras's.
        dtype: Keras's: a policy such as "mixed_float16".
        trainable: Keras's.
    """

    config: RobertaConfig
    _other_format = "h5"
    _class_prefix = "TF"
    # Keras sets these where it trains, saves and evaluates.
    _unread = (*Watched._unread, "train_function", "test_function", "predict_function", "optimizer", "stop_training")
    _settings = (*PreTrainedBase._settings, "name", "trainable")

    def __init__(
        self,
        config: RobertaConfig,
        *inputs: Any,
        seed: int | None = 0,
        attn_implementation: str = "sdpa",
        loss_reduction: str = "mean",
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ):
        refuse_fork("TensorFlow")
        seed, attn_implementation, loss_reduction, dtype = self._override_settings(
            seed=seed, attn_implementation=attn_implementation, loss_reduction=loss_reduction, dtype=dtype
        )
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        self._check_config(config)
        self._set_options(attn_implementation, loss_reduction)
        self.config = config
        self.seed = seed
        self._graphs = Graphs(self)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute what `call` describes; the first argument may also be a dict or a list of the inputs."""
        refuse_fork("TensorFlow")
        if has_own_call(type(self)):
            args, kwargs = unpack_first(self._call_signature, args, kwargs)
            return super().__call__(*args, **kwargs)
        arguments = convert_inputs(bind_inputs(self._call_signature, args, kwargs), self.variable_dtype)
        call = super().__call__
        return self._graphs.run(call, arguments) if is_eager_call(self, arguments) else call(**arguments)

    @contextmanager
    def _layer_context(self) -> Iterator[None]:
        """Make layers with the dtype policy of the model; their variables come once, from a seed or a checkpoint."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)

    def _get_tensors(self) -> dict[str, np.ndarray]:
        return dict(tensors(self))

    def _assign(self, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
        assign(self, tensors)

    def _list_stored(self) -> dict[str, Any]:
        """Return the variables by name; those of a user's class are made first."""
        if self._is_own():
            build_own(self)
        return list_stored(self)

    def _list_parameters(self) -> dict[str, Parameter]:
        return {name: stored.row for name, stored in self._list_stored().items()}

    def build(self, input_shape: Any = None) -> None:
        """Make the variables that are missing; their shapes follow from the configuration."""
        build(self)

    def __dir__(self) -> list[str]:
        """List the attributes but `base_model`: Keras saves the layers it finds here, and would find the body twice."""
        return [name for name in super().__dir__() if name != "base_model"]

    def __init_subclass__(cls, **kwargs: Any):
        """Let Keras find the class again when it loads a model."""
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("roberta_tf")(cls)

    @cached_property
    def _call_signature(self) -> inspect.Signature:
        return inspect.signature(self.call)

    def _check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Raise `ValueError` for inputs that the model cannot accept, as far as their values can be read."""
        values = {name: as_concrete(value) for name, value in self._to_body_inputs(inputs).items()}
        past, filled, _ = unpack_cache(inputs.get("past_key_values"))
        cached_length = past[0][0].shape[2] if past else 0
        lengths = (cached_length, None) if filled is None else (int(filled), cached_length)
        check_inputs(self.config, {**values, "past_key_values": past}, *lengths)
        targets = {name: as_concrete(inputs.get(name)) for name in TARGETS}
        check_all_labels(self.config, self.architecture, {**inputs, **targets})

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the inputs as the body receives them."""
        return inputs

    @classmethod
    def from_config(cls, config: RobertaConfig | dict[str, Any], custom_objects: Any = None, **settings: Any) -> Self:
        """Return a new model.

        Args:
            config: The configuration, or what `get_config` returned.
            custom_objects: Keras's, and ignored.
            **settings: Keyword arguments of the constructor.
        """
        if isinstance(config, RobertaConfig):
            return cls(config, **settings)
        if cls._is_own():
            accepted = inspect.signature(cls.__init__).parameters
            named = {name: value for name, value in config.items() if name in accepted and name != "config"}
            others = {name: value for name, value in config.items() if name not in accepted}
            with construct_with({name: others[name] for name in CONTEXT if name in others}):
                model = cls(RobertaConfig.from_dict(config["config"]), **named, **settings)
            build_own(model)  # or Keras would skip the values of layers without variables
            return model
        return cls(**{**config, "config": RobertaConfig.from_dict(config["config"]), **settings})

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, which Keras stores to build the model again."""
        settings = {name: getattr(self, name) for name in ("seed", "attn_implementation", "loss_reduction")}
        kept = {name: value for name, value in super().get_config().items() if name in ("name", "dtype", "trainable")}
        return {"config": self.config.to_dict(), **settings, **kept}

    @property
    def _default_save_signature(self) -> Any:
        """The signature `serving_default` of `tf.saved_model.save`; None if a user's call has other inputs."""
        return make_serving_function(self)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        children = super()._trackable_children(save_type, **kwargs)
        return unwrap_variables(children, {}) if save_type == "savedmodel" else children

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export the forward pass as a SavedModel that serves ids, masks and token types of any batch size and length.

        TensorFlow Serving runs and TFLite converts this form and that of `tf.saved_model.save`, which is half as large.

        Args:
            filepath: The folder.
            format: Keras's: "tf_saved_model" or another format that it knows.
            verbose: Whether to print a summary.
            input_signature: The inputs of the endpoint; None means `input_ids`, `attention_mask` and
                `token_type_ids` as int32 of shape [None, None].
            **kwargs: Further arguments of `keras.Model.export`.
        """
        specs = make_serving_specs(self)
        signature = [specs] if input_signature is None and specs else input_signature
        if format == "tf_saved_model" and signature is not None:
            archive: Any = keras.export.ExportArchive()
            archive.track(self)
            archive.add_endpoint("serve", lambda *inputs: name_outputs(self(*inputs)), signature, **kwargs)
            archive.write_out(os.fspath(filepath), verbose=verbose is not False)
            return
        object.__setattr__(self, "_called", True)  # Keras would ask for a call, to guess the inputs
        super().export(os.fspath(filepath), format, verbose, signature, **kwargs)

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
        dtype: Any = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool | None = None,
        from_pt: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load the model of a checkpoint.

        Variables are copied once from the mapped file.

        Args:
            pretrained_model_name_or_path: A folder, the name of an embedded model, or a repository on the Hub.
            *model_args: Further positional arguments of the constructor of a user's class.
            config: The configuration, or where to load it from; None means the checkpoint's.
            dtype: A Keras policy, such as "mixed_bfloat16".
            seed: Seed of the variables that the checkpoint lacks, such as a new head; the log names them.
            ignore_mismatched_sizes: Draw tensors whose shapes differ from the model's, instead of refusing them.
            output_loading_info: Also return the names of missing, unexpected and mismatched tensors.
            add_pooling_layer: Whether the body has a pooler; None means as published for the class.
            from_pt: Accepted for compatibility and ignored; the format is detected.
            **kwargs: Settings of the constructor, options of the download (`checkpoints.resolve`), and fields of the
                configuration to override.

        Returns:
            The model, or (model, loading information).

        Raises:
            OSError: There is no such checkpoint.
            CheckpointError: The checkpoint does not fit the model.
        """
        settings = {} if add_pooling_layer is None else {"add_pooling_layer": add_pooling_layer}
        source, settings = pretrained_model_name_or_path, {**settings, "dtype": dtype}
        model, found, drawn, info = cls._load(
            source, config, seed, ignore_mismatched_sizes, kwargs, model_args, **settings
        )
        assign(model, (found | drawn).items())
        return (model, info) if output_loading_info else model

    def frozen(self) -> FrozenModel:
        """Return a view of the model for inference, with fused operations: `roberta_tf.frozen` describes it.

        Raises:
            ValueError: Its results differ from the model's by more than rounding.
        """
        return FrozenModel(self)

    def init_cache(self, batch_size: int, max_length: int) -> FixedCache:
        """Return an empty cache with room for `max_length` tokens, for calls that all have the same shapes."""
        return make_cache(self.base_model, batch_size, max_length)

    def get_output_embeddings(self) -> keras.layers.Layer | None:
        """Return the layer that scores the vocabulary, in the classes that have one; the word embeddings if tied."""
        head: Any = getattr(self, "lm_head", None)
        return head.decoder or self.get_input_embeddings() if isinstance(head, LMHead) else None

    def set_input_embeddings(self, value: keras.layers.Embedding | tf.Tensor) -> None:
        """Copy the word embeddings from another layer or table [V, D]; a tied language-model head uses them too."""
        values = np.asarray(getattr(value, "embeddings", value))
        self.resize_token_embeddings(len(values))
        name = next(name for name, _ in tensors(self) if name.endswith("word_embeddings.weight"))
        assign(self, [(name, values)])

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of elements of the variables, a tied one counted once."""
        layers = self._flatten_layers()
        tables = {id(layer.embeddings) for layer in layers if isinstance(layer, keras.layers.Embedding)}
        return sum(
            value.shape.num_elements()
            for value in (self.trainable_weights if only_trainable else self.weights)
            if not (exclude_embeddings and id(value) in tables)
        )

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """A small batch that every class accepts."""
        return {"input_ids": tf.constant([[0, 3, 2]])}
