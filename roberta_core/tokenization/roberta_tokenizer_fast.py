"""RoBERTa's tokenizer on the `tokenizers` library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_tokenizer import ByteLevelTokenizer
from roberta_core.tokenization.call_arguments import check_unicode
from roberta_core.tokenization.rows import Pieces
from roberta_core.tokenization.special_tokens import ROLES
from roberta_core.tokenization.tokenizer_json import build_bpe, build_engine, read_bpe_content, read_byte_level_bpe
from roberta_core.tokenization.vocabulary_files import FilePath, Merge, read_merges, read_vocab


class RobertaTokenizerFast(ByteLevelTokenizer):
    """Byte-level BPE with RoBERTa's special tokens, from vocab.json and merges.txt or from tokenizer.json.

    `vocab_file` may also be the vocabulary itself (token -> id) and `merges_file` the merges (pairs, best first).
    `settings` are those of `TokenizerBase`: `model_max_length`, `padding_side`, `truncation_side`, ...
    """

    is_fast = True

    def __init__(
        self,
        vocab_file: FilePath | Mapping[str, int] | None = None,
        merges_file: FilePath | Iterable[Merge] | None = None,
        tokenizer_file: FilePath | Tokenizer | None = None,
        errors: str = "replace",
        bos_token: str | AddedToken = ROLES["bos_token"],
        eos_token: str | AddedToken = ROLES["eos_token"],
        sep_token: str | AddedToken = ROLES["sep_token"],
        cls_token: str | AddedToken = ROLES["cls_token"],
        unk_token: str | AddedToken = ROLES["unk_token"],
        pad_token: str | AddedToken = ROLES["pad_token"],
        mask_token: str | AddedToken = ROLES["mask_token"],
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        *,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added: Mapping[int, AddedToken] | None = None,
        **settings: Any,
    ) -> None:
        self._engines: dict[bool, Tokenizer] = {}
        if tokenizer_file is not None:
            self._model, added = read_byte_level_bpe(tokenizer_file)
        elif vocab_file is not None and merges_file is not None:
            vocab = vocab_file if isinstance(vocab_file, Mapping) else read_vocab(vocab_file)
            merges = read_merges(merges_file) if isinstance(merges_file, str | os.PathLike) else merges_file
            self._model = build_bpe(vocab, merges)
        else:
            raise ValueError("a tokenizer needs vocab_file and merges_file, or tokenizer_file")
        self._bare = Tokenizer(self._model)
        roles = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        super().__init__(
            roles,
            additional_special_tokens,
            added or {},
            errors=errors,
            add_prefix_space=add_prefix_space,
            trim_offsets=trim_offsets,
            **settings,
        )

    def vocabulary(self) -> dict[str, int]:
        """Token -> id, without the added tokens."""
        return self._bare.get_vocab(with_added_tokens=False)

    def _build_bpe(self) -> models.BPE:
        return self._model

    def _vocab_size(self) -> int:
        return self._bare.get_vocab_size(with_added_tokens=False)

    def _vocab_id(self, token: str) -> int | None:
        return self._model.token_to_id(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._model.id_to_token(index)

    def merges(self) -> list[Merge]:
        """The merges in order of rank."""
        return read_bpe_content(self._model)[1]

    def _update_tokens(self) -> None:
        super()._update_tokens()
        self._engines.clear()

    def _get_engine(self, literal: bool) -> Tokenizer:
        """What splits texts: with all tokens, or with those alone that are not special."""
        if literal not in self._engines:
            if self._unknown is not None:
                self._model.unk_token = self._get_token(self._unknown)
            self._engines[literal] = build_engine(self._model, self._select_tokens_to_find(literal))
        return self._engines[literal]

    def _encode_texts(self, texts: list[str], *, traced: bool, literal: bool) -> list[Pieces]:
        engine = self._get_engine(literal)
        try:
            if not traced:
                return [Pieces(found.ids) for found in engine.encode_batch_fast(texts, add_special_tokens=False)]
            encodings = engine.encode_batch(texts, add_special_tokens=False)
        except TypeError:  # what the library raises for a text that is not Unicode
            check_unicode(texts)
            raise
        return [Pieces(found.ids, found.offsets, found.word_ids) for found in encodings]

    def __getstate__(self) -> dict[str, Any]:
        """Only the model: what shares it is made again, so that copies and other processes share theirs too."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_engines", "_bare")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _engines={}, _bare=Tokenizer(state["_model"]))
