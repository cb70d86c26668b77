"""What the TensorFlow classes have in common: being built, loaded, saved and asked about."""

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.checkpoints.card import card
from roberta_core.checkpoints.source import resolve
from roberta_core.config import RobertaConfig
from roberta_core.input_validation import TARGETS, check_all_labels, check_inputs
from roberta_core.outputs import FixedCache, ModelOutput
from roberta_core.parameters import draw
from roberta_core.surgery import Surgery, prune_heads, resize_token_types, resize_vocabulary
from roberta_tf.caches import make_cache, unpack_cache
from roberta_tf.calls import Graphs, bind_inputs, convert_inputs, is_eager_call
from roberta_tf.fitting import FitModel
from roberta_tf.weights import as_concrete, assign, build, tensors

logger = logging.getLogger(__name__)

ATTENTIONS = ("sdpa", "eager")
REDUCTIONS = ("mean", "none")


class TFRobertaPreTrainedModel(FitModel):
    """The base of the seven classes. Each names its `architecture`, the class name without its prefix.

    `attn_implementation` is "sdpa" or "eager", which are one in TensorFlow; `loss_reduction` "mean" or "none" (one loss
    a label). A new model is drawn from `seed`, the same in every framework; seed None leaves it without variables.
    `name`, `dtype` (a policy such as "mixed_float16") and `trainable` are Keras's own.
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
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, dtype=dtype, trainable=trainable, autocast=False)
        config.validate()
        for setting, value, known in (
            ("attn_implementation", attn_implementation, ATTENTIONS),
            ("loss_reduction", loss_reduction, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(f"{setting} is {value!r}; known are {', '.join(known)}")
        self.config = config
        self.seed = seed
        self.attn_implementation, self.loss_reduction = attn_implementation, loss_reduction
        self._graphs = Graphs(self)

    @contextmanager
    def _layer_context(self) -> Iterator[None]:
        """Layers are made with the model's dtype policy; their variables come once, from a seed or a checkpoint."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(policy)

    def _build_body(self, model: Any, add_pooling_layer: bool = False) -> Any:
        """The Model inside a class with a head, without values of its own."""
        settings = {"attn_implementation": self.attn_implementation, "loss_reduction": self.loss_reduction}
        return model(self.config, add_pooling_layer=add_pooling_layer, seed=None, **settings)

    def _initialise(self) -> None:
        """Give every variable its first value, drawn from the seed."""
        if self.seed is not None:
            assign(self, draw(self.config, self.architecture, self.seed, self.has_pooler))

    def build(self, input_shape: Any = None) -> None:
        """Make the variables that are not there yet; their shapes follow from the configuration."""
        build(self)

    @property
    def has_pooler(self) -> bool:
        """Whether the body has a pooler."""
        return self.base_model.pooler is not None

    @property
    def base_model(self) -> Any:
        """The Model inside, or itself."""
        return getattr(self, self.base_model_prefix, self)

    def __dir__(self) -> list[str]:
        """Keras saves the layers that `dir` names, and by this second name it would find the body inside itself."""
        return [name for name in super().__dir__() if name != "base_model"]

    def __init_subclass__(cls, **kwargs: Any):
        """Let Keras find the class again when it loads a model."""
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("roberta_tf")(cls)

    @cached_property
    def _call_signature(self) -> inspect.Signature:
        """The arguments of a call."""
        return inspect.signature(self.call)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A call as `call` describes it; the first argument may also be a dict or a list of the inputs."""
        arguments = convert_inputs(bind_inputs(self._call_signature, args, kwargs), self.variable_dtype)
        call = super().__call__
        return self._graphs.run(call, arguments) if is_eager_call(self, arguments) else call(**arguments)

    def _check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Raise `ValueError` for inputs that cannot be, as far as their values can be read: a graph sees none."""
        values = {name: as_concrete(value) for name, value in self._to_body_inputs(inputs).items()}
        past, filled = unpack_cache(inputs.get("past_key_values"))
        cached_length = past[0][0].shape[2] if past else 0
        lengths = (cached_length, None) if filled is None else (int(filled), cached_length)
        check_inputs(self.config, {**values, "past_key_values": past}, *lengths)
        targets = {name: as_concrete(inputs.get(name)) for name in TARGETS}
        check_all_labels(self.config, self.architecture, {**inputs, **targets})

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs as the body gets them."""
        return inputs

    @classmethod
    def from_config(cls, config: RobertaConfig | dict[str, Any], custom_objects: Any = None, **settings: Any) -> Self:
        """A new model of a configuration; `settings` are those of the constructor. Also of what `get_config` gave."""
        if isinstance(config, RobertaConfig):
            return cls(config, **settings)
        return cls(**{**config, "config": RobertaConfig.from_dict(config["config"]), **settings})

    def get_config(self) -> dict[str, Any]:
        """What Keras stores to build the model again: the arguments of the constructor."""
        settings = {name: getattr(self, name) for name in ("seed", "attn_implementation", "loss_reduction")}
        kept = {name: value for name, value in super().get_config().items() if name in ("name", "dtype", "trainable")}
        return {"config": self.config.to_dict(), **settings, **kept}

    @property
    def _default_save_signature(self) -> None:
        """None: a model takes more than Keras would guess from one shape."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: RobertaConfig | None = None,
        dtype: Any = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool | None = None,
        from_pt: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model of a checkpoint: a folder, the name of an embedded model, or one on the Hub.

        Variables are copied once from the mapped file; `dtype` is a Keras policy, such as "mixed_bfloat16".
        What the checkpoint lacks, such as a new head, is drawn from `seed` and named in the log. Other keyword
        arguments are the constructor's settings, say how to come by a repository (`checkpoints.resolve`) or override
        fields of the configuration. Every framework's files are read, so `from_pt` says nothing. `OSError` if there is
        no such checkpoint, `CheckpointError` if it does not fit.
        """
        folder = resolve(pretrained_model_name_or_path, **hub.options(kwargs))
        known = ("attn_implementation", "loss_reduction", "name", "trainable")
        settings = {name: kwargs.pop(name) for name in known if name in kwargs}
        if add_pooling_layer is not None:
            settings["add_pooling_layer"] = add_pooling_layer
        model = cls(
            config or RobertaConfig.from_pretrained(folder, _name_or_path=str(pretrained_model_name_or_path), **kwargs),
            seed=None,
            dtype=dtype,
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
        assign(model, found.items())
        model.folder = folder
        for sentence in report.sentences():
            logger.warning("%s", sentence)
        return (model, report.as_dict()) if output_loading_info else model

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
        """A class's output, with the body's further fields; as a tuple if `return_dict` or the configuration say so.

        Keras has an `output` of its own, so the name is another one here.
        """
        inherited = {name: value for name, value in (body or {}).items() if name in kind.fields}
        made = kind({**inherited, **fields})
        return made if self._resolve_option("return_dict", return_dict) else made.to_tuple()

    def get_input_embeddings(self) -> keras.layers.Embedding:
        """The word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def get_output_embeddings(self) -> keras.layers.Layer | None:
        """The layer that scores the vocabulary, in the classes that have one: where it is tied, the word embeddings."""
        if not hasattr(self, "lm_head"):
            return None
        return self.get_input_embeddings() if self.lm_head.decoder is None else self.lm_head.decoder

    def set_input_embeddings(self, embeddings: keras.layers.Embedding) -> None:
        """Take over the word embeddings of another table, for the language-model head too if it is tied."""
        self.resize_token_embeddings(embeddings.input_dim)
        name = next(name for name, _ in tensors(self) if name.endswith("word_embeddings.weight"))
        values: Any = embeddings.embeddings
        assign(self, [(name, values.numpy())])

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None
    ) -> keras.layers.Embedding:
        """Give the vocabulary another size: first words stay, new ones are drawn, new biases are 0."""
        if new_num_tokens is not None or pad_to_multiple_of is not None:
            size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
            self._become(resize_vocabulary, size, pad_to_multiple_of, self.seed or 0)
        return self.get_input_embeddings()

    def resize_token_type_embeddings(self, size: int) -> keras.layers.Embedding:
        """Give the token types another number: new ones begin as copies of the first."""
        self._become(resize_token_types, size)
        return self.base_model.embeddings.token_type_embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Take self-attention heads out, {layer: [head, ...]}, counted as in the whole model."""
        self._become(prune_heads, heads_to_prune)

    def _become(self, operation: Callable[..., Surgery], *arguments: Any) -> None:
        """Take over the configuration and the tensors that an operation of the core changes; compile anew after it."""
        surgery = operation(self.config, self.architecture, dict(tensors(self)), *arguments)
        vars(self.config).update(vars(surgery.config))
        assign(self, surgery.tensors.items())

    def gradient_checkpointing_enable(self) -> None:
        """Keep only each layer's input for the backward pass, and compute the rest again."""
        self.base_model.encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep all that the backward pass needs."""
        self.base_model.encoder.gradient_checkpointing = False

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """How many numbers the parameters hold, a tied one counted once."""
        layers = self._flatten_layers()
        tables = {id(layer.embeddings) for layer in layers if isinstance(layer, keras.layers.Embedding)}
        return sum(
            value.shape.num_elements()
            for value in (self.trainable_weights if only_trainable else self.weights)
            if not (exclude_embeddings and id(value) in tables)
        )

    @property
    def dummy_inputs(self) -> dict[str, tf.Tensor]:
        """A small batch that any of the classes takes."""
        return {"input_ids": tf.constant([[0, 3, 2]])}
