"""A tokenizer's files in a checkpoint's folder: what they say, and how they are written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

from roberta_core.tokenization.special_tokens import ADDITIONAL, FLAGS, ROLES, describe
from roberta_core.tokenization.vocabulary_files import Merge, format_json, format_merges, format_vocab, read_json

if TYPE_CHECKING:
    from roberta_core.tokenization.tokenizer_base import TokenizerBase

VOCAB, MERGES, WHOLE = "vocab.json", "merges.txt", "tokenizer.json"
SETTINGS, SPECIALS, ADDED, CONFIG = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
)

# Settings of tokenizer_config.json that are arguments of both tokenizers under the same name.
PLAIN = (
    "errors",
    "add_prefix_space",
    "trim_offsets",
    "padding_side",
    "truncation_side",
    "model_input_names",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
)


def resolve_folder(source: str | os.PathLike[str], settings: dict[str, Any]) -> Path:
    """The folder of a checkpoint's tokenizer; what says how to come by it is taken out of `settings`."""
    from roberta_core.checkpoints import hub
    from roberta_core.checkpoints.source import resolve

    return resolve(source, ("config", "tokenizer"), **hub.options(settings))


def read_settings(folder: Path) -> dict[str, Any]:
    """The arguments that make the tokenizer of a folder. Raises FileNotFoundError if it holds no vocabulary."""
    found = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
    specials = read_json(folder / SPECIALS) if (folder / SPECIALS).exists() else {}
    arguments: dict[str, Any] = {name: found[name] for name in PLAIN if found.get(name) is not None}
    extra = found.get("extra_special_tokens")  # what newer libraries call the additional ones
    for role in (*ROLES, ADDITIONAL):
        value = (
            found.get(role) or specials.get(role) or (extra if role == ADDITIONAL and isinstance(extra, list) else None)
        )
        if value:
            arguments[role] = value
    arguments["model_max_length"] = read_max_length(folder, found.get("model_max_length"))
    if isinstance(found.get("tokenizer_class"), str):
        arguments["tokenizer_class"] = found["tokenizer_class"]
    if (folder / WHOLE).exists():
        return arguments | {"tokenizer_file": str(folder / WHOLE)}
    if (folder / VOCAB).exists() and (folder / MERGES).exists():
        added = read_added(folder, found)
        return arguments | {"vocab_file": str(folder / VOCAB), "merges_file": str(folder / MERGES), "added": added}
    raise FileNotFoundError(f"{folder} holds no tokenizer: neither {WHOLE} nor {VOCAB} with {MERGES}")


def read_added(folder: Path, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Id -> token of those that the vocabulary's own two files do not tell of."""
    added = {}
    if (folder / ADDED).exists():
        added = {index: AddedToken(token) for token, index in read_json(folder / ADDED).items()}
    for index, token in settings.get("added_tokens_decoder", {}).items():
        flags = {flag: bool(token[flag]) for flag in FLAGS if flag in token}
        added[int(index)] = AddedToken(token["content"], special=bool(token.get("special")), **flags)
    return added


def read_max_length(folder: Path, stated: float | None) -> int | None:
    """The longest row in tokens: what the settings state, and never more than the checkpoint's positions."""
    limits = [int(stated)] if stated else []
    if (folder / CONFIG).exists():
        from roberta_core.config import MODEL_TYPES, RobertaConfig

        config = read_json(folder / CONFIG)
        if config.get("model_type", "roberta") in MODEL_TYPES:  # others count their positions in other ways
            limits.append(RobertaConfig.from_dict(config).max_sequence_length)
    return min(limits) if limits else None


def build_vocabulary_files(vocab: Mapping[str, int], merges: Iterable[Merge]) -> dict[str, str]:
    """File name -> text of the two files that every reader of byte-level BPE knows."""
    return {VOCAB: format_vocab(vocab), MERGES: format_merges(merges)}


def build_files(tokenizer: TokenizerBase, vocabulary: Mapping[str, str], legacy: bool | None) -> dict[str, str]:
    """File name -> text of everything that `save_pretrained` writes, `vocabulary` being that of the vocabulary's files.

    Without tokenizer.json if `legacy`; that and no other file of tokens if `legacy` is False.
    """
    size = tokenizer.vocab_size
    added = {token: index for token, index in tokenizer.get_added_vocab().items() if index >= size}
    named = {**vocabulary, **({ADDED: format_json(added)} if added else {})}
    return {
        **(named if legacy is not False else {}),
        **({WHOLE: tokenizer.backend_tokenizer.to_str()} if not legacy else {}),
        SETTINGS: format_json(build_tokenizer_config(tokenizer)),
        SPECIALS: format_json(build_special_tokens_map(tokenizer)),
    }


def build_tokenizer_config(tokenizer: TokenizerBase) -> dict[str, object]:
    """The content of tokenizer_config.json."""
    return {
        "added_tokens_decoder": {
            str(index): {**describe(token), "special": token.special}
            for index, token in tokenizer.added_tokens_decoder.items()
        },
        **tokenizer.special_tokens_map,
        **{name: getattr(tokenizer, name) for name in PLAIN if getattr(tokenizer, name, None) is not None},
        "model_max_length": tokenizer.model_max_length,
        "tokenizer_class": tokenizer.tokenizer_class,
    }


def build_special_tokens_map(tokenizer: TokenizerBase) -> dict[str, object]:
    """The content of special_tokens_map.json: plain text, but all the flags of a token that eats blanks."""

    def said(token: AddedToken) -> object:
        return describe(token) if token.lstrip or token.rstrip else token.content

    extended = tokenizer.special_tokens_map_extended
    return {
        role: [said(one) for one in token] if isinstance(token, list) else said(token)
        for role, token in extended.items()
    }


def add_prefix(named: Mapping[str, str], prefix: str | None) -> dict[str, str]:
    """The same texts under names that begin with a prefix and a dash."""
    return {f"{prefix}-{name}" if prefix else name: text for name, text in named.items()}


def write_files(folder: Path, named: Mapping[str, str]) -> tuple[str, ...]:
    """Write all the files into a folder, or none of them; returns their paths."""
    from roberta_core.checkpoints.atomic import transaction

    with transaction(folder) as save:
        for name, text in named.items():
            save.write(name, text.encode("utf-8"))
    return tuple(str(folder / name) for name in named)
