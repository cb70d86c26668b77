"""RoBERTa's special tokens: their roles, their spelling, and how each is found in a text."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import AddedToken

# role -> published spelling, in the order of the published special_tokens_map.json
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

# The published vocabulary begins with these (ids 0-3) and ends with the mask.
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
LAST = "<mask>"

FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def to_added_token(token: str | AddedToken | Mapping, role: str | None = None) -> AddedToken:
    """A special token from plain text, from what a JSON file says of it, or as it is; always marked special.

    Plain text becomes the token that is published for its role: the mask eats the blanks before it.
    """
    if isinstance(token, AddedToken):
        return AddedToken(special=True, **describe(token))  # pyright: ignore[reportArgumentType]
    if isinstance(token, Mapping) and isinstance(token.get("content"), str):
        flags = {flag: bool(token[flag]) for flag in FLAGS if flag in token}
        return AddedToken(token["content"], special=True, **flags)
    if not isinstance(token, str):
        raise TypeError(f"{role or 'a special token'} must be text or an AddedToken, not {token!r:.60}")
    is_mask = role == "mask_token"
    return AddedToken(token, special=True, lstrip=is_mask, normalized=role is not None and not is_mask)


def describe(token: AddedToken) -> dict[str, object]:
    """What the published JSON files say about a token."""
    return {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}


def is_same_token(token: AddedToken, other: AddedToken) -> bool:
    """Whether two tokens are spelt and found alike (the library's own comparison looks at the spelling alone)."""
    return describe(token) == describe(other) and token.special == other.special
