"""A tokenizer that is whole in its tokenizer.json, whatever its model: those of CamemBERT and XLM-RoBERTa, for two."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer, pre_tokenizers

from roberta_core.tokenization.call_arguments import Options, Text, check_unicode
from roberta_core.tokenization.roberta_tokenizer_fast import RobertaTokenizerFast
from roberta_core.tokenization.rows import Frame, Pieces, Types
from roberta_core.tokenization.special_tokens import ROLES, describe, is_same_token
from roberta_core.tokenization.tokenizer_base import TokenizerBase
from roberta_core.tokenization.tokenizer_files import read_settings, resolve_folder
from roberta_core.tokenization.tokenizer_json import is_roberta_tokenizer, open_tokenizer_json
from roberta_core.tokenization.vocabulary_files import FilePath

# Settings of a byte-level tokenizer; tokenizer.json has its own.
NOT_HERE = ("errors", "add_prefix_space", "trim_offsets")
SAMPLE = "a"  # a text to see what the file puts around texts


class TokenizerFast(TokenizerBase):
    """The call surface of `RobertaTokenizerFast` over any tokenizer.json.

    The file says how texts are normalised and split, where blanks are put before them, and what stands around them:
    `add_prefix_space` is refused. `settings` are the special tokens by role and those of `TokenizerBase`. A role that
    is not given has no token.
    """

    is_fast = True
    add_prefix_space = None

    def __init__(
        self,
        tokenizer_file: FilePath | Tokenizer,
        *,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        tokenizer_class: str | None = None,
        **settings: Any,
    ) -> None:
        engine = open_tokenizer_json(tokenizer_file)
        engine.no_truncation()
        engine.no_padding()
        self._engine = engine
        self.tokenizer_class = tokenizer_class or "PreTrainedTokenizerFast"
        self._known = engine.get_added_tokens_decoder()
        roles = {role: settings.pop(role) for role in ROLES if settings.get(role) is not None}
        super().__init__(roles, additional_special_tokens, self._known, **settings)
        self._framing = read_special_tokens_around(self._engine)

    @classmethod
    def _select_arguments(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        if "tokenizer_file" not in settings:
            raise FileNotFoundError("the folder holds no tokenizer.json")
        return {name: value for name, value in settings.items() if name not in NOT_HERE}

    # The vocabulary -------------------------------------------------------------------------------------------------

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, without the added tokens that the vocabulary lacks."""
        return self._engine.get_vocab(with_added_tokens=False)

    def _vocab_size(self) -> int:
        return self._engine.get_vocab_size(with_added_tokens=False)

    def _vocab_id(self, token: str) -> int | None:
        return self._engine.model.token_to_id(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._engine.model.id_to_token(index)

    def _update_tokens(self) -> None:
        known = self._known
        if self._added.keys() == known.keys() and all(
            is_same_token(token, known[i]) for i, token in self._added.items()
        ):
            return
        whole = json.loads(self._engine.to_str())
        whole["added_tokens"] = [
            {"id": index, **describe(token), "special": token.special} for index, token in sorted(self._added.items())
        ]
        self._engine = Tokenizer.from_str(json.dumps(whole))
        self._known = self._engine.get_added_tokens_decoder()
        for index, token in self._added.items():
            if self._engine.token_to_id(token.content) != index:
                raise ValueError(f"{token.content!r} cannot have the id {index}: the ids before it have holes")

    # What the call surface asks for ---------------------------------------------------------------------------------

    def _build_frame(self) -> Frame:
        pad = self.pad_token_id
        return Frame(self._framing.single, self._framing.pair, 0 if pad is None else pad, self._framing.types)

    def _split(self, texts: list[Text], options: Options, *, traced: bool) -> list[Pieces]:
        if options.spaced is not None:
            raise ValueError("add_prefix_space has no effect here: tokenizer.json says where blanks are put")
        if options.padding and self.pad_token_id is None:
            raise ValueError("there is no pad token to pad with; give one with add_special_tokens({'pad_token': ...})")
        engine = self._engine
        engine.encode_special_tokens = options.literal
        wanted: dict[str, Any] = {"is_pretokenized": options.words, "add_special_tokens": False}
        try:
            if not traced:
                return [Pieces(found.ids) for found in engine.encode_batch_fast(texts, **wanted)]
            encodings = engine.encode_batch(texts, **wanted)
        except TypeError:  # what the library raises for a text that is not Unicode
            check_unicode([word for words in texts for word in words] if options.words else texts)  # pyright: ignore[reportArgumentType]
            raise
        return [Pieces(found.ids, found.offsets, found.word_ids) for found in encodings]

    def _decode_ids(self, ids: list[int]) -> str:
        for index in {*ids}:
            self._get_token(index)
        return self._engine.decode(ids, skip_special_tokens=False)

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text that tokens stand for."""
        decoder = self._engine.decoder
        return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A copy of the `tokenizers.Tokenizer` that does the work."""
        return Tokenizer.from_str(self._engine.to_str())

    def _build_vocabulary_files(self) -> dict[str, str]:
        return {}

    def save_vocabulary(self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None) -> tuple:
        """Write the model's own files, in the form that the library has for its kind; returns the paths."""
        os.makedirs(save_directory, exist_ok=True)
        return tuple(self._engine.model.save(os.fspath(save_directory), filename_prefix))


def read_special_tokens_around(engine: Tokenizer) -> Frame:
    """What a tokenizer puts around texts, seen on a sample; the pad's id is not among it."""
    single, single_types = read_around(engine.encode(SAMPLE), 1)
    pair, pair_types = read_around(engine.encode(SAMPLE, SAMPLE), 2)
    typed = any(any(texts) or any(map(any, parts)) for parts, texts in (single_types, pair_types))
    return Frame(single, pair, 0, (single_types, pair_types) if typed else None)


def read_around(encoding: Encoding, texts: int) -> tuple[tuple[list[int], ...], Types]:
    """The ids before, between and after texts that are the same, with their types and those of the texts."""
    ids: list[list[int]] = [[] for _ in range(texts + 1)]
    types: list[list[int]] = [[] for _ in range(texts + 1)]
    text_types = [0] * texts
    size = encoding.special_tokens_mask.count(0) // texts
    seen = 0
    for index, kind, special in zip(encoding.ids, encoding.type_ids, encoding.special_tokens_mask, strict=True):
        if special:
            ids[seen // size].append(index)
            types[seen // size].append(kind)
        else:
            text_types[seen // size] = kind
            seen += 1
    return tuple(ids), (tuple(types), text_types)


def load_tokenizer(source: str | os.PathLike[str], **settings: Any) -> RobertaTokenizerFast | TokenizerFast:
    """The fast tokenizer of a checkpoint, whatever its kind; both kinds have the same call surface.

    `source` and `settings` are those of `RobertaTokenizerFast.from_pretrained`. A tokenizer.json of RoBERTa's kind, or
    a vocab.json with its merges.txt, becomes a `RobertaTokenizerFast`, any other tokenizer.json a `TokenizerFast`.
    Raises FileNotFoundError if there is no tokenizer, ValueError if a file is broken.
    """
    found = read_settings(resolve_folder(source, settings))
    asked = {"name_or_path": os.fspath(source), **settings}
    if "tokenizer_file" not in found:
        return RobertaTokenizerFast(**{**RobertaTokenizerFast._select_arguments(found), **asked})
    whole = open_tokenizer_json(found["tokenizer_file"])
    if not is_roberta_tokenizer(whole):
        return TokenizerFast(**{**TokenizerFast._select_arguments(found), "tokenizer_file": whole, **asked})
    splitter = whole.pre_tokenizer
    assert isinstance(splitter, pre_tokenizers.ByteLevel)
    own = {"add_prefix_space": splitter.add_prefix_space}  # where tokenizer_config.json is silent
    return RobertaTokenizerFast(
        **{**own, **RobertaTokenizerFast._select_arguments(found), "tokenizer_file": whole, **asked}
    )
