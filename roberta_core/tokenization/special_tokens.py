"""RoBERTa's special tokens: their roles, their spelling, and how each is found in a text."""

from __future__ import annotations

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

# The published vocabulary begins with these (ids 0-3) and ends with the mask.
FIRST = ("<s>", "<pad>", "</s>", "<unk>")
LAST = "<mask>"

FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def as_added_token(role: str, token: str | AddedToken) -> AddedToken:
    """A token given as plain text becomes the one published for its role: the mask eats the blanks before it."""
    if isinstance(token, AddedToken):
        return AddedToken(token.content, special=True, **{flag: getattr(token, flag) for flag in FLAGS})
    is_mask = role == "mask_token"
    return AddedToken(token, special=True, lstrip=is_mask, normalized=not is_mask)


def describe(token: AddedToken) -> dict[str, object]:
    """What the published JSON files say about a token."""
    return {"content": token.content, **{flag: getattr(token, flag) for flag in FLAGS}}
