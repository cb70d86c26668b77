"""Tokens and ids: the vocabulary, added tokens, the roles of special tokens, and the text of ids."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from tokenizers import AddedToken

from roberta_core.tokenization.special_tokens import ADDITIONAL, EXTRA, ROLES, is_same_token, to_added_token
from roberta_core.tokenization.tokenizer_json import check_added_tokens

# For clean_up_tokenization_spaces: what English writes without a space before it; as published, in this order.
TIDY = {
    " .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 'm": "'m", " 's": "'s", " 've": "'ve",
    " 're": "'re",
}  # fmt: skip


def build_token_property(role: str) -> property:
    """Build a property with the text of a special token, None if no token has the role; setting it gives the role."""

    def get(self: TokenTable) -> str | None:
        return self._roles[role].content if role in self._roles else None

    def put(self: TokenTable, token: str | AddedToken | None) -> None:
        self.add_special_tokens({role: token})

    return property(get, put, doc=f"The {role.replace('_', ' ')}, None if there is none.")


def build_id_property(role: str) -> property:
    """Build a property with the id of a special token; setting it gives the role to the token of that id."""

    def get(self: TokenTable) -> int | None:
        return self.convert_tokens_to_ids(self._roles[role].content) if role in self._roles else None

    def put(self: TokenTable, index: int | None) -> None:
        self.add_special_tokens({role: None if index is None else self._get_token(index)})

    return property(get, put, doc=f"The id of the {role.replace('_', ' ')}, None if there is none.")


class TokenTable:
    """Tokens and ids of a vocabulary with tokens added to it. A subclass supplies the vocabulary."""

    bos_token, bos_token_id = build_token_property("bos_token"), build_id_property("bos_token")
    eos_token, eos_token_id = build_token_property("eos_token"), build_id_property("eos_token")
    unk_token, unk_token_id = build_token_property("unk_token"), build_id_property("unk_token")
    sep_token, sep_token_id = build_token_property("sep_token"), build_id_property("sep_token")
    pad_token, pad_token_id = build_token_property("pad_token"), build_id_property("pad_token")
    cls_token, cls_token_id = build_token_property("cls_token"), build_id_property("cls_token")
    mask_token, mask_token_id = build_token_property("mask_token"), build_id_property("mask_token")
    pad_token_type_id = 0
    SPECIAL_TOKENS_ATTRIBUTES = (*ROLES, ADDITIONAL)

    clean_up_tokenization_spaces: bool

    def __init__(
        self,
        roles: Mapping[str, Any],
        additional: Iterable[Any],
        added: Mapping[int, AddedToken],
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._roles: dict[str, AddedToken] = {}
        self._named: dict[str, AddedToken] = {}
        self._additional: list[AddedToken] = []
        self._added: dict[int, AddedToken] = dict(added)
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._check_added()
        given = {role: self._to_known_token(role, token) for role, token in roles.items() if token is not None}
        # Tokens that the vocabulary lacks get their ids in the order of the published vocabulary.
        order = list(ROLES)
        for role in sorted(given, key=lambda role: (self._find_id(given[role].content) is None, order.index(role))):
            self.add_special_tokens({role: given[role]})
        if additional or extra:
            self._named = {str(name): self._to_known_token(None, token) for name, token in (extra or {}).items()}
            self.add_special_tokens({ADDITIONAL: [self._to_known_token(None, token) for token in additional]})
            self._add(self._named.values())

    def _check_added(self) -> None:
        """Raise ValueError if an added token has two ids, or another id than the vocabulary gives it."""
        check_added_tokens(self._added)
        for index, token in self._added.items():
            known = self._vocab_id(token.content)
            known = self._added_ids[token.content] if known is None else known
            if known != index:
                raise ValueError(f"the added token {token.content!r:.60} has two ids, {known} and {index}")
            other = self._vocab_token(index)
            if other is not None and other != token.content:
                raise ValueError(f"the id {index} belongs to two tokens, {other!r:.60} and {token.content!r:.60}")

    # What a subclass supplies ---------------------------------------------------------------------------------------

    def vocabulary(self) -> dict[str, int]:
        """Return token -> id, without the added tokens."""
        raise NotImplementedError

    def _vocab_size(self) -> int:
        """Return the number of entries without added tokens."""
        raise NotImplementedError

    def _last_vocab_id(self) -> int:
        """Return the highest id without added tokens."""
        raise NotImplementedError

    def _vocab_id(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary."""
        raise NotImplementedError

    def _vocab_token(self, index: int) -> str | None:
        """Return the token of the vocabulary with that id."""
        raise NotImplementedError

    def _decode_ids(self, ids: list[int]) -> str:
        """Return the text of ids."""
        raise NotImplementedError

    def _update_tokens(self) -> None:
        """Called after the added tokens changed."""

    # Sizes and ids --------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The number of entries of the vocabulary, without the tokens added to it."""
        return self._vocab_size()

    def __len__(self) -> int:
        """Return the number of rows that an embedding needs: the highest id plus 1."""
        return max([self._last_vocab_id(), *self._added]) + 1

    def get_vocab(self) -> dict[str, int]:
        """Return token -> id, added tokens included."""
        return {**self.vocabulary(), **self.get_added_vocab()}

    @property
    def vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return self.get_vocab()

    def get_added_vocab(self) -> dict[str, int]:
        """Return token -> id of the special tokens and the tokens added to the vocabulary."""
        return {token.content: index for index, token in sorted(self._added.items())}

    added_tokens_encoder = property(get_added_vocab)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Id -> token of the special tokens and the tokens added to the vocabulary."""
        return dict(sorted(self._added.items()))

    @overload  # text is a sequence of texts too, to a type checker
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a token or of each; for one that is not in the vocabulary the unknown token's id.

        Raises:
            ValueError: If a token is not in the vocabulary and there is no unknown token.
        """
        if isinstance(tokens, str):
            index = self._find_id(tokens)
            unknown = self._roles.get("unk_token")
            index = self._find_id(unknown.content) if index is None and unknown else index
            if index is None:
                raise ValueError(f"{tokens!r} is not in the vocabulary, and there is no unk_token to stand for it")
            return index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """Return the token of an id, or of each id of a list, array or tensor.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        if is_one_id(ids):
            return self._get_token(int(ids))  # pyright: ignore[reportArgumentType]
        found = to_ids(ids)
        return [self._get_token(index) for index in (self._drop_special(found) if skip_special_tokens else found)]

    def _convert_id_to_token(self, index: int) -> str:
        """Return the token of an id: the name that some data collators call."""
        return self._get_token(index)

    def _convert_token_to_id(self, token: str) -> int:
        return self.convert_tokens_to_ids(token)

    def _find_id(self, token: str) -> int | None:
        index = self._added_ids.get(token)
        return index if index is not None else self._vocab_id(token)

    def _get_token(self, index: int) -> str:
        index = operator.index(index)
        if index in self._added:
            return self._added[index].content
        token = self._vocab_token(index) if 0 <= index < 1 << 32 else None
        if token is None:
            raise ValueError(f"id {index} is in no vocabulary: there are {len(self)} tokens, counted from 0")
        return token

    def _get_required_id(self, role: str) -> int:
        """Return the id of a role's token. Raises ValueError if no token has the role."""
        index = getattr(self, f"{role}_id")
        if index is None:
            raise ValueError(f"there is no {role}; set one with add_special_tokens({{{role!r}: ...}})")
        return index

    # Special and added tokens ---------------------------------------------------------------------------------------

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Role -> text of each special token."""
        extended = self.special_tokens_map_extended
        return {
            role: [one.content for one in token] if isinstance(token, list) else token.content
            for role, token in extended.items()
        }

    @property
    def special_tokens_map_extended(self) -> dict[str, AddedToken | list[AddedToken]]:
        """Role -> each special token with its flags."""
        roles: dict[str, AddedToken | list[AddedToken]] = {
            role: self._roles[role] for role in ROLES if role in self._roles
        }
        return roles | ({ADDITIONAL: list(self._additional)} if self._additional else {}) | self._named

    @property
    def all_special_tokens_extended(self) -> list[AddedToken]:
        """Every special token once, with its flags, in the order of the roles."""
        return [self._added[index] for index in dict.fromkeys(self.all_special_ids)]

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens without a role."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[str | AddedToken]) -> None:
        self.add_special_tokens({ADDITIONAL: list(tokens)})

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of the special tokens without a role."""
        return self.convert_tokens_to_ids(self.additional_special_tokens)

    @property
    def extra_special_tokens(self) -> dict[str, str]:
        """The special tokens with a role of the model's own: name -> text."""
        return {name: token.content for name, token in self._named.items()}

    def __getattr__(self, name: str) -> Any:
        """Return a token with a role of the model's own, or its id: `tokenizer.image_token`, `.image_token_id`."""
        named = self.__dict__.get("_named", {})
        if name in named:
            return named[name].content
        if name.removesuffix("_id") in named:
            return self.convert_tokens_to_ids(named[name.removesuffix("_id")].content)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, in the order of the roles."""
        with_roles = [self._roles[role].content for role in ROLES if role in self._roles]
        return list(dict.fromkeys([*with_roles, *self.additional_special_tokens, *self.extra_special_tokens.values()]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Add tokens that are found as a whole in every text.

        Args:
            new_tokens: One token or a list, each a string or an `AddedToken`.
            special_tokens: Whether they are special tokens, which `skip_special_tokens` drops.

        Returns:
            The number of tokens that were not in the vocabulary before.
        """
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        for token in tokens:
            if not isinstance(token, str | AddedToken):
                raise ValueError(f"a token must be a string or an AddedToken, not {token!r:.60}")
        return self._add(
            to_added_token(token) if special_tokens else token if isinstance(token, AddedToken) else AddedToken(token)
            for token in tokens
        )

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Give roles to tokens, and add those that the vocabulary lacks.

        Args:
            special_tokens_dict: Role (`mask_token`, ..., `additional_special_tokens`, `extra_special_tokens`) -> token,
                list of tokens, or None to take the role away.
            replace_additional_special_tokens: Whether new additional tokens replace the earlier ones.

        Returns:
            The number of tokens that were not in the vocabulary before.
        """
        new: list[AddedToken] = []
        for role, value in special_tokens_dict.items():
            if role in (ADDITIONAL, EXTRA):
                tokens = [to_added_token(token) for token in check_list(role, value)]
                kept = [] if replace_additional_special_tokens else self._additional
                self._additional = list({token.content: token for token in [*kept, *tokens]}.values())
                new += tokens
            elif role not in ROLES:
                raise ValueError(f"{role!r} is no role of a special token; there are {', '.join([*ROLES, ADDITIONAL])}")
            elif value is None:
                self._roles.pop(role, None)
            else:
                self._roles[role] = self._to_known_token(role, value)
                new.append(self._roles[role])
        return self._add(new)

    def _to_known_token(self, role: str | None, token: Any) -> AddedToken:
        """Return a special token; one that is given as text keeps the flags that its file gave it."""
        known = self._added.get(self._added_ids.get(token, -1)) if isinstance(token, str) else None
        return to_added_token(known or token, role)

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        added, ids = dict(self._added), dict(self._added_ids)
        first = following = len(self)
        for token in tokens:
            index = ids.get(token.content)
            index = self._vocab_id(token.content) if index is None else index
            if not token.content or (index in added and is_same_token(added[index], token)):
                continue
            if index is None:
                index, following = following, following + 1
            added[index] = token
            ids[token.content] = index
        check_added_tokens(added)
        self._added, self._added_ids = added, ids
        self._update_tokens()
        return following - first

    def _drop_special(self, ids: list[int]) -> list[int]:
        """Return the ids without those of special tokens, also of a second entry with the text of one."""
        texts = {*self.all_special_tokens, *(token.content for token in self._added.values() if token.special)}
        skipped = {index for index in {*ids} if self._get_token(index) in texts}
        return [index for index in ids if index not in skipped]

    # Text -----------------------------------------------------------------------------------------------------------

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Return the text of ids.

        Args:
            token_ids: A list, an array or a tensor of ids, or one id.
            skip_special_tokens: Whether to drop special tokens.
            clean_up_tokenization_spaces: Whether to remove the spaces before punctuation; None for the tokenizer's own
                setting.
            spaces_between_special_tokens: Accepted for compatibility, no effect: no space is put between tokens.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        ids = to_ids(token_ids)
        if ids and isinstance(ids[0], list | tuple):
            raise ValueError("decode accepts the ids of one text; use batch_decode for a list of texts")
        text = self._decode_ids(self._drop_special(ids) if skip_special_tokens else ids)
        tidy = clean_up_tokenization_spaces
        return (
            self.clean_up_tokenization(text) if (self.clean_up_tokenization_spaces if tidy is None else tidy) else text
        )

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        spaces_between_special_tokens: bool = True,
    ) -> list[str]:
        """Return the text of each row of ids; the arguments are those of `decode`."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Return the text without the spaces that English does not write, as before a full stop."""
        for loose, tight in TIDY.items():
            out_string = out_string.replace(loose, tight)
        return out_string


def check_list(name: str, tokens: Any) -> list[Any]:
    """Return tokens as a list. Raises ValueError for a string, whose characters would become tokens."""
    if isinstance(tokens, str | AddedToken | Mapping) or not isinstance(tokens, Iterable):
        raise ValueError(f"{name} must be a list of tokens, not {tokens!r:.60}")
    return list(tokens)


def is_one_id(ids: Any) -> bool:
    """Whether a value is one id: an integer, or an array or tensor without axes."""
    shape = getattr(ids, "shape", None)
    return isinstance(ids, int) or (hasattr(ids, "__index__") and (shape is None or len(shape) == 0))


def to_ids(ids: Any) -> list[int]:
    """Return ids from a list, an array or tensor, or one number."""
    if isinstance(ids, list):
        return ids
    ids = ids.tolist() if hasattr(ids, "tolist") else ids.numpy().tolist() if hasattr(ids, "numpy") else ids
    return [ids] if isinstance(ids, int) else list(ids)
