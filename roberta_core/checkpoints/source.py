"""From what a user calls a model to the folder that holds it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from roberta_core.checkpoints import hub
from roberta_core.checkpoints.errors import CheckpointError, clipped, listed

EMBEDDED = Path(__file__).parents[1] / "embedded"
MODEL = ("config", "weights")  # what loading a model needs of a repository


def embedded() -> tuple[str, ...]:
    """The names of the models inside the package."""
    return tuple(sorted(config.parent.name for config in EMBEDDED.glob("*/config.json")))


def resolve(source: str | os.PathLike[str], wants: Collection[str] = MODEL, **where: Any) -> Path:
    """The folder of a model: an existing folder as it is, else an embedded model by its name, else one on the Hub.

    Args:
        source: a folder, a name in `embedded()`, or a repository such as `"FacebookAI/roberta-base"`.
        wants: what to fetch from a repository (`hub.fetch`).
        where: how to come by a repository: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download`; and
            `subfolder`, which holds for a folder too. The environment's HF_ENDPOINT, HF_HOME, HF_TOKEN and
            HF_HUB_OFFLINE mean what they mean to huggingface_hub.

    Raises:
        CheckpointError: (an `OSError`) it is none of them, or cannot be fetched; the sentence says what was tried.
        TypeError: an argument in `where` that there is not.
    """
    repository = hub.Repository(os.fsdecode(os.fspath(source)), **where)
    name = repository.name
    if name and "\0" not in name and Path(name).is_dir():
        return Path(name, repository.subfolder)
    if name in embedded():
        return EMBEDDED / name
    if name and "\0" not in name and Path(name).exists():
        raise CheckpointError(f"{clipped(name)} is a file; give the folder that holds it")
    tried = f"{clipped(name)!r} is neither a folder nor an embedded model (those are: {listed(embedded()) or 'none'})"
    if not hub.ID.fullmatch(name):
        raise CheckpointError(f"{tried}, nor is it a name on the Hub")
    try:
        return hub.fetch(repository, wants)
    except hub.MissingError as error:
        raise CheckpointError(f"{tried}; {error}") from None
    except hub.UnreachableError as error:
        raise CheckpointError(f"{tried}, the Hub's cache does not have it, and {error}") from None
