"""Checkpoints on the Hugging Face Hub: downloads only the files that are needed, into the cache of its library."""

import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from roberta_core.checkpoints import fairseq_file, formats, shards
from roberta_core.checkpoints.card import CARD
from roberta_core.checkpoints.consistency import read_consistently
from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten
from roberta_core.config import CONFIG_NAME
from roberta_core.safe_files import read_bytes

logger = logging.getLogger(__name__)

T = TypeVar("T")

ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
VOCABULARY = ("vocab.json", "merges.txt", "added_tokens.json")  # if there is no tokenizer.json
GENERATION = "generation_config.json"
# Files that are copied with weights and configuration.
CARRIED = (*TOKENIZER, *VOCABULARY, GENERATION, fairseq_file.DICTIONARY, fairseq_file.LABELS)
# The files of a sentence-transformers model other than its encoder: those of its folder, and of its modules' folders.
SENTENCE = (
    "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json", "sentence_camembert_config.json",
)  # fmt: skip
MODULE = re.compile(r"[0-9]+_[A-Za-z]+/(config\.json|model\.safetensors|pytorch_model\.bin)")
MAX_CARRIED = 256 << 20  # bytes of a copied file
ANSWER_TIMEOUT = 60.0  # seconds without an answer, or without progress of a download
UPLOAD_SPEED = 20_000  # bytes per second that an upload must reach
# Errors of the library for an answer that is not what it expects.
INVALID_ANSWERS = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "force_download")
# Further options of the published classes without effect: no format runs code, and the best one is read first.
IGNORED = (
    "trust_remote_code", "use_safetensors", "low_cpu_mem_usage", "resume_download", "weights_only", "mirror", "from_pt",
    "from_tf", "from_flax", "_fast_init", "_commit_hash", "_from_auto", "_from_pipeline",
)  # fmt: skip
# Options that are refused unless they are empty -> what to do instead.
UNSUPPORTED = {
    "proxies": "set the environment variables HTTP_PROXY and HTTPS_PROXY",
    "gguf_file": "convert the file to safetensors first",
}

# Refusals of the Hub by the names of the library's errors, most specific first; others mean that it is unreachable.
REFUSALS = {
    "GatedRepoError": "is gated: request access on its page, then specify a token",
    "RepositoryNotFoundError": "does not exist, or is private: specify a token",
    "RevisionNotFoundError": "has no such revision",
    "DisabledRepoError": "is disabled",
    "HFValidationError": "is not a valid repository name",
    "RemoteEntryNotFoundError": "lost a file during the download",
    "EntryNotFoundError": "lost a file during the download",
}
OFFLINE = "HF_HUB_OFFLINE forbids access to the Hub"
CLIENT_MODULES = (
    "huggingface_hub",
    "http",
    "requests",
    "urllib3",
)  # modules whose errors mean that the Hub is unreachable


class MissingError(CheckpointError):
    """The repository does not exist, or access to it is denied."""


class UnreachableError(Exception):
    """The Hub cannot be reached."""


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub and the options of the published classes for downloading it."""

    name: str
    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    subfolder: str = ""
    force_download: bool = False

    def __post_init__(self):
        if not all(shards.is_plain_name(part) for part in self.subfolder.strip("/").split("/") if self.subfolder):
            raise ValueError(f"subfolder is {self.subfolder!r}; it must be a folder inside the repository")

    def names(self) -> list[str]:
        """Return the files in the (sub)folder; raise `UnreachableError` if the Hub does not answer."""
        prefix = f"{self.subfolder.strip('/')}/" if self.subfolder else ""
        with _translate_errors(self):
            client = _create_client(self.token)
            found = _wait_for(lambda: client.model_info(self.name, revision=self.revision, timeout=ANSWER_TIMEOUT))
            names = [file.rfilename for file in found.siblings or []]
            return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def file(self, name: str) -> Path:
        """Return the path of a file in the cache, after downloading it if it is missing or outdated."""
        from huggingface_hub import constants, hf_hub_download

        from roberta_core import __version__

        def download() -> str:
            return hf_hub_download(
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

        cache = Path(self.cache_dir or constants.HF_HUB_CACHE)
        with _translate_errors(self):
            if _endpoint() is not None:
                _wait_for(lambda: self._check_headers(name))
            path = Path(_wait_for(download, cache / f"models--{self.name.replace('/', '--')}" / "blobs"))
            if not path.resolve().is_relative_to(cache.resolve()):
                raise ValueError(f"{name} is outside of the cache")
            return path

    def _check_headers(self, name: str) -> None:
        """Raise `ValueError` if another Hub's headers name a place outside of the cache: the library trusts them."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        folder = self.subfolder.strip("/") or None
        address = hf_hub_url(self.name, name, subfolder=folder, revision=self.revision, endpoint=_endpoint())
        found = get_hf_file_metadata(address, token=self.token, timeout=ANSWER_TIMEOUT)
        for value in (found.etag, found.commit_hash):
            if value is not None and not shards.is_plain_name(value):
                raise ValueError(f"{name} would be stored outside of the cache, as {value!r}")

    def cached(self, name: str) -> Path | None:
        """Return the path of a file in the cache, None if it is missing."""
        from huggingface_hub import try_to_load_from_cache

        path = f"{self.subfolder.strip('/')}/{name}" if self.subfolder else name
        with _translate_errors(self):
            found = try_to_load_from_cache(self.name, path, cache_dir=self.cache_dir, revision=self.revision)
        return Path(found) if isinstance(found, str) else None


