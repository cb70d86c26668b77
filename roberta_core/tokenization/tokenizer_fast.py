"""A fast tokenizer of any kind from its tokenizer.json, such as CamemBERT's and XLM-RoBERTa's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer, models

from roberta_core.tokenization.call_arguments import Options, Text, check_unicode
from roberta_core.tokenization.published_methods import FastTokenizerMethods
from roberta_core.tokenization.roberta_tokenizer_fast import RobertaTokenizerFast
from roberta_core.tokenization.rows import Frame, Pieces, Types
from roberta_core.tokenization.special_tokens import ROLES, describe_token, is_same_token
from roberta_core.tokenization.tokenizer_base import TokenizerBase
from roberta_core.tokenization.tokenizer_files import read_consistently, read_settings, resolve_folder
from roberta_core.tokenization.tokenizer_json import (
    check_added_ids,
    check_added_tokens,
    convert_errors,
    is_roberta_tokenizer,
    open_tokenizer_json,
)
from roberta_core.tokenization.vocabulary_files import FilePath

# Settings of a byte-level tokenizer; tokenizer.json has its own.
NOT_HERE = ("errors", "add_prefix_space", "trim_offsets")


class TokenizerFast(FastTokenizerMethods, TokenizerBase):
    """The methods of `RobertaTokenizerFast` for any tokenizer.json.

    The file determines how texts are normalised and split, where spaces are put before them, and which special tokens
    are put around them. So `add_prefix_space` is refused.

    Args:
        tokenizer_file: Path of tokenizer.json.
        tokenizer_object: A `tokenizers.Tokenizer`, instead of the file.
        additional_special_tokens: More special tokens.
        tokenizer_class: The name for tokenizer_config.json.
        **settings: The special tokens by role (a role that is not given has no token), and `model_max_length`,
            `padding_side`, `truncation_side`, `model_input_names`, `clean_up_tokenization_spaces`,
            `split_special_tokens`, `extra_special_tokens`.

    Raises:
        ValueError: If the file is damaged.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from roberta_core import TokenizerFast
        >>> words = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1, "cat": 2}, unk_token="<unk>"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> TokenizerFast(words, unk_token="<unk>")("the dog").input_ids
        [1, 0]
    """

    is_fast = True
    add_prefix_space = None

    def __init__(
        self,
        tokenizer_file: FilePath | Tokenizer | None = None,
        *,
        tokenizer_object: Tokenizer | None = None,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        tokenizer_class: str | None = None,
        **settings: Any,
    ) -> None:
        if settings.get("do_lower_case"):
            raise ValueError("do_lower_case has no effect here: the normaliser of tokenizer.json determines the case")
        tokenizer_file = tokenizer_object if tokenizer_file is None else tokenizer_file
        if tokenizer_file is None:
            raise ValueError("a tokenizer needs tokenizer_file or tokenizer_object")
        engine = open_tokenizer_json(tokenizer_file)
        if engine.truncation or engine.padding or engine.encode_special_tokens:
            engine = Tokenizer.from_str(engine.to_str())  # the caller's own stays unchanged
            engine.no_truncation()
            engine.no_padding()
        self._set_engine(engine)
        self.tokenizer_class = tokenizer_class or "PreTrainedTokenizerFast"
        roles = {role: settings.pop(role) for role in ROLES if role in settings}
        super().__init__(roles, additional_special_tokens, engine.get_added_tokens_decoder(), **settings)
        self._special_frame = read_special_tokens_around(engine)

    def _set_engine(self, engine: Tokenizer) -> None:
        self._engines = {False: engine}
        self._last: int | None = None

    @property
    def _engine(self) -> Tokenizer:
        return self._engines[False]

    def _get_engine(self, split_special: bool) -> Tokenizer:
        """Return the engine for a kind of call. Neither is changed after it is built, so that threads share them."""
        engines = self._engines
        if split_special not in engines:
            engine = Tokenizer.from_str(engines[False].to_str())
            engine.encode_special_tokens = True
            engines[True] = engine
        return engines[split_special]

    @classmethod
    def _select_arguments(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        if "tokenizer_file" not in settings:
            raise FileNotFoundError("the folder holds no tokenizer.json")
        return {name: value for name, value in settings.items() if name not in NOT_HERE}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the second engine and what is computed on request."""
        return {**self.__dict__, "_engines": {False: self._engine}, "_last": None}

    # The vocabulary -------------------------------------------------------------------------------------------------

    def vocabulary(self) -> dict[str, int]:
        """Return token -> id, without the added tokens that the vocabulary lacks."""
        return self._engine.get_vocab(with_added_tokens=False)

    def _vocab_size(self) -> int:
        return self._engine.get_vocab_size(with_added_tokens=False)

    def _last_vocab_id(self) -> int:
        if self._last is None:
            self._last = max(self.vocabulary().values(), default=-1)
        return self._last

    def _vocab_id(self, token: str) -> int | None:
        return self._engine.model.token_to_id(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._engine.model.id_to_token(index)

    def _update_tokens(self) -> None:
        known = self._engine.get_added_tokens_decoder()
        unchanged = all(index in known and is_same_token(token, known[index]) for index, token in self._added.items())
        if unchanged and len(known) == len(self._added):
            return
        check_added_tokens(self._added)
        content = json.loads(self._engine.to_str())
        content["added_tokens"] = [
            {"id": index, **describe_token(token), "special": token.special}
            for index, token in sorted(self._added.items())
        ]
        with convert_errors("the tokens cannot be added"):
            engine = Tokenizer.from_str(json.dumps(content))
        check_added_ids(engine, self._added)
        self._set_engine(engine)

    # What the base class needs --------------------------------------------------------------------------------------

    def _build_frame(self) -> Frame:
        pad, frame = self.pad_token_id, self._special_frame
        return Frame(frame.single, frame.pair, 0 if pad is None else pad, frame.types)

    def _split(self, texts: list[Text], options: Options, *, with_spans: bool) -> list[Pieces]:
        if options.prefix_space is not None:
            raise ValueError("add_prefix_space has no effect here: tokenizer.json determines where spaces are put")
        engine = self._get_engine(options.split_special)
        arguments: dict[str, Any] = {"is_pretokenized": options.words, "add_special_tokens": False}
        try:
            with convert_errors("the `tokenizers` library cannot encode the text with this tokenizer.json"):
                if not with_spans:
                    return [Pieces(found.ids) for found in engine.encode_batch_fast(texts, **arguments)]
                encodings = engine.encode_batch(texts, **arguments)
        except TypeError:  # what the library raises for a text that is not Unicode
            check_unicode([word for words in texts for word in words] if options.words else texts)  # pyright: ignore[reportArgumentType]
            raise
        return [Pieces(found.ids, found.offsets, found.word_ids) for found in encodings]

    def _decode_ids(self, ids: list[int]) -> str:
        for index in {*ids}:
            self._get_token(index)
        with convert_errors("the `tokenizers` library cannot decode the ids with this tokenizer.json"):
            return self._engine.decode(ids, skip_special_tokens=False)

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens."""
        decoder = self._engine.decoder
        with convert_errors("the `tokenizers` library cannot decode the tokens with this tokenizer.json"):
            return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A copy of the `tokenizers.Tokenizer` that encodes."""
        return Tokenizer.from_str(self._engine.to_str())

    def _build_vocabulary_files(self) -> dict[str, str]:
        return {}

    def save_vocabulary(self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None) -> tuple:
        """Write the model's own files, in the form that the library has for its kind; return the paths."""
        os.makedirs(save_directory, exist_ok=True)
        return tuple(self._engine.model.save(os.fspath(save_directory), filename_prefix))


def read_special_tokens_around(engine: Tokenizer) -> Frame:
    """Return the special tokens that a tokenizer puts around texts; the pad token's id is not among them.

    The post-processor is applied to a text of one token, so that the result does not depend on the vocabulary.
    """
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with convert_errors("tokenizer.json: the post-processor fails"):
        single, single_types = read_around(engine.post_process(words.encode("a")), 1)
        pair, pair_types = read_around(engine.post_process(words.encode("a"), words.encode("a")), 2)
    typed = any(any(texts) or any(map(any, parts)) for parts, texts in (single_types, pair_types))
    return Frame(single, pair, 0, (single_types, pair_types) if typed else None)


def read_around(encoding: Encoding, texts: int) -> tuple[tuple[list[int], ...], Types]:
    """Return the ids before, between and after texts of one token, with their types and those of the texts."""
    ids: list[list[int]] = [[] for _ in range(texts + 1)]
    types: list[list[int]] = [[] for _ in range(texts + 1)]
    text_types = [0] * texts
    if encoding.special_tokens_mask.count(0) != texts:
        raise ValueError("tokenizer.json: the post-processor drops or repeats a text, which is not supported")
    seen = 0
    for index, kind, special in zip(encoding.ids, encoding.type_ids, encoding.special_tokens_mask, strict=True):
        if special:
            ids[seen].append(index)
            types[seen].append(kind)
        else:
            text_types[seen] = kind
            seen += 1
    return tuple(ids), (tuple(types), text_types)


def load_tokenizer(source: str | os.PathLike[str], **settings: Any) -> RobertaTokenizerFast | TokenizerFast:
    """Load the fast tokenizer of a checkpoint, of whatever kind; all kinds have the same methods.

    A tokenizer.json of RoBERTa's kind, or a vocab.json with its merges.txt, becomes a `RobertaTokenizerFast`, any other
    tokenizer.json a `TokenizerFast`.

    Args:
        source: A folder, the name of an embedded model, or a repository on the Hub.
        **settings: As in `RobertaTokenizerFast.from_pretrained`.

    Raises:
        FileNotFoundError: If there is no tokenizer.
        ValueError: If a file is damaged.

    Example:
        >>> from roberta_core import load_tokenizer
        >>> load_tokenizer("roberta-tiny").tokenize("The cat")
        ['The', 'Ġcat']
    """
    folder = resolve_folder(source, settings)
    return read_consistently(folder, lambda: _load_from_folder(folder, source, settings))


def _load_from_folder(
    folder: Path, source: str | os.PathLike[str], settings: dict[str, Any]
) -> RobertaTokenizerFast | TokenizerFast:
    found = read_settings(folder)
    if found.get("model_max_length") is not None:
        settings.pop("max_len", None)
    asked = {"name_or_path": os.fspath(source), **settings}
    if "tokenizer_file" not in found:
        return RobertaTokenizerFast(**{**RobertaTokenizerFast._select_arguments(found), **asked})
    engine = open_tokenizer_json(found["tokenizer_file"])
    if not is_roberta_tokenizer(engine):
        return TokenizerFast(**{**TokenizerFast._select_arguments(found), "tokenizer_file": engine, **asked})
    arguments = RobertaTokenizerFast._select_arguments(found)
    return RobertaTokenizerFast(**{**arguments, "tokenizer_file": engine, **asked})
