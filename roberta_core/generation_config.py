"""The defaults of `generate` that a model has, and generation_config.json, which stores them with a checkpoint."""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from roberta_core.checkpoints import config_file, hub
from roberta_core.checkpoints.source import resolve
from roberta_core.safe_files import read_json_object

NAME = "generation_config.json"
# The options that `generate` accepts, by their published names and defaults.
DEFAULTS: dict[str, Any] = {
    "max_length": 20,
    "max_new_tokens": None,
    "min_new_tokens": None,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "num_beams": 1,
    "length_penalty": 1.0,
    "early_stopping": False,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "output_scores": False,
    "return_dict_in_generate": False,
    "use_cache": True,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


class GenerationConfig:
    """Defaults of `generate`, as attributes with the names of its arguments.

    Args:
        **options: Values of the attributes. Options of the published class that `generate` lacks are stored and
            written; `generate` refuses them.

    Example:
        >>> from roberta_core import GenerationConfig
        >>> GenerationConfig(max_new_tokens=5).to_diff_dict()
        {'max_new_tokens': 5}
    """

    def __init__(self, **options: Any):
        for name in options:
            if name == "_origin" or hasattr(type(self), name):
                raise ValueError(f"{name!r:.80} cannot be an option of generate: remove it from the options")
        self._origin: dict[str, Any] | None = None  # the values that a model's configuration gave
        vars(self).update({**DEFAULTS, **options})

    @classmethod
    def from_model_config(cls, model_config: Any) -> Self:
        """Return the options that a model's configuration states; they change with it until they are set."""
        made = cls()
        made._origin = {}
        made.follow(model_config)
        return made

    def follow(self, model_config: Any) -> None:
        """Take over the options of a model's configuration, except those that were set since `from_model_config`."""
        if self._origin is None:
            return
        given = {name: getattr(model_config, name, None) for name in DEFAULTS}
        found, present = {name: value for name, value in given.items() if value is not None}, self.to_dict()
        for name, default in DEFAULTS.items():
            if present.get(name) == self._origin.get(name, default):
                setattr(self, name, found.get(name, default))
        self._origin = found

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Self:
        """Return the options of a dict; keyword arguments override them."""
        return cls(**{**config_dict, **kwargs})

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name: str | os.PathLike[str], config_file_name: str | None = None, **kwargs: Any
    ) -> Self:
        """Return the options that a checkpoint stores.

        Args:
            pretrained_model_name: A folder, the name of an embedded model, or a repository on the Hub.
            config_file_name: The name of the file in a folder, "generation_config.json" unless given.
            **kwargs: Options of the download (`checkpoints.resolve`), and options that override those of the file.

        Raises:
            OSError: There is no such checkpoint, or it has no such file.
            ValueError: The file is not a JSON object.
        """
        where = hub.pop_options(kwargs)
        folder = resolve(pretrained_model_name, ("config", "generation"), **where)
        return cls.from_dict(read_json_object(folder / (config_file_name or NAME)), **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], config_file_name: str | None = None, push_to_hub: bool = False
    ) -> None:
        """Write generation_config.json into a folder, which is created if it does not exist.

        Args:
            save_directory: The folder.
            config_file_name: The name of the file, "generation_config.json" unless given.
            push_to_hub: Only False is supported: `push_to_hub` of a model uploads the file.

        Raises:
            ValueError: An option cannot be written as JSON, or `push_to_hub` is set.
        """
        if push_to_hub:
            raise ValueError("push_to_hub=True is not supported: push_to_hub of the model uploads this file too.")
        config_file.write_file(Path(save_directory), config_file_name or NAME, self.to_json_string())

    def update(self, **kwargs: Any) -> dict[str, Any]:
        """Set the options that exist; return the others."""
        known = {name: value for name, value in kwargs.items() if name in vars(self) and name != "_origin"}
        vars(self).update(known)
        return {name: value for name, value in kwargs.items() if name not in known}

    def to_dict(self) -> dict[str, Any]:
        """Return every option, arrays and tensors as numbers."""
        return {name: _to_plain(value) for name, value in vars(self).items() if name != "_origin"}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the options that differ from the defaults."""
        found = self.to_dict().items()
        return {name: value for name, value in found if name not in DEFAULTS or value != DEFAULTS[name]}

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the text of generation_config.json: the options that differ from the defaults, or all of them."""
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        try:
            return json.dumps(fields, indent=2, sort_keys=True) + "\n"
        except (TypeError, ValueError) as error:
            raise ValueError(f"generation_config cannot be written as JSON: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenerationConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # options can be set, so a hash would go stale

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def read_generation_config(folder: Path) -> GenerationConfig | None:
    """Return the options that the folder of a checkpoint stores; None if it has no such file.

    Raises:
        ValueError: The file is not a regular file or not a JSON object.
    """
    if not os.path.lexists(folder / NAME):
        return None
    return GenerationConfig.from_dict(read_json_object(folder / NAME))


def _to_plain(value: Any) -> Any:
    """Return an array or a tensor as numbers, other values as a copy."""
    return value.tolist() if hasattr(value, "tolist") else copy.deepcopy(value)
