"""A tokenizer's files in the folder of a checkpoint: what is read from them, checked, and written."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokenizers import AddedToken

from roberta_core.tokenization.call_arguments import SIDES, UNLIMITED
from roberta_core.tokenization.special_tokens import (
    ADDITIONAL,
    EXTRA,
    MODEL_SPECIFIC,
    ROLES,
    describe_token,
    read_token,
    to_added_token,
)
from roberta_core.tokenization.vocabulary_files import (
    Merge,
    check_id,
    format_json,
    format_merges,
    format_vocab,
    parse_json,
    read_json,
    read_text,
)

if TYPE_CHECKING:
    from roberta_core.tokenization.tokenizer_base import TokenizerBase

T = TypeVar("T")

VOCAB, MERGES, WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
SETTINGS, SPECIALS, ADDED, CONFIG = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)

# Settings of tokenizer_config.json that are arguments of both tokenizers under the same name, and their types.
PLAIN: dict[str, type] = {
    "errors": str,
    "add_prefix_space": bool,
    "trim_offsets": bool,
    "padding_side": str,
    "truncation_side": str,
    "model_input_names": list,
    "clean_up_tokenization_spaces": bool,
    "split_special_tokens": bool,
}


def resolve_folder(source: str | os.PathLike[str], settings: dict[str, Any]) -> Path:
    """Return the folder of a checkpoint's tokenizer; the arguments for a download are taken out of `settings`."""
    from roberta_core.checkpoints import hub
    from roberta_core.checkpoints.source import resolve

    return resolve(source, ("config", "tokenizer"), **hub.pop_options(settings))


def read_consistently(folder: Path, read: Callable[[], T]) -> T:
    """Read files of a folder into which another process may be saving; see `checkpoints.read_consistently`."""
    from roberta_core.checkpoints import consistency

    return consistency.read_consistently(folder, read)


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the constructor's arguments for the tokenizer of a folder.

    Raises:
        FileNotFoundError: If the folder has no vocabulary.
        ValueError: If a file is damaged, or a value in it has the wrong type.
    """
    found = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
    specials = read_json(folder / SPECIALS) if (folder / SPECIALS).exists() else {}
    arguments = read_plain_settings(found, folder / SETTINGS) | read_special_tokens(found, specials, folder)
    arguments["model_max_length"] = read_max_length(folder, found)
    if isinstance(found.get("tokenizer_class"), str):
        arguments["tokenizer_class"] = found["tokenizer_class"]
    if (folder / WHOLE).exists():
        if not {"cls_token", "sep_token", "add_prefix_space"} <= arguments.keys():
            arguments = read_processor_settings(folder / WHOLE) | arguments
        return arguments | {"tokenizer_file": str(folder / WHOLE)}
    if (folder / VOCAB).exists() and (folder / MERGES).exists():
        added = read_added(folder, found)
        return arguments | {"vocab_file": str(folder / VOCAB), "merges_file": str(folder / MERGES), "added": added}
    raise FileNotFoundError(f"{folder} holds no tokenizer: neither {WHOLE} nor {VOCAB} with {MERGES}")


def read_processor_settings(path: Path) -> dict[str, Any]:
    """Return what RoBERTa's tokenizer.json determines, for folders whose other files do not have it."""
    text = read_text(path)
    content = parse_json(text, path) if "RobertaProcessing" in text else {}
    splitter, processor = content.get("pre_tokenizer"), content.get("post_processor")
    if not isinstance(processor, Mapping) or processor.get("type") != "RobertaProcessing":
        return {}
    pairs = {f"{name}_token": processor.get(name) for name in ("cls", "sep")}
    settings = {role: pair[0] for role, pair in pairs.items() if isinstance(pair, list) and pair}
    if isinstance(splitter, Mapping) and isinstance(splitter.get("add_prefix_space"), bool):
        settings["add_prefix_space"] = splitter["add_prefix_space"]
    return settings


