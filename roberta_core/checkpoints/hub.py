"""Checkpoints on the Hugging Face Hub: the files that are needed and no others, in the cache that its library keeps."""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roberta_core.checkpoints import fairseq_file, formats, shards
from roberta_core.checkpoints.card import CARD
from roberta_core.checkpoints.errors import CheckpointError, clipped, listed
from roberta_core.config import CONFIG_NAME

logger = logging.getLogger(__name__)

ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
VOCABULARY = ("vocab.json", "merges.txt", "added_tokens.json")  # where there is no tokenizer.json
# What goes along beside weights and configuration.
CARRIED = (*TOKENIZER, *VOCABULARY, "generation_config.json", fairseq_file.DICTIONARY, fairseq_file.LABELS)
OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download")
# Further ones of the published classes: no format that is read runs code, and the best one is taken first.
SAYING_NOTHING = ("trust_remote_code", "use_safetensors", "low_cpu_mem_usage", "resume_download")

# Refusals of the Hub by the names of the library's errors, the more special first; all else is not reaching it.
REFUSALS = {
    "GatedRepoError": "is gated: ask for access on its page, then give a token",
    "RepositoryNotFoundError": "is not there, or is private: then give a token",
    "RevisionNotFoundError": "has no such revision",
    "DisabledRepoError": "is disabled",
    "HFValidationError": "is no name of a repository",
    "RemoteEntryNotFoundError": "has lost a file meanwhile",
    "EntryNotFoundError": "has lost a file meanwhile",
}
ASKING = ("huggingface_hub", "http", "requests", "urllib3")  # modules whose errors mean that the Hub is not reached


class MissingError(CheckpointError):
    """There is no such repository, or none that may be seen."""


class UnreachableError(Exception):
    """The Hub cannot be asked, for a reason."""


@dataclass(frozen=True)
class Repository:
    """A repository of models and how to come by it; the fields are those that the published classes take."""

    name: str
    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    subfolder: str = ""
    force_download: bool = False

    def __post_init__(self):
        if not all(shards.plain(part) for part in self.subfolder.strip("/").split("/") if self.subfolder):
            raise ValueError(f"subfolder is {self.subfolder!r}; it must name a folder inside the repository")

    def names(self) -> list[str]:
        """The files in the (sub)folder, as the Hub lists them. `UnreachableError` if it does not answer."""
        prefix = f"{self.subfolder.strip('/')}/" if self.subfolder else ""
        with _told(self):
            found = _api(self.token).model_info(self.name, revision=self.revision).siblings or []
        return [file.rfilename.removeprefix(prefix) for file in found if file.rfilename.startswith(prefix)]

    def file(self, name: str) -> Path:
        """A file in the cache, downloaded if it is not there or not the newest."""
        from huggingface_hub import hf_hub_download

        from roberta_core import __version__

        with _told(self):
            return Path(
                hf_hub_download(
                    self.name,
                    name,
                    subfolder=self.subfolder.strip("/") or None,
                    revision=self.revision,
                    cache_dir=self.cache_dir,
                    token=self.token,
                    force_download=self.force_download,
                    endpoint=_endpoint(),
                    library_name="triberta",
                    library_version=__version__,
                )
            )

    def cached(self, name: str) -> Path | None:
        """A file in the cache, None if it is not there."""
        from huggingface_hub import try_to_load_from_cache

        path = f"{self.subfolder.strip('/')}/{name}" if self.subfolder else name
        with _told(self):
            found = try_to_load_from_cache(self.name, path, cache_dir=self.cache_dir, revision=self.revision)
        return Path(found) if isinstance(found, str) else None


def fetch(repository: Repository, wants: Collection[str]) -> Path:
    """The folder of a repository in the cache, with the files for `wants`: "config", "weights", "tokenizer", "carried".

    Of several formats of weights the first in `formats.FORMATS` is taken. Where the Hub cannot be reached, the cache
    serves; with `local_files_only` it alone does. `CheckpointError` if the files cannot be had.
    """
    reason = "local_files_only is set"
    if not repository.local_files_only:
        try:
            return _folder(repository, "on the Hub", repository.names(), repository.file, wants)
        except UnreachableError as error:
            reason = str(error)
            logger.warning("%s: the Hub was not reached (%s); looking in its cache", repository.name, reason)
    candidates = [CONFIG_NAME, *CARRIED, *(name for row in formats.FORMATS for name in formats.names(row))]
    names = [name for name in dict.fromkeys(candidates) if repository.cached(name)]
    if not names:
        raise UnreachableError(reason)

    def cached(name: str) -> Path:
        path = repository.cached(name)
        if path is None:
            raise CheckpointError(f"the Hub's cache has no {clipped(name)} of {repository.name}, and {reason}")
        return path

    return _folder(repository, f"in the Hub's cache ({reason})", names, cached, wants)


