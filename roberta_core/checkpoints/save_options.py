"""Options of `save_pretrained` and `push_to_hub` in the published classes: honoured, ignored or refused."""

from dataclasses import dataclass
from typing import Any

from roberta_core.checkpoints.errors import shorten

DEFAULT_FORMAT = "safetensors"
# Options without effect: files are written without the framework, as a whole.
IGNORED = ("save_function", "save_peft_format", "save_original_format", "version", "use_temp_dir")
# Options that would change the result -> what to do instead. None and False request nothing.
UNSUPPORTED = {
    "saved_model": "call model.export(folder)",
    "signatures": "call model.export(folder), which accepts input_signature",
    "state_dict": "assign the tensors to a model, then save it",
    "tags": "write them into README.md, which push_to_hub keeps",
    "variant": "rename the file after saving, such as model.safetensors to model.fp16.safetensors",
}
# Options of the upload, as for `hub.push`; `use_auth_token` is the older name of `token`.
UPLOAD = ("token", "private", "revision", "commit_message", "commit_description", "create_pr")


@dataclass(frozen=True)
class SaveOptions:
    """What the options of a call request.

    Attributes:
        format: The format of the weights.
        is_main_process: Whether to write anything.
        push_to_hub: Whether to upload the model too.
        repo_id: The repository, None for the name of the folder.
        upload: Options of `hub.push`.
    """

    format: str
    is_main_process: bool
    push_to_hub: bool
    repo_id: str | None
    upload: dict[str, Any]


def read_save_options(options: dict[str, Any], format: str | None, other_format: str) -> SaveOptions:
    """Return what the options of `save_pretrained` or `push_to_hub` request.

    Args:
        options: The options by name.
        format: The requested format; None means safetensors unless `safe_serialization` is False.
        other_format: The format that the framework's published classes write if `safe_serialization` is False.

    Raises:
        TypeError: An option does not exist.
        ValueError: An option has a value that is not supported.
    """
    given = {name: value for name, value in options.items() if name not in IGNORED}
    for name in UNSUPPORTED.keys() & given.keys():
        value = given.pop(name)
        if value is not None and value is not False:
            raise ValueError(f"{name}={shorten(repr(value))} is not supported: {UNSUPPORTED[name]}.")
    if "use_auth_token" in given:
        given.setdefault("token", given.pop("use_auth_token"))
    safe = given.pop("safe_serialization", None)
    made = SaveOptions(
        format or (other_format if safe is False else DEFAULT_FORMAT),
        bool(given.pop("is_main_process", True)),
        bool(given.pop("push_to_hub", False)),
        given.pop("repo_id", None),
        {name: given.pop(name) for name in UPLOAD if name in given},
    )
    if given:
        raise TypeError(f"there is no option {', '.join(sorted(given))} for saving a model")
    return made


def read_upload_options(options: dict[str, Any], message: str) -> dict[str, Any]:
    """Return the options of `hub.push_files` for a configuration or a tokenizer, whose files are never split.

    Args:
        options: The options of `push_to_hub` by name.
        message: The message of the commit, unless one is given.

    Raises:
        TypeError: An option does not exist.
        ValueError: `tags` are given.
    """
    ignored = ("max_shard_size", "safe_serialization")
    given = {name: value for name, value in options.items() if name not in ignored}
    made = read_save_options({**given, "commit_message": given.get("commit_message") or message}, None, DEFAULT_FORMAT)
    return made.upload