def fetch(repository: Repository, wants: Collection[str]) -> Path:
    """Return the folder of a repository in the cache, after downloading what is missing.

    If the Hub cannot be reached, or with `local_files_only`, the files in the cache are used.

    Args:
        repository: The repository.
        wants: What to download: "config", "weights" (the first format in `formats.FORMATS`), "tokenizer", "carried",
            "generation" (generation_config.json), "sentence" (the files of a sentence-transformers model other than its
            encoder).

    Raises:
        CheckpointError: The Hub refuses, or a file is missing.
        UnreachableError: The Hub cannot be reached, and the cache has no file of the repository.
    """
    reason = "local_files_only is set"
    if not repository.local_files_only:
        try:
            return _download(repository, "on the Hub", repository.names(), repository.file, wants)
        except UnreachableError as error:
            reason = str(error)
    candidates = [
        CONFIG_NAME,
        *CARRIED,
        *SENTENCE,
        *(name for row in formats.FORMATS for name in formats.list_entry_files(row)),
    ]
    names = [name for name in dict.fromkeys(candidates) if repository.cached(name)]
    names += _list_cached_modules(repository) if names else []
    if not names:
        raise UnreachableError(reason)
    if not repository.local_files_only:
        logger.warning("%s: the Hub is unreachable (%s); using its cache", repository.name, reason)

    def cached(name: str) -> Path:
        path = repository.cached(name)
        if path is None:
            raise CheckpointError(f"the Hub's cache has no {shorten(name)} of {repository.name}, and {reason}")
        return path

    return _download(repository, f"in the Hub's cache ({reason})", names, cached, wants)