def push(
    name: str,
    save: Callable[[Path], None],
    card: str,
    format: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload what `save` writes into a folder to a repository, which is made if it is not there; the commit's address.

    `card` becomes the README.md of a repository that has none. Remains of older weights in the same format go.
    `CheckpointError` if the Hub refuses, or holds weights that would be read in place of these.
    """
    repository, kind = Repository(name, revision, token=token), formats.named(format)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            with _told(repository):
                api = _api(token)
                name = api.create_repo(name, private=private, exist_ok=True).repo_id
                if revision is not None and not create_pr:
                    api.create_branch(name, branch=revision, exist_ok=True)
                there = api.list_repo_files(name, revision=None if create_pr else revision)
                hidden = sorted({one for row in formats.before(kind) for one in formats.names(row)} & set(there))
                if hidden:
                    raise CheckpointError(f"{name} has {listed(hidden)}, read in place of {kind.file}; remove that")
                if CARD not in there:
                    (Path(folder) / CARD).write_text(card, encoding="utf-8")
                commit = api.upload_folder(
                    repo_id=name,
                    folder_path=folder,
                    revision=revision,
                    commit_message=commit_message or "Upload the model",
                    create_pr=create_pr,
                    delete_patterns=[*formats.names(kind), shards.pattern(kind.file)],
                )
        except UnreachableError as error:
            raise CheckpointError(f"{name}: the Hub was not reached, and nothing is uploaded ({error})") from None
    return commit.pr_url or commit.commit_url


def choose(names: Collection[str], wants: Collection[str]) -> list[str]:
    """Which of a repository's files to take, the shards of an index excepted."""
    chosen = [name for name in (CONFIG_NAME,) if name in names]
    if "weights" in wants or (not chosen and "config" in wants):
        kinds = [row for row in formats.FORMATS if set(formats.names(row)) & set(names)]
        if not chosen and "weights" not in wants:  # fairseq's file holds the configuration too
            kinds = [row for row in kinds if row.name == "fairseq"]
        chosen += [next(name for name in formats.names(row) if name in names) for row in kinds[:1]]
        if kinds and kinds[0].name == "fairseq":
            chosen += [name for name in (fairseq_file.DICTIONARY, fairseq_file.LABELS) if name in names]
    if "tokenizer" in wants:
        needed = TOKENIZER if TOKENIZER[0] in names else (*TOKENIZER, *VOCABULARY)
        chosen += [name for name in needed if name in names]
    if "carried" in wants:
        chosen += [name for name in CARRIED if name in names]
    return list(dict.fromkeys(chosen))


def _folder(
    repository: Repository, place: str, names: Collection[str], get: Callable[[str], Path], wants: Collection[str]
) -> Path:
    """The one folder in which all the wanted files are."""
    where = f"{repository.name}{f', folder {repository.subfolder},' if repository.subfolder else ''} {place}"
    chosen = choose(names, wants)
    if not chosen:
        raise CheckpointError(f"{where} has nothing of a RoBERTa: neither {CONFIG_NAME} nor weights")
    weights = [name for name in chosen if any(name in formats.names(row) for row in formats.FORMATS)]
    if "weights" in wants and not weights:
        readable = listed(dict.fromkeys(row.file for row in formats.FORMATS))
        raise CheckpointError(f"{where} has no weights; looked for {readable}, alone or with an index")
    paths = [get(name) for name in chosen]
    for index in [path for path in paths if path.name.endswith(shards.index_name(""))]:
        paths += [get(name) for name in sorted(set(shards.read_map(index).values()))]
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise CheckpointError(f"{where} changed while its files were fetched; try again")
    return folders.pop()


@contextmanager
def _told(repository: Repository) -> Iterator[None]:
    """What the library raises: `CheckpointError` where the Hub refuses, `UnreachableError` where it is silent."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # of the library and of whatever it uses to ask, which changed from release to release
        classes = [one.__name__ for one in type(error).__mro__]
        where = f"{clipped(repository.name)} on {_endpoint() or 'the Hub'}"
        status = getattr(getattr(error, "response", None), "status_code", None) or 0
        text = clipped(" ".join(f"{type(error).__name__}: {error}".split()))
        known = next((said for name, said in REFUSALS.items() if name in classes), None)
        if known is None and 400 <= status < 500:
            known = f"is refused ({text})"
        if known is None and not isinstance(error, OSError) and not type(error).__module__.startswith(ASKING):
            raise
        if known is None or "LocalEntryNotFoundError" in classes:
            raise UnreachableError(text) from None
        kind = (
            MissingError
            if "RepositoryNotFoundError" in classes and "GatedRepoError" not in classes
            else CheckpointError
        )
        revision = f" {clipped(repr(repository.revision))}" if "RevisionNotFoundError" in classes else ""
        raise kind(f"{where} {known}{revision}") from None


def _api(token: str | bool | None) -> Any:
    """The library's own client, imported when it is needed: that takes half a second."""
    from huggingface_hub import HfApi

    from roberta_core import __version__

    return HfApi(endpoint=_endpoint(), token=token, library_name="triberta", library_version=__version__)


def _endpoint() -> str | None:
    """Where the Hub is; the library itself reads this only once, when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def options(given: dict[str, Any]) -> dict[str, Any]:
    """Those of a call's keyword arguments that say how to come by a repository, taken out of it."""
    for name in SAYING_NOTHING:
        given.pop(name, None)
    if "use_auth_token" in given:  # as `token` was called
        given.setdefault("token", given.pop("use_auth_token"))
    return {name: given.pop(name) for name in OPTIONS if name in given}


def carried(folder: Path | None, target: Path) -> dict[str, bytes]:
    """What goes along from a checkpoint's folder to another one: nothing of a tokenizer if that has one already."""
    own = any((target / name).exists() for name in (*TOKENIZER, *VOCABULARY))
    wanted = [name for name in CARRIED if not (own and name in (*TOKENIZER, *VOCABULARY))]
    found = [] if folder is None else [name for name in wanted if (folder / name).is_file()]
    return {name: (folder / name).read_bytes() for name in found if folder and not (target / name).exists()}