def read_plain_settings(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings of tokenizer_config.json that are not tokens. Raises ValueError for a wrong type."""
    settings = {name: found[name] for name in PLAIN if found.get(name) is not None}
    for name, value in settings.items():
        if not isinstance(value, PLAIN[name]):
            raise ValueError(f"{path}: {name} must be of type {PLAIN[name].__name__}, not {value!r:.60}")
    for name in ("padding_side", "truncation_side"):
        if settings.get(name, "right") not in SIDES:
            raise ValueError(f"{path}: {name} {settings[name]!r:.60} is unknown; it may be 'right' or 'left'")
    if not all(isinstance(name, str) for name in settings.get("model_input_names", ())):
        raise ValueError(f"{path}: model_input_names must be a list of strings, not {found['model_input_names']!r:.60}")
    return settings


def read_special_tokens(found: Mapping[str, Any], specials: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the special tokens by argument, from tokenizer_config.json (`found`) and special_tokens_map.json.

    tokenizer_config.json goes first. A null there takes a role away if that file lists the added tokens too; otherwise
    it is an older file that is silent about the role.
    """
    arguments: dict[str, Any] = {}
    for role in ROLES:
        value = found.get(role) or specials.get(role)
        if role in found and found[role] is None and "added_tokens_decoder" in found:
            value = None
        if value is not None:
            to_token(value, folder / (SETTINGS if found.get(role) else SPECIALS), role)
        if value is not None or role in found or role in specials:
            arguments[role] = value
    listed: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for name, content, path in (
        *((name, found.get(name), folder / SETTINGS) for name in (ADDITIONAL, EXTRA, MODEL_SPECIFIC)),
        *((name, specials.get(name), folder / SPECIALS) for name in (ADDITIONAL, EXTRA)),
    ):
        for key, value in read_token_group(content, name, path):
            token = to_token(value, path, name)
            target, key = (listed, token.content) if key is None else (named, key)
            target.setdefault(key, value)
    roles = {role: named.pop(role) for role in ROLES if role in named}
    arguments = {**roles, **arguments}
    if listed:
        arguments[ADDITIONAL] = list(listed.values())
    return arguments | ({EXTRA: named} if named else {})


def read_token_group(content: Any, name: str, path: Path) -> list[tuple[str | None, Any]]:
    """Return (role or None, token) for a list of special tokens, or for an object of them by role."""
    if isinstance(content, Mapping):
        return [*content.items()]
    if content is not None and not isinstance(content, list):
        raise ValueError(f"{path}: {name} must be a list or an object, not {content!r:.60}")
    return [(None, token) for token in content or ()]


def to_token(value: Any, path: Path, role: str) -> AddedToken:
    """Return the special token of an entry. Raises ValueError that names the file if it is not one."""
    try:
        return to_added_token(value, role if role in ROLES else None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if role in ROLES else f"{path}: {role}: {error}") from None


def read_added(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Return id -> token of the added tokens, which vocab.json and merges.txt do not have."""
    added = {}
    path = folder / ADDED
    if path.exists():
        name = str(path)
        for token, index in read_json(path).items():
            check_id(token, index, name)
            added[index] = AddedToken(token)
    decoder = settings.get("added_tokens_decoder") or {}
    name = f"{folder / SETTINGS}: added_tokens_decoder"
    if not isinstance(decoder, Mapping):
        raise ValueError(f"{name} must be an object, not {type(decoder).__name__}")
    for index, entry in decoder.items():
        if not (index.isascii() and index.isdecimal() and len(index) < 10):
            raise ValueError(f"{name}: {index!r:.60} is not an id")
        token = read_token(entry, f"{name}[{index}]")
        check_id(token.content, int(index), name)
        added[int(index)] = token
    return added


def check_max_length(stated: Any, name: str) -> int:
    """Return a maximum length in tokens; None and infinity mean that there is none.

    Raises:
        ValueError: If it is not a positive number.
    """
    if stated is None or stated == math.inf:
        return UNLIMITED
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not stated >= 1:
        raise ValueError(f"{name} must be a number of tokens above 0, not {stated!r:.60}")
    return int(stated)


def read_max_length(folder: Path, settings: Mapping[str, Any]) -> int | None:
    """Return the maximum length in tokens: what the settings state, and at most the checkpoint's positions."""
    stated = settings.get("model_max_length")
    name = "model_max_length" if stated is not None else "max_len"  # its name in files of 2019
    stated = settings.get(name)
    limits = [] if stated is None else [check_max_length(stated, f"{folder / SETTINGS}: {name}")]
    if (folder / CONFIG).exists():
        from roberta_core.config import MODEL_TYPES, RobertaConfig

        config = read_json(folder / CONFIG)
        if config.get("model_type", "roberta") in MODEL_TYPES:  # others count their positions in other ways
            try:
                limits.append(RobertaConfig.from_dict(config).max_sequence_length)
            except (TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"{folder / CONFIG}: {str(error)[:300]}") from None
    return min(limits) if limits else None


def build_vocabulary_files(vocab: Mapping[str, int], merges: Iterable[Merge]) -> dict[str, str]:
    """Return file name -> content of the two files that every reader of byte-level BPE knows."""
    return {VOCAB: format_vocab(vocab), MERGES: format_merges(merges)}


def build_files(tokenizer: TokenizerBase, vocabulary: Mapping[str, str], legacy: bool | None) -> dict[str, str]:
    """Return file name -> content of everything that `save_pretrained` writes.

    Args:
        tokenizer: The tokenizer to save.
        vocabulary: The vocabulary's own files.
        legacy: True to omit tokenizer.json, False to omit the other files of tokens.
    """
    vocab = tokenizer.vocabulary()
    added = {token: index for token, index in tokenizer.get_added_vocab().items() if token not in vocab}
    named = {**vocabulary, **({ADDED: format_json(added)} if added else {})}
    return {
        **(named if legacy is not False else {}),
        **({WHOLE: tokenizer.backend_tokenizer.to_str()} if not legacy else {}),
        SETTINGS: format_json(build_tokenizer_config(tokenizer)),
        SPECIALS: format_json(build_special_tokens_map(tokenizer)),
    }


def build_tokenizer_config(tokenizer: TokenizerBase) -> dict[str, object]:
    """Return the content of tokenizer_config.json. A role without a token is null if the class has a default for it."""
    named = tokenizer.extra_special_tokens
    return {
        "added_tokens_decoder": {
            str(index): {**describe_token(token), "special": token.special}
            for index, token in tokenizer.added_tokens_decoder.items()
        },
        **tokenizer.special_tokens_map,
        **{role: None for role in tokenizer.default_roles if getattr(tokenizer, role) is None},
        **({EXTRA: named} if named else {}),
        **{name: getattr(tokenizer, name) for name in PLAIN if getattr(tokenizer, name, None) is not None},
        "model_max_length": tokenizer.model_max_length,
        "tokenizer_class": tokenizer.tokenizer_class,
    }


def build_special_tokens_map(tokenizer: TokenizerBase) -> dict[str, object]:
    """Return the content of special_tokens_map.json: texts, but all flags of a token that absorbs whitespace."""

    def describe(token: AddedToken) -> object:
        return describe_token(token) if token.lstrip or token.rstrip else token.content

    extended = tokenizer.special_tokens_map_extended
    return {
        role: [describe(one) for one in token] if isinstance(token, list) else describe(token)
        for role, token in extended.items()
    }


def add_prefix(named: Mapping[str, str], prefix: str | None) -> dict[str, str]:
    """Return the same contents under names that begin with a prefix and a dash."""
    return {f"{prefix}-{name}" if prefix else name: text for name, text in named.items()}


def write_files(folder: Path, named: Mapping[str, str]) -> tuple[str, ...]:
    """Write all the files into a folder, or none of them; return their paths."""
    from roberta_core.checkpoints.atomic import transaction

    with transaction(folder) as save:
        for name, text in named.items():
            save.write(name, text.encode("utf-8"))
    return tuple(str(folder / name) for name in named)