def _list_cached_modules(repository: Repository) -> list[str]:
    """Return the files in the cache of the folders that modules.json lists."""
    path = repository.cached(SENTENCE[0])
    try:
        rows = [] if path is None else json.loads(read_bytes(path))
        folders = [row["path"] for row in rows if row["path"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []  # the reader of the file reports what is wrong with it
    files = [
        f"{folder}/{name}" for folder in folders for name in (CONFIG_NAME, "model.safetensors", "pytorch_model.bin")
    ]
    return [name for name in files if MODULE.fullmatch(name) and repository.cached(name)]


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
    commit_description: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload a checkpoint to a repository, which is created if it does not exist.

    Args:
        name: The repository.
        save: Writes the files to upload into a folder. Older weights of the same format are deleted.
        card: The README.md, if the repository has none.
        format: The format of the weights.
        token: The token for the Hub.
        private: Whether a new repository is private.
        revision: The branch.
        commit_message: The message of the commit.
        commit_description: The text below the message.
        create_pr: Whether to create a pull request.

    Returns:
        The address of the commit or pull request.

    Raises:
        CheckpointError: The Hub refuses, is unreachable, or has weights that would be read instead of these.
    """
    kind = formats.get_format(format)

    def check(folder: Path, name: str, there: Collection[str]) -> None:
        _refuse_preferred(name, there, kind)
        if CARD not in there:
            (folder / CARD).write_text(card, encoding="utf-8")

    return push_files(
        name,
        save,
        check,
        token=token,
        private=private,
        revision=revision,
        commit_message=commit_message or "Upload the model",
        commit_description=commit_description,
        create_pr=create_pr,
        delete_patterns=[*formats.list_entry_files(kind), shards.build_shard_pattern(kind.file)],
    )


def push_files(
    name: str,
    save: Callable[[Path], Any],
    check: Callable[[Path, str, Collection[str]], None] = lambda folder, name, there: None,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    **options: Any,
) -> str:
    """Upload files to a repository, which is created if it does not exist.

    Args:
        name: The repository.
        save: Writes the files to upload into a folder.
        check: Called with the folder, the repository and the names of its present files before the upload.
        token: The token for the Hub.
        private: Whether a new repository is private.
        revision: The branch.
        create_pr: Whether to create a pull request.
        **options: Further arguments of the library's `upload_folder`.

    Returns:
        The address of the commit or pull request.

    Raises:
        CheckpointError: The Hub refuses or is unreachable.
    """
    repository = Repository(name, revision, token=token)
    branch = None if create_pr else revision
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            with _translate_errors(repository):
                api = _create_client(token)
                name = _wait_for(lambda: api.create_repo(name, private=private, exist_ok=True).repo_id)
                if branch is not None:
                    _wait_for(lambda: api.create_branch(name, branch=branch, exist_ok=True))
                check(Path(folder), name, _wait_for(lambda: api.list_repo_files(name, revision=branch)))
                options |= {"repo_id": name, "folder_path": folder, "revision": revision, "create_pr": create_pr}
                limit = ANSWER_TIMEOUT + sum(size for _, size in _list_sizes(Path(folder))) / UPLOAD_SPEED
                commit = _wait_for(lambda: api.upload_folder(**options), seconds=limit)
        except UnreachableError as error:
            raise CheckpointError(f"{name}: the Hub is unreachable, nothing was uploaded ({error})") from None
    return commit.pr_url or commit.commit_url


def _refuse_preferred(name: str, there: Iterable[str], kind: formats.Format) -> None:
    """Raise `CheckpointError` if a repository has weights that would be read instead of those of a format."""
    hidden = {one for row in formats.list_preferred(kind) for one in formats.list_entry_files(row)} & set(there)
    if hidden:
        raise CheckpointError(f"{name} has {join_names(sorted(hidden))}, read instead of {kind.file}: remove it")


def choose_files(names: Collection[str], wants: Collection[str]) -> list[str]:
    """Choose the files of a repository to download, except the shards of an index."""
    chosen = [name for name in (CONFIG_NAME,) if name in names]
    if "weights" in wants or (not chosen and "config" in wants):
        kinds = [row for row in formats.FORMATS if set(formats.list_entry_files(row)) & set(names)]
        if not chosen and "weights" not in wants:  # fairseq's file contains the configuration too
            kinds = [row for row in kinds if row.name == "fairseq"]
        chosen += [next(name for name in formats.list_entry_files(row) if name in names) for row in kinds[:1]]
        if kinds and kinds[0].name == "fairseq":
            chosen += [name for name in (fairseq_file.DICTIONARY, fairseq_file.LABELS) if name in names]
    if "tokenizer" in wants:
        needed = TOKENIZER if TOKENIZER[0] in names else (*TOKENIZER, *VOCABULARY)
        chosen += [name for name in needed if name in names]
    if "sentence" in wants:
        chosen += [name for name in names if name in SENTENCE or MODULE.fullmatch(name)]
    if "generation" in wants:
        chosen += [name for name in (GENERATION,) if name in names]
    if "carried" in wants:
        chosen += [name for name in CARRIED if name in names]
    return list(dict.fromkeys(chosen))


def _download(
    repository: Repository, place: str, names: Collection[str], get: Callable[[str], Path], wants: Collection[str]
) -> Path:
    """Get all requested files and return their folder."""
    where = f"{repository.name}{f', folder {repository.subfolder},' if repository.subfolder else ''} {place}"
    chosen = choose_files(names, wants)
    if not chosen:
        raise CheckpointError(f"{where} is not a RoBERTa checkpoint: it has neither {CONFIG_NAME} nor weights")
    weights = [name for name in chosen if any(name in formats.list_entry_files(row) for row in formats.FORMATS)]
    if "weights" in wants and not weights:
        readable = join_names(dict.fromkeys(row.file for row in formats.FORMATS))
        raise CheckpointError(f"{where} has no weights; looked for {readable}, single or with an index")
    paths = [get(name) for name in chosen]
    for index in [path for path in paths if path.name.endswith(shards.index_name(""))]:
        paths += [get(name) for name in sorted(set(shards.read_map(index).values()))]
    folders = {path.parents[name.count("/")] for path, name in zip(paths, chosen, strict=False)}
    folders |= {path.parent for path in paths[len(chosen) :]}
    if len(folders) > 1:
        raise CheckpointError(f"{where} changed during the download; try again")
    return folders.pop()


@contextmanager
def _translate_errors(repository: Repository) -> Iterator[None]:
    """Raise `CheckpointError` for a refusal of the Hub and `UnreachableError` if it cannot be reached."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # of the library and its HTTP client, which differ between releases
        classes = [one.__name__ for one in type(error).__mro__]
        where = f"{shorten(repository.name)} on {_endpoint() or 'the Hub'}"
        status = getattr(getattr(error, "response", None), "status_code", None) or 0
        text = shorten(" ".join(f"{type(error).__name__}: {error}".split()))
        if "ReadTimeout" in classes:  # the same event as the TimeoutError of `_wait_for`, found by the HTTP client
            text = f"no answer within {ANSWER_TIMEOUT:g} seconds"
        known = next((reason for name, reason in REFUSALS.items() if name in classes), None)
        if known is None and 400 <= status < 500:
            known = f"was refused ({text})"
        if known is None and isinstance(error, INVALID_ANSWERS):
            known = f"sent an invalid answer ({text})"
        if known is None and not isinstance(error, OSError) and not type(error).__module__.startswith(CLIENT_MODULES):
            raise
        if known is None or "LocalEntryNotFoundError" in classes:
            raise UnreachableError(OFFLINE if "OfflineModeIsEnabled" in classes else text) from None
        kind = (
            MissingError
            if "RepositoryNotFoundError" in classes and "GatedRepoError" not in classes
            else CheckpointError
        )
        revision = f" {shorten(repr(repository.revision))}" if "RevisionNotFoundError" in classes else ""
        raise kind(f"{where} {known}{revision}") from None


def _wait_for(call: Callable[[], T], growing: Path | None = None, seconds: float | None = None) -> T:
    """Return the result of a call to the Hub; raise `TimeoutError` if there is no answer for `ANSWER_TIMEOUT` seconds.

    The library's own timeouts apply to single reads or not at all. A thread that never returns ends with the process.

    Args:
        call: The call.
        growing: A folder whose files grow as long as there is progress.
        seconds: The time without progress after which to give up; None means `ANSWER_TIMEOUT`.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    seconds = ANSWER_TIMEOUT if seconds is None else seconds
    state, deadline = None, time.monotonic() + seconds
    while True:
        try:
            return done.result(timeout=min(1.0, seconds))
        except FutureTimeoutError:
            if done.done():
                raise
        if growing is not None and state != (state := _list_sizes(growing)):
            deadline = time.monotonic() + seconds
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer within {seconds:g} seconds")


def _list_sizes(folder: Path) -> list[tuple[str, int]]:
    try:
        return sorted((entry.name, entry.stat().st_size) for entry in os.scandir(folder))
    except OSError:
        return []


def _create_client(token: str | bool | None) -> Any:
    """Return the library's client, imported on first use because that takes half a second."""
    from huggingface_hub import HfApi

    from roberta_core import __version__

    return HfApi(endpoint=_endpoint(), token=token, library_name="triberta", library_version=__version__)


def _endpoint() -> str | None:
    """Return the address of the Hub; the library itself reads the variable only once, on import."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def pop_options(given: dict[str, Any]) -> dict[str, Any]:
    """Remove and return the keyword arguments of a call that select and download a repository.

    Raises:
        ValueError: One of them is not supported.
    """
    for name in IGNORED:
        given.pop(name, None)
    for name in UNSUPPORTED.keys() & given.keys():
        if value := given.pop(name):
            raise ValueError(f"{name}={shorten(repr(value))} is not supported: {UNSUPPORTED[name]}.")
    if "use_auth_token" in given:  # the older name of `token`
        given.setdefault("token", given.pop("use_auth_token"))
    return {name: given.pop(name) for name in OPTIONS if name in given}


def read_carried_files(folder: Path | None, target: Path) -> dict[str, bytes]:
    """Return the files to copy from a checkpoint's folder to another one, which keeps its own tokenizer."""
    own = any((target / name).exists() for name in (*TOKENIZER, *VOCABULARY))
    names = [name for name in CARRIED if not (own and name in (*TOKENIZER, *VOCABULARY))]
    missing = [name for name in names if not (target / name).exists()]
    return {} if folder is None else read_consistently(folder, lambda: read_inside(folder, missing))


def read_inside(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of those files that exist in a folder.

    Special files and links out of the folder are skipped with a warning: a folder from elsewhere could link to any file
    of this machine. The links of the Hub's cache, from a snapshot to the files of the same repository, are followed.
    """
    found = {}
    for name in names:
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            if not _is_inside(path, folder):
                raise ValueError(f"{path} is a link out of the folder")
            found[name] = read_bytes(path, MAX_CARRIED)
        except (OSError, ValueError) as error:
            logger.warning("Skipped %s, which is not copied: %s", name, shorten(str(error)))
    return found


def _is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file, its links resolved, is inside its folder or where the Hub's cache stores content."""
    target, root = path.resolve(), folder.resolve()
    repository = next((one.parent for one in (root, *root.parents) if one.name == "snapshots"), None)
    allowed = [root] if repository is None else [root, repository / "blobs", repository.parent / "blobs"]
    return any(target.is_relative_to(one) for one in allowed)
