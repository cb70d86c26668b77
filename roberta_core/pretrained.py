"""The half of a pretrained model that needs no framework: options, loading, saving, changes of size.

A framework's base class inherits `PreTrainedBase` and supplies `_get_tensors` and `_assign`.
"""

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, Literal, ParamSpec, Protocol, Self, TypeVar, overload

import numpy as np

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.checkpoints.card import build_card
from roberta_core.checkpoints.load_options import AUTO, find_stored_dtype, refuse_unsupported
from roberta_core.checkpoints.save_options import read_save_options
from roberta_core.checkpoints.source import MODEL, resolve
from roberta_core.config import RobertaConfig
from roberta_core.generation_config import NAME, GenerationConfig, read_generation_config
from roberta_core.model_methods import ATTENTIONS, ModelMethods
from roberta_core.outputs import ModelOutput
from roberta_core.parameters import BASE_PREFIX, BODY, Parameter, draw, parameters
from roberta_core.surgery import Surgery, prune_heads, resize_token_types, resize_vocabulary

logger = logging.getLogger(__name__)

REDUCTIONS = ("mean", "none")

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
OutputT = TypeVar("OutputT", bound=ModelOutput[Any])


class ModelCall(Protocol[P, R]):
    """The type of `model(...)`: the forward pass, which returns a tuple if `return_dict` is False."""

    @overload
    def __call__(self, *args: Any, return_dict: Literal[False], **kwargs: Any) -> tuple[Any, ...]: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


# Settings that `from_pretrained` gives the models that the constructor of a user's class makes.
_construction: ContextVar[Mapping[str, Any] | None] = ContextVar("construction", default=None)


@contextmanager
def construct_with(settings: Mapping[str, Any] | None) -> Iterator[None]:
    """Give every model made inside these settings."""
    token = _construction.set(settings)
    try:
        yield
    finally:
        _construction.reset(token)


