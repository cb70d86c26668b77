"""RoBERTa's special tokens: their roles, their text, and the flags that say how each is found in a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken

# role -> published text, in the order of the published special_tokens_map.json
ROLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
ADDITIONAL = "additional_special_tokens"
# The name under which newer releases of transformers write the additional ones (a list) or named ones (an object).
EXTRA = "extra_special_tokens"
MODEL_SPECIFIC = "model_specific_special_tokens"  # named ones, in transformers 5

# The published vocabulary begins with these (ids 0-3) and ends with the mask.
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
LAST = "<mask>"

FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def to_added_token(token: str | AddedToken | Mapping[str, Any], role: str | None = None) -> AddedToken:
    """Return a special token made of its text, of its entry in a JSON file, or of another token.

    A text becomes the token that is published for its role: the mask absorbs the whitespace before it.

    Raises:
        ValueError: If the token is none of these.
    """
    if isinstance(token, AddedToken):
        return AddedToken(special=True, **describe_token(token))  # pyright: ignore[reportArgumentType]
    if isinstance(token, Mapping):
        return read_token(token, role or "a special token", special=True)
    if not isinstance(token, str):
        raise ValueError(f"{role or 'a special token'} must be a string or an AddedToken, not {token!r:.60}")
    is_mask = role == "mask_token"
    return AddedToken(token, special=True, lstrip=is_mask, normalized=role is not None and not is_mask)


def read_token(entry: Any, name: str, *, special: bool | None = None) -> AddedToken:
    """Return the token of an entry in a JSON file: `{"content": "<x>", "lstrip": false, ...}`.

    Raises:
        ValueError: If the entry has no content, or a flag is not a boolean. `name` says in the message what it is.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("content"), str):
        raise ValueError(f'{name} must be an object with the string "content", not {entry!r:.60}')
    flags = {flag: entry[flag] for flag in (*FLAGS, "special") if flag in entry}
    for flag, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}: {flag} must be true or false, not {value!r:.60}")
    return AddedToken(entry["content"], **{**flags, **({} if special is None else {"special": special})})


def describe_token(token: AddedToken) -> dict[str, object]:
    """Return the fields that the published JSON files give for a token."""
    return {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}


def is_same_token(token: AddedToken, other: AddedToken) -> bool:
    """Whether two tokens have the same text and flags (the library's own comparison looks at the text alone)."""
    return describe_token(token) == describe_token(other) and token.special == other.special
