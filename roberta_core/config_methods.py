"""Methods of the published configuration that RoBERTa itself does not need."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from roberta_core.refusals import AUTO_CLASSES, Refused

SEVERAL_MODELS = "RoBERTa is one text model: construct RobertaConfig with its fields"
BOOLEANS = {
    **dict.fromkeys(("true", "1", "y", "yes"), True),
    **dict.fromkeys(("false", "0", "n", "no"), False),
}


def load_config_file() -> ModuleType:
    """Return the module that reads and writes config.json in checkpoints: the one import from a higher floor."""
    from roberta_core.checkpoints import config_file

    return config_file


class ConfigMethods:
    """Mixin of `RobertaConfig`."""

    dtype: str | None
    return_dict: bool
    _name_or_path: str

    # What describes models that are made of several, or of parts on several devices: this one is neither.
    attribute_map: ClassVar[dict[str, str]] = {}
    base_config_key = ""
    base_model_ep_plan = base_model_pp_plan = base_model_tp_plan = None
    has_no_defaults_at_init = False
    sub_configs: ClassVar[dict[str, type]] = {}

    from_text_audio_configs = Refused(SEVERAL_MODELS)
    from_text_vision_configs = Refused(SEVERAL_MODELS)
    register_for_auto_class = Refused(AUTO_CLASSES)

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from; it is not written into config.json."""
        return self._name_or_path

    @name_or_path.setter
    def name_or_path(self, value: Any) -> None:
        self._name_or_path = str(value)

    @property
    def torch_dtype(self) -> str | None:
        """The older name of `dtype`, which can be set too."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self.dtype = to_dtype_name(value)

    @property
    def use_return_dict(self) -> bool:
        """Whether calls return a named output rather than a tuple, unless `return_dict` is given."""
        return bool(self.return_dict) and not getattr(self, "torchscript", False)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """Return the configuration of the text model, which is this one; the arguments change nothing."""
        return self

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set fields.

        Args:
            config_dict: The fields by name, also unknown ones.

        Raises:
            ValueError: A field has an impossible value; then nothing is changed.
        """
        before = dict(vars(self))
        try:
            for name, value in config_dict.items():
                check_field_name(type(self), name)
                setattr(self, name, value)
            self.validate()
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise

    def update_from_string(self, update_str: str) -> None:
        """Set fields from a text such as "hidden_size=24,use_cache=no".

        Args:
            update_str: Pairs of a field and its value, separated by commas. The present value determines the type:
                a boolean (true, 1, y, yes or false, 0, n, no), an integer, a floating-point number or a string.

        Raises:
            ValueError: A field does not exist, or its value is not of the type; then nothing is changed.
            TypeError: The present value of a field is of another type.
        """
        pairs = [pair.partition("=") for pair in update_str.split(",")]
        for name, sign, text in pairs:
            if not sign or not hasattr(self, name):
                raise ValueError(f"{name}{sign}{text} is not a field of the configuration and its value: name=value")
        self.update({name: parse_value(name, text, getattr(self, name)) for name, _, text in pairs})

    def validate(self) -> None:
        """Check every field."""
        raise NotImplementedError

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields of a checkpoint's config.json as it states them.

        Args:
            pretrained_model_name_or_path: A folder, a config.json, the name of an embedded model, or one on the Hub.
            **kwargs: Options that select the repository, and others.

        Returns:
            The fields, and the keyword arguments that do not select the repository.

        Raises:
            OSError: There is no such checkpoint.
        """
        return load_config_file().read_fields(os.fspath(pretrained_model_name_or_path), kwargs), kwargs

    @staticmethod
    def dict_dtype_to_str(d: dict[str, Any]) -> None:
        """Replace dtypes in the values of `dtype`, at any depth of a dict, by their names."""
        dtype = d.get("dtype")
        if isinstance(dtype, dict):
            d["dtype"] = {name: str(value).rpartition(".")[2] for name, value in dtype.items()}
        elif not isinstance(dtype, str | int | None):
            d["dtype"] = to_dtype_name(dtype)
        for value in d.values():
            if isinstance(value, dict):
                ConfigMethods.dict_dtype_to_str(value)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload config.json to a repository, which is created if it does not exist.

        Args:
            repo_id: The repository, such as "name/model".
            **options: `token`, `private`, `revision`, `commit_message`, `commit_description` and `create_pr`, as for
                `hub.push`; further options of the published method have no effect.

        Returns:
            The address of the commit.
        """
        return load_config_file().push(self.save_pretrained, repo_id, options)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **options: Any
    ) -> None:
        """Write config.json into a folder, which is created if it does not exist.

        Args:
            save_directory: The folder.
            push_to_hub: Also upload the file, to `repo_id` or a repository with the name of the folder.
            **options: `repo_id`, and the options of `push_to_hub`.
        """
        self.to_json_file(Path(save_directory) / "config.json")
        if push_to_hub:
            repo_id = options.pop("repo_id", None) or Path(save_directory).resolve().name
            self.push_to_hub(repo_id, **options)

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write config.json."""
        raise NotImplementedError


def to_dtype_name(value: Any) -> Any:
    """Return a dtype of a framework as its name, such as "float16"; other values as they are."""
    plain = value is None or isinstance(value, bool | int | float | list | dict)
    return value if plain else str(value).removeprefix("torch.")


def check_field_name(kind: type, name: Any) -> None:
    """Raise `ValueError` for a name that is not a field: a method, a property, or a word that Python needs."""
    fields = ("num_labels", "id2label", "label2id", "torch_dtype", "model_type", "name_or_path")
    if not isinstance(name, str) or name == "self" or (hasattr(kind, name) and name not in fields):
        raise ValueError(f"{name!r:.80} cannot be a field of the configuration: remove or rename it")


def parse_value(name: str, text: str, present: Any) -> Any:
    """Return the value that a text stands for, of the type of the present value."""
    if isinstance(present, bool):
        if text.lower() not in BOOLEANS:
            raise ValueError(f"{name} is {text!r}; it must be true or false")
        return BOOLEANS[text.lower()]
    if isinstance(present, str):
        return text
    if not isinstance(present, int | float):
        raise TypeError(f"{name} is {present!r:.80}; only booleans, numbers and strings can be set from a text")
    try:
        return type(present)(text)
    except ValueError:
        kind = "an integer" if isinstance(present, int) else "a number"
        raise ValueError(f"{name} is {text!r}; it must be {kind}") from None
