"""From what a user calls a model to the folder that holds it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from roberta_core.checkpoints import hub
from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten

EMBEDDED = Path(__file__).parents[1] / "embedded"
MODEL = ("config", "weights")  # what loading a model needs of a repository


def list_embedded() -> tuple[str, ...]:
    """Return the names of the models inside the package."""
    return tuple(sorted(config.parent.name for config in EMBEDDED.glob("*/config.json")))


def resolve(source: str | os.PathLike[str], wants: Collection[str] = MODEL, **where: Any) -> Path:
    """Return the folder of a model: an existing folder, else an embedded model of that name, else one from the Hub.

    Args:
        source: A folder, a name in `list_embedded()`, or a repository such as `"FacebookAI/roberta-base"`.
        wants: What to download from a repository (`hub.fetch`).
        **where: Options for a repository: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`; and
            `subfolder`, which applies to a folder too. The environment variables HF_ENDPOINT, HF_HOME, HF_TOKEN and
            HF_HUB_OFFLINE mean what they mean to huggingface_hub.

    Raises:
        CheckpointError: (an `OSError`) There is no such model, or it cannot be downloaded; the message lists what was
            tried.
        TypeError: An argument in `where` does not exist.
    """
    repository = hub.Repository(os.fsdecode(os.fspath(source)), **where)
    name = repository.name
    if name and "\0" not in name and Path(name).is_dir():
        return Path(name, repository.subfolder)
    if name in list_embedded():
        return EMBEDDED / name
    if name and "\0" not in name and Path(name).exists():
        raise CheckpointError(f"{shorten(name)} is a file; specify the folder that holds config.json and the weights")
    models = join_names(list_embedded()) or "none"
    if name.startswith(("/", "./", "../", "~")) or name.endswith("/"):
        raise CheckpointError(
            f"there is no folder {shorten(name)!r}; specify a folder with a checkpoint, a built-in model ({models}), "
            "or a name on the Hub such as FacebookAI/roberta-base"
        )
    tried = f"{shorten(name)!r} is neither a folder here nor a built-in model (available: {models})"
    if not hub.ID.fullmatch(name):
        raise CheckpointError(f"{tried}, nor a valid name on the Hub")
    try:
        return hub.fetch(repository, wants)
    except hub.MissingError as error:
        raise CheckpointError(f"{tried}; {error}") from None
    except hub.UnreachableError as error:
        advice = "if this machine has no access to the Hub, pass a local folder with the checkpoint"
        raise CheckpointError(
            f"{tried}, it is not in this machine's cache of the Hub and cannot be loaded ({error}); {advice}"
        ) from None
