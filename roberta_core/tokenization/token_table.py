"""What a tokenizer knows of its tokens: their ids, the roles of the special ones, and the text that they stand for."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from tokenizers import AddedToken

from roberta_core.tokenization.special_tokens import ADDITIONAL, ROLES, is_same_token, to_added_token

# What English sets without a blank before it, for clean_up_tokenization_spaces; as published, in this order.
TIDY = {
    " .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 'm": "'m", " 's": "'s", " 've": "'ve",
    " 're": "'re",
}  # fmt: skip


def build_token_property(role: str) -> property:
    """A property with the text of a special token, None where no token has the role; setting it gives the role."""

    def get(self: TokenTable) -> str | None:
        return self._roles[role].content if role in self._roles else None

    def put(self: TokenTable, token: str | AddedToken) -> None:
        self.add_special_tokens({role: token})

    return property(get, put, doc=f"The {role.replace('_', ' ')}.")


def build_id_property(role: str) -> property:
    """A property with the id of a special token."""

    def get(self: TokenTable) -> int | None:
        return self.convert_tokens_to_ids(self._roles[role].content) if role in self._roles else None

    return property(get, doc=f"The id of the {role.replace('_', ' ')}.")


class TokenTable:
    """Tokens and ids of a vocabulary with tokens added to it. A child supplies the vocabulary."""

    bos_token, bos_token_id = build_token_property("bos_token"), build_id_property("bos_token")
    eos_token, eos_token_id = build_token_property("eos_token"), build_id_property("eos_token")
    unk_token, unk_token_id = build_token_property("unk_token"), build_id_property("unk_token")
    sep_token, sep_token_id = build_token_property("sep_token"), build_id_property("sep_token")
    pad_token, pad_token_id = build_token_property("pad_token"), build_id_property("pad_token")
    cls_token, cls_token_id = build_token_property("cls_token"), build_id_property("cls_token")
    mask_token, mask_token_id = build_token_property("mask_token"), build_id_property("mask_token")
    pad_token_type_id = 0

    clean_up_tokenization_spaces: bool

    def __init__(self, roles: Mapping[str, Any], additional: Iterable[Any], added: Mapping[int, AddedToken]) -> None:
        self._roles: dict[str, AddedToken] = {}
        self._additional: list[AddedToken] = []
        self._added: dict[int, AddedToken] = dict(added)
        self._added_ids = {token.content: index for index, token in self._added.items()}
        given = {role: self._to_known_token(role, token) for role, token in roles.items()}
        # Those that the vocabulary lacks get their ids in the order of the vocabulary's published layout.
        for role in sorted(
            given, key=lambda role: (self._find_id(given[role].content) is None, list(ROLES).index(role))
        ):
            self.add_special_tokens({role: given[role]})
        if additional:
            self.add_special_tokens({ADDITIONAL: list(additional)})

    # What a child supplies ------------------------------------------------------------------------------------------

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, without the added tokens."""
        raise NotImplementedError

    def _vocab_size(self) -> int:
        """The number of entries without added tokens."""
        raise NotImplementedError

    def _vocab_id(self, token: str) -> int | None:
        """The id of a token of the vocabulary."""
        raise NotImplementedError

    def _vocab_token(self, index: int) -> str | None:
        """The token of the vocabulary with that id."""
        raise NotImplementedError

    def _decode_ids(self, ids: list[int]) -> str:
        """The text that ids stand for."""
        raise NotImplementedError

    def _update_tokens(self) -> None:
        """Called after the added tokens changed."""

    # Sizes and ids --------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The number of entries of the vocabulary, without the tokens added to it."""
        return self._vocab_size()

    def __len__(self) -> int:
        return self._vocab_size() + sum(self._vocab_id(token.content) is None for token in self._added.values())

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, added tokens included."""
        return {**self.vocabulary(), **self.get_added_vocab()}

    def get_added_vocab(self) -> dict[str, int]:
        """Token -> id of the special tokens and the tokens added to the vocabulary."""
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
        """The id of a token or of each; the unknown token's for one that is in no vocabulary."""
        if isinstance(tokens, str):
            index = self._find_id(tokens)
            unknown = self._roles.get("unk_token")
            index = self._find_id(unknown.content) if index is None and unknown else index
            if index is None:
                raise ValueError(f"{tokens!r} is in no vocabulary, and no token stands for unknown ones")
            return index
        return [self.convert_tokens_to_ids(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Iterable[int], skip_special_tokens: bool = False) -> str | list[str]:
        """The token of an id or of each. Raises ValueError for an id that is in no vocabulary."""
        if hasattr(ids, "__index__") and not isinstance(ids, Sequence):
            return self._get_token(int(ids))  # pyright: ignore[reportArgumentType]
        skipped = self._find_special_ids() if skip_special_tokens else ()
        return [self._get_token(index) for index in to_ids(ids) if index not in skipped]

    def _find_id(self, token: str) -> int | None:
        index = self._added_ids.get(token)
        return index if index is not None else self._vocab_id(token)

    def _get_token(self, index: int) -> str:
        index = operator.index(index)
        if index in self._added:
            return self._added[index].content
        token = self._vocab_token(index) if index >= 0 else None
        if token is None:
            raise ValueError(f"id {index} is in no vocabulary: there are {len(self)} tokens, counted from 0")
        return token

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
        return roles | ({ADDITIONAL: list(self._additional)} if self._additional else {})

    @property
    def additional_special_tokens(self) -> list[str]:
        """The special tokens that have no role."""
        return [token.content for token in self._additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[str | AddedToken]) -> None:
        self.add_special_tokens({ADDITIONAL: list(tokens)})

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of the special tokens that have no role."""
        return self.convert_tokens_to_ids(self.additional_special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, in the order of the roles."""
        with_roles = [self._roles[role].content for role in ROLES if role in self._roles]
        return list(dict.fromkeys([*with_roles, *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(
        self, new_tokens: str | AddedToken | Sequence[str | AddedToken], special_tokens: bool = False
    ) -> int:
        """Let tokens be found whole in every text; returns how many were new to the vocabulary."""
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else new_tokens
        return self._add(
            to_added_token(token) if special_tokens else token if isinstance(token, AddedToken) else AddedToken(token)
            for token in tokens
        )

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Give roles (`mask_token`, ..., `additional_special_tokens`) to tokens; returns how many of these were new."""
        new: list[AddedToken] = []
        for role, value in special_tokens_dict.items():
            if role == ADDITIONAL:
                tokens = [to_added_token(token) for token in value]
                kept = [] if replace_additional_special_tokens else self._additional
                self._additional = list({token.content: token for token in [*kept, *tokens]}.values())
                new += tokens
            elif role in ROLES:
                self._roles[role] = self._to_known_token(role, value)
                new.append(self._roles[role])
            else:
                raise ValueError(f"{role!r} is no role of a special token; there are {', '.join([*ROLES, ADDITIONAL])}")
        return self._add(new)

    def _to_known_token(self, role: str, token: Any) -> AddedToken:
        """A token given as text keeps the flags that its file gave it."""
        known = self._added.get(self._added_ids.get(token, -1)) if isinstance(token, str) else None
        return to_added_token(known or token, role)

    def _add(self, tokens: Iterable[AddedToken]) -> int:
        size = len(self)
        for token in tokens:
            index = self._find_id(token.content)
            if not token.content or (index in self._added and is_same_token(self._added[index], token)):
                continue
            if index is None:
                index = max([self._vocab_size() - 1, *self._added]) + 1
                if self._vocab_token(index) is not None:
                    raise ValueError(f"no token can be added: the ids of the vocabulary have holes below {index}")
            self._added[index] = token
            self._added_ids[token.content] = index
        self._update_tokens()
        return len(self) - size

    def _find_special_ids(self) -> set[int]:
        """The ids that `skip_special_tokens` leaves out."""
        return {*self.all_special_ids, *(index for index, token in self._added.items() if token.special)}

    def _select_tokens_to_find(self, literal: bool) -> dict[int, AddedToken]:
        """The added tokens that are looked for in a text: with `literal` those alone that are not special."""
        return {index: token for index, token in self._added.items() if not (literal and token.special)}

    # Text -----------------------------------------------------------------------------------------------------------

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of ids: a list, an array or one id. Raises ValueError for an id that is in no vocabulary."""
        ids = to_ids(token_ids)
        if skip_special_tokens:
            skipped = self._find_special_ids()
            ids = [index for index in ids if index not in skipped]
        text = self._decode_ids(ids)
        tidy = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if tidy else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """The text of each row of ids."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    @staticmethod
    def clean_up_tokenization(text: str) -> str:
        """Close the blanks that English does not set, as before a full stop."""
        for loose, tight in TIDY.items():
            text = text.replace(loose, tight)
        return text


def to_ids(ids: Any) -> list[int]:
    """Ids from a list, an array or tensor, or one number."""
    if isinstance(ids, list):
        return ids
    ids = ids.tolist() if hasattr(ids, "tolist") else ids.numpy().tolist() if hasattr(ids, "numpy") else ids
    return [ids] if isinstance(ids, int) else list(ids)