class ConfigField:
    """An attribute that has the value of the configuration until a user's class sets it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        own = vars(model)
        return own[self.name] if self.name in own else getattr(model.config, self.name)

    def __set__(self, model: Any, value: Any) -> None:
        vars(model)[self.name] = value


_first_processes: dict[str, int] = {}  # by framework: the process that built the first model


def refuse_fork(framework: str) -> None:
    """Raise `RuntimeError` in a process forked from one that used the framework: its threads are gone, and it hangs."""
    if _first_processes.setdefault(framework, os.getpid()) != os.getpid():
        raise RuntimeError(
            f"{framework} was in use when this process was forked, and would hang here. Start processes with "
            'multiprocessing.get_context("spawn"), or load the model only in the new process.'
        )


class PreTrainedBase(ModelMethods):
    """The base of the base classes of the frameworks."""

    config_class = RobertaConfig
    base_model_prefix = "roberta"
    architecture: ClassVar[str] = BODY
    num_labels = ConfigField()
    config: Any
    seed: int | None
    attn_implementation: str
    loss_reduction: str
    _other_format: ClassVar[str]  # that the published class writes with safe_serialization=False
    _folder: Path | None = None  # that the model was loaded from
    _generation: Any = None  # the generation configuration, once it was read or set
    _loads_state_dict: ClassVar[bool] = False  # whether `from_pretrained` accepts tensors instead of a checkpoint
    _class_prefix: ClassVar[str] = ""  # before the names of the framework's classes
    _without_values: ClassVar[Mapping[str, Any]] = {"seed": None}  # the settings that leave a new model without values
    _settings: ClassVar[tuple[str, ...]] = ("attn_implementation", "loss_reduction")  # that `from_pretrained` passes on

    def _get_tensors(self) -> Mapping[str, np.ndarray]:
        """Return the parameters by their published names."""
        raise NotImplementedError

    def _assign(self, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
        """Make arrays the parameters, by their published names."""
        raise NotImplementedError

    def _list_parameters(self) -> Mapping[str, Parameter]:
        """Return every tensor that the model stores, by name."""
        raise NotImplementedError

    @classmethod
    def _is_own(cls) -> bool:
        """Return whether a user wrote the class: each of the published ones names its architecture."""
        return "architecture" not in vars(cls)

    def _get_architecture(self) -> str:
        """Return the class whose published tensors the model has. Raises `ValueError` if it has no body."""
        if self.architecture != BODY:
            return self.architecture
        if not isinstance(getattr(self, "roberta", None), PreTrainedBase):
            raise ValueError(
                f"{type(self).__name__} has no model as self.roberta: assign one in its constructor, such as "
                "RobertaModel(config), so that the tensors of the body have their published names."
            )
        head = type(getattr(self, "lm_head", None))
        return "ForMaskedLM" if head.__name__ == "LMHead" and head.__module__.startswith("roberta_") else BODY

    def _get_table(self, whole: bool = False) -> dict[str, Parameter]:
        """Return the tensors of the model by name: the published ones and those of the layers that a user added.

        `whole` also looks for added layers where the class is a published one.
        """
        architecture = self._get_architecture()
        published = parameters(self.config, architecture, self.has_pooler)
        if not (whole or self._is_own()):
            return published
        present, body = self._list_parameters(), "" if architecture == "Model" else BASE_PREFIX
        kept = {
            name: row
            for name, row in published.items()
            if not self._is_own() or name.startswith(body) or (name in present and present[name].shape == row.shape)
        }
        return {**kept, **{name: row for name, row in present.items() if name not in kept}}

    def _check_config(self, config: Any) -> None:
        """Validate the configuration. Raises `TypeError` for a name or a path, which only `from_pretrained` accepts."""
        if isinstance(config, str | os.PathLike):
            name = type(self).__name__
            raise TypeError(
                f"config is {config!r}, but {name}() accepts only a RobertaConfig. To load a checkpoint, call "
                f'{name}.from_pretrained("{config}").'
            )
        config.validate()

    def _set_options(self, attn_implementation: str, loss_reduction: str) -> None:
        """Set the options of the computation. Raises `ValueError` for an unknown value."""
        for name, value, known in (
            ("attn_implementation", attn_implementation, ATTENTIONS),
            ("loss_reduction", loss_reduction, REDUCTIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        self.attn_implementation, self.loss_reduction = attn_implementation, loss_reduction

    def _body_settings(self) -> dict[str, Any]:
        """Return the settings that a class with a head gives the Model inside it."""
        options = {"attn_implementation": self.attn_implementation, "loss_reduction": self.loss_reduction}
        return {**self._without_values, **options}

    def _build_body(self, model: Any, add_pooling_layer: bool = False) -> Any:
        """Return the Model inside a class with a head, without values: those are set once for the whole class."""
        return model(self.config, add_pooling_layer=add_pooling_layer, **self._body_settings())

    def _initialise(self) -> None:
        """Draw the initial value of every parameter from the seed."""
        if self.seed is not None:
            self._assign(draw(self.config, self.architecture, self.seed, self.has_pooler))
        self.tie_weights()

    def _override_settings(self, **settings: Any) -> Any:
        """Return the settings of a constructor, those that `from_pretrained` gives a user's class first."""
        return tuple({**settings, **(_construction.get() or {})}[name] for name in settings)

    def tie_weights(self) -> None:
        """Tie the output embeddings to the word embeddings; nothing to do where the head reads the word embeddings."""

    @property
    def has_pooler(self) -> bool:
        """Whether the body has a pooler."""
        return self.base_model.pooler is not None

    @property
    def generation_config(self) -> Any:
        """The defaults of `generate`, whose attributes can be set; None in the classes without `generate`."""
        if self._generation is None and self.can_generate():
            self._generation = GenerationConfig.from_model_config(self.config)
        if isinstance(self._generation, GenerationConfig):
            self._generation.follow(self.config)
        return self._generation

    @generation_config.setter
    def generation_config(self, value: Any) -> None:
        self._generation = value

    @property
    def base_model(self) -> Any:
        """The Model inside a class with a head, or the model itself."""
        return getattr(self, self.base_model_prefix, self)

    @classmethod
    def from_config(cls, config: RobertaConfig, **settings: Any) -> Self:
        """Return a new model.

        Args:
            config: The configuration.
            **settings: Keyword arguments of the constructor.
        """
        return cls(config, **settings)  # pyright: ignore[reportCallIssue]  # the constructor is the framework's

    @classmethod
    def _load(
        cls,
        source: str | os.PathLike[str] | None,
        config: RobertaConfig | str | os.PathLike[str] | None,
        seed: int,
        ignore_mismatched_sizes: bool,
        arguments: dict[str, Any],
        inputs: tuple[Any, ...] = (),
        tensors: Mapping[str, np.ndarray] | None = None,
        **settings: Any,
    ) -> tuple[Self, dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]]:
        """Return a model without values, the tensors of a checkpoint, the drawn ones, and the loading information.

        `arguments` are the other keyword arguments of `from_pretrained`: settings of the constructor, options of the
        download, and fields of the configuration. `inputs` are positional arguments of a user's constructor. `tensors`
        are read instead of the weights of the checkpoint, which may then be None.
        """
        refuse_unsupported(arguments)
        generation = arguments.pop("generation_config", None)
        strip_prefix = arguments.pop("strip_prefix", "")
        where = hub.pop_options(arguments)
        folder = cls._locate(source, config, tensors, where)
        settings |= {name: arguments.pop(name) for name in cls._settings if name in arguments}
        own_arguments = cls._pop_own_arguments(arguments)
        chosen: RobertaConfig | None
        if isinstance(config, str | os.PathLike):
            chosen = RobertaConfig.from_pretrained(config, **arguments)
            arguments.clear()
        else:
            chosen = config
        if chosen is not None and arguments:
            raise TypeError(f"from_pretrained got config and also {', '.join(arguments)}; set these fields in config.")

        def read() -> tuple[RobertaConfig, Self, dict[str, np.ndarray], checkpoints.LoadReport]:
            prefix = {"strip_prefix": strip_prefix}
            stored = read_generation_config(folder) if source is not None and cls.can_generate() else None
            own = chosen or RobertaConfig.from_pretrained(folder, _name_or_path=str(source), **prefix, **arguments)
            auto = {"dtype": find_stored_dtype(folder, own)} if str(settings.get("dtype")) == AUTO else {}
            model = cls._construct(own, inputs, own_arguments, {**cls._without_values, **settings, **auto})
            model._generation = stored if generation is None else generation
            found, report = checkpoints.load(
                folder,
                own,
                model._get_architecture(),
                pooler=model.has_pooler,
                ignore_mismatched_sizes=ignore_mismatched_sizes,
                strip_prefix=strip_prefix,
                table=model._get_table(),
                class_name=cls.__name__ if cls._is_own() else "",
                tensors=tensors,
            )
            return own, model, found, report

        own, model, found, report = read() if source is None else checkpoints.read_consistently(folder, read)
        model._folder = None if source is None else folder
        for sentence in report.sentences():
            logger.warning("%s", sentence)
        new = set(report.new) - set(report.own)
        drawn = dict(draw(own, model._get_architecture(), seed, model.has_pooler, only=new))
        return model, found, drawn, report.as_dict()

    @classmethod
    def _locate(cls, source: Any, config: Any, tensors: Any, where: dict[str, Any]) -> Path:
        """Return the folder of a checkpoint; a name for the messages if there is none. `ValueError` if it is needed."""
        if source is not None:
            return resolve(source, (*MODEL, "generation") if cls.can_generate() else MODEL, **where)
        if config is None or tensors is None:
            more = " In PyTorch, config and state_dict together take its place." if cls._loads_state_dict else ""
            raise ValueError(
                "pretrained_model_name_or_path is None: name a folder, an embedded model or a repository on the Hub."
                + more
            )
        return Path("state_dict")

    @classmethod
    def _pop_own_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Remove and return the arguments of a user's constructor: what it names, and no field of a configuration."""
        if not cls._is_own():
            return {}
        accepted, fields = inspect.signature(cls.__init__).parameters, vars(RobertaConfig())
        loose = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        names = [name for name in arguments if name in accepted or (loose and name not in fields)]
        return {name: arguments.pop(name) for name in names if name != "num_labels" or name in accepted}

    @classmethod
    def _construct(
        cls, config: RobertaConfig, inputs: tuple[Any, ...], arguments: dict[str, Any], settings: dict[str, Any]
    ) -> Self:
        """Return a model without values; a user's constructor need not accept the settings."""
        if not cls._is_own():
            with construct_with(None):
                return cls.from_config(config, **settings)
        named = {name: settings.pop(name) for name in ("add_pooling_layer", "name", "trainable") if name in settings}
        with construct_with(settings):
            return cls(config, *inputs, **named, **arguments)  # pyright: ignore[reportCallIssue]

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        max_shard_size: int | str = "5GB",
        format: str | None = None,
        **options: Any,
    ) -> None:
        """Write config.json and the weights, and the files of the tokenizer if the model was loaded with one.

        Args:
            save_directory: The folder, which is created if there is none.
            max_shard_size: The size of a file above which the weights are split, in bytes or such as "5GB".
            format: "safetensors" (the default), which transformers and the other frameworks read, "bin", "h5",
                "msgpack" or another name in `checkpoints.formats.FORMATS`.
            **options: Further options of the published classes, such as `push_to_hub` and `safe_serialization`.

        Raises:
            CheckpointError: The files cannot be written.
            ValueError: An option has a value that is not supported.
        """
        self._save_with(self._get_tensors, save_directory, options, max_shard_size=max_shard_size, format=format)

    def _save_with(
        self,
        get_tensors: Callable[[], Mapping[str, np.ndarray]],
        folder: str | os.PathLike[str],
        options: dict[str, Any],
        *,
        max_shard_size: int | str,
        format: str | None,
    ) -> None:
        """Save the tensors with the options of `save_pretrained`, and upload them if that is requested."""
        made = read_save_options(options, format, self._other_format)
        if not made.is_main_process:
            return
        tensors = get_tensors()
        self._save(folder, tensors, max_shard_size=max_shard_size, format=made.format)
        if made.push_to_hub:
            name = made.repo_id or Path(folder).resolve().name
            self._push(name, tensors, made.upload, max_shard_size=max_shard_size, format=made.format)

    def _save(self, folder: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], **options: Any) -> None:
        carried, architecture = hub.read_carried_files(self._folder, Path(folder)), self._get_architecture()
        if self.generation_config is not None:
            carried[NAME] = self._describe_generation().encode()
        table = self._get_table(whole=True)
        published = table == parameters(self.config, architecture, self.has_pooler) and self.architecture != BODY
        name = "" if published else type(self).__name__.removeprefix(self._class_prefix)
        checkpoints.save(
            folder, self.config, architecture, tensors, carried=carried, table=table, class_name=name, **options
        )

    def _describe_generation(self) -> str:
        """Return the text of generation_config.json; the option may also be an object of transformers or a dict."""
        given = self.generation_config
        read = getattr(given, "to_diff_dict", None)
        return GenerationConfig(**(read() if read else given)).to_json_string()

    def push_to_hub(
        self, repo_id: str, *, max_shard_size: int | str = "5GB", format: str | None = None, **where: Any
    ) -> str:
        """Upload what `save_pretrained` writes, with a model card if the repository has none.

        Args:
            repo_id: The repository, such as "name/model".
            max_shard_size: As for `save_pretrained`.
            format: As for `save_pretrained`.
            **where: `token`, `private`, `revision`, `commit_message`, `commit_description` and `create_pr`, as for
                `hub.push`, and further options of `save_pretrained`.

        Returns:
            The address of the commit.
        """
        return self._push_with(self._get_tensors, repo_id, where, max_shard_size=max_shard_size, format=format)

    def _push_with(
        self,
        get_tensors: Callable[[], Mapping[str, np.ndarray]],
        repo_id: str,
        where: dict[str, Any],
        *,
        max_shard_size: int | str,
        format: str | None,
    ) -> str:
        """Upload the tensors with the options of `push_to_hub`."""
        made = read_save_options(where, format, self._other_format)
        return self._push(repo_id, get_tensors(), made.upload, max_shard_size=max_shard_size, format=made.format)

    def _push(self, repo_id: str, tensors: Mapping[str, np.ndarray], where: dict[str, Any], **options: Any) -> str:
        size = sum(array.size for array in tensors.values())
        architecture = "Model" if self.architecture == BODY else self.architecture
        tags = getattr(self, "model_tags", None) or ()
        text = build_card(repo_id, self.config, architecture, size, options["format"], tags)

        def save(folder: Path) -> None:
            self._save(folder, tensors, **options)

        return hub.push(repo_id, save, text, options["format"], **where)

    def _resolve_option(self, name: str, value: bool | None) -> bool:
        """Return an option of a call: the argument, or the configuration's if it is None."""
        return bool(getattr(self.config, name) if value is None else value)

    def _resolve_use_cache(self, use_cache: bool | None) -> bool:
        """Return whether a call returns the key/value cache (decoders only)."""
        if use_cache and not self.config.is_decoder:
            raise ValueError("use_cache=True needs a decoder: is_decoder=True in the configuration")
        return self.config.is_decoder and self._resolve_option("use_cache", use_cache)

    def _pack_output(
        self, kind: type[OutputT], return_dict: bool | None, body: Mapping[str, Any] | None = None, **fields: Any
    ) -> OutputT:
        """Return an output of a class, with the further fields of the body's; a tuple if `return_dict` is False."""
        inherited = {name: value for name, value in (body or {}).items() if name in kind.fields}
        made: Any = kind({**inherited, **fields})
        return made if self._resolve_option("return_dict", return_dict) else made.to_tuple()

    def get_input_embeddings(self) -> Any:
        """Return the word embeddings."""
        return self.base_model.embeddings.word_embeddings

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = False
    ) -> Any:
        """Resize the vocabulary: the first rows are kept, new ones are drawn, new biases are 0.

        Args:
            new_num_tokens: The new size; None means the present one.
            pad_to_multiple_of: Round the size up to a multiple of this.
            mean_resizing: Only False is supported, which draws new rows as for a new model.

        Returns:
            The word embeddings.

        Raises:
            ValueError: The size is not positive, or the row of the padding token would be removed.
        """
        if mean_resizing:
            raise ValueError("mean_resizing=True draws new words around the old ones; here they are drawn as at first")
        if new_num_tokens is not None or pad_to_multiple_of is not None:
            size = self.config.vocab_size if new_num_tokens is None else new_num_tokens
            self._apply_surgery(resize_vocabulary, size, pad_to_multiple_of, self.seed or 0)
        return self.get_input_embeddings()

    def resize_token_type_embeddings(self, size: int) -> Any:
        """Resize the table of token types: the first rows are kept, new ones are copies of row 0. Return the table."""
        self._apply_surgery(resize_token_types, size)
        return self.base_model.embeddings.token_type_embeddings

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove self-attention heads, {layer: [head, ...]}, numbered as in the unpruned model."""
        self._apply_surgery(prune_heads, heads_to_prune)

    def _apply_surgery(self, operation: Callable[..., Surgery], *arguments: Any) -> None:
        """Take over the configuration and the tensors that a change of size gives."""
        surgery = operation(self.config, self._get_architecture(), self._get_tensors(), *arguments)
        vars(self.config).update(vars(surgery.config))
        self._assign(surgery.tensors.items())
        self.tie_weights()

    def gradient_checkpointing_enable(self) -> None:
        """Keep only the input of each layer for the backward pass, and recompute the rest."""
        self.base_model.encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep everything that the backward pass needs."""
        self.base_model.encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward pass recomputes the layers."""
        return self.base_model.encoder.gradient_checkpointing
