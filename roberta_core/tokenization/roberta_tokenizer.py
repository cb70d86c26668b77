"""RoBERTa's tokenizer in Python that can be read: the same ids, offsets and rows as the fast one's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_bpe import Finder, merge_pairs, select_word_pattern, to_byte_letters
from roberta_core.tokenization.byte_level_tokenizer import ByteLevelTokenizer
from roberta_core.tokenization.call_arguments import check_unicode
from roberta_core.tokenization.rows import Pieces, Span
from roberta_core.tokenization.special_tokens import ROLES
from roberta_core.tokenization.tokenizer_json import build_bpe, read_bpe_content, read_byte_level_bpe
from roberta_core.tokenization.vocabulary_files import FilePath, Merge, check_merges, read_merges, read_vocab

REMEMBERED = 1 << 16  # words whose tokens are kept
LONGEST_REMEMBERED = 64  # characters of a word that is kept

Word = tuple[list[int], list[int]]  # the ids of a word's tokens, and how many bytes each stands for


class RobertaTokenizer(ByteLevelTokenizer):
    """Byte-level BPE with RoBERTa's special tokens, from vocab.json and merges.txt.

    `vocab_file` may also be the vocabulary itself (token -> id) and `merges_file` the merges (pairs, best first).
    `settings` are those of `TokenizerBase`: `model_max_length`, `padding_side`, `truncation_side`, ...
    """

    is_fast = False

    def __init__(
        self,
        vocab_file: FilePath | Mapping[str, int] | None = None,
        merges_file: FilePath | Iterable[Merge] | None = None,
        errors: str = "replace",
        bos_token: str | AddedToken = ROLES["bos_token"],
        eos_token: str | AddedToken = ROLES["eos_token"],
        sep_token: str | AddedToken = ROLES["sep_token"],
        cls_token: str | AddedToken = ROLES["cls_token"],
        unk_token: str | AddedToken = ROLES["unk_token"],
        pad_token: str | AddedToken = ROLES["pad_token"],
        mask_token: str | AddedToken = ROLES["mask_token"],
        add_prefix_space: bool = False,
        *,
        tokenizer_file: FilePath | Tokenizer | None = None,
        trim_offsets: bool = True,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added: Mapping[int, AddedToken] | None = None,
        **settings: Any,
    ) -> None:
        if tokenizer_file is not None:
            model, added = read_byte_level_bpe(tokenizer_file)
            self._ids, merges = read_bpe_content(model)
        elif vocab_file is not None and merges_file is not None:
            self._ids = dict(vocab_file) if isinstance(vocab_file, Mapping) else read_vocab(vocab_file)
            merges = read_merges(merges_file) if isinstance(merges_file, str | os.PathLike) else merges_file
        else:
            raise ValueError("a tokenizer needs vocab_file and merges_file, or tokenizer_file")
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        check_merges(self._ids, self._ranks)
        self._tokens = {index: token for token, index in self._ids.items()}
        self._words: dict[str, Word] = {}
        self._finders: dict[bool, Finder] = {}
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
        return dict(self._ids)

    def merges(self) -> list[Merge]:
        """The merges in order of rank."""
        return sorted(self._ranks, key=self._ranks.__getitem__)

    def _build_bpe(self) -> models.BPE:
        return build_bpe(self._ids, self.merges())

    def _vocab_size(self) -> int:
        return len(self._ids)

    def _vocab_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._tokens.get(index)

    def _update_tokens(self) -> None:
        super()._update_tokens()
        self._finders.clear()

    def _encode_texts(self, texts: list[str], *, traced: bool, literal: bool) -> list[Pieces]:
        if literal not in self._finders:
            self._finders[literal] = Finder(self._select_tokens_to_find(literal))
        finder = self._finders[literal]
        try:
            return [
                self._encode_with_spans(text, finder) if traced else Pieces(self._encode_text(text, finder))
                for text in texts
            ]
        except UnicodeEncodeError:
            check_unicode(texts)
            raise

    def _encode_text(self, text: str, finder: Finder) -> list[int]:
        ids: list[int] = []
        for start, stop, index in finder.parts(text):
            if index is not None:
                ids.append(index)
                continue
            part = text[start:stop]
            for word in select_word_pattern(part).findall(part):
                ids += (self._words.get(word) or self._encode_word(word))[0]
        return ids

    def _encode_with_spans(self, text: str, finder: Finder) -> Pieces:
        """The tokens with the characters and the word (or added token) that each comes from."""
        ids: list[int] = []
        spans: list[Span] = []
        words: list[int] = []
        number = 0
        for start, stop, index in finder.parts(text):
            if index is not None:
                ids.append(index)
                spans.append((start, stop))
                words.append(number)
                number += 1
                continue
            part = text[start:stop]
            for found in select_word_pattern(part).finditer(part):
                word_ids, sizes = self._words.get(found[0]) or self._encode_word(found[0])
                ids += word_ids
                spans += locate_spans(found[0], sizes, start + found.start())
                words += [number] * len(word_ids)
                number += 1
        return Pieces(ids, spans, words)

    def _encode_word(self, word: str) -> Word:
        parts = merge_pairs(to_byte_letters(word), self._ranks)
        ids = [index if (index := self._ids.get(part)) is not None else self._unknown or 0 for part in parts]
        encoded = ids, [len(part) for part in parts]
        if len(word) <= LONGEST_REMEMBERED:
            if len(self._words) >= REMEMBERED:
                self._words.clear()
            self._words[word] = encoded
        return encoded

    def __getstate__(self) -> dict[str, Any]:
        """What is remembered stays here."""
        return {**self.__dict__, "_words": {}, "_finders": {}}


def locate_spans(word: str, sizes: list[int], start: int) -> list[Span]:
    """The characters of each token of a word that begins at `start`: those that any of the token's bytes is part of."""
    stops = list(accumulate(sizes, initial=start))
    if word.isascii():
        return list(pairwise(stops))
    places = [place for place, character in enumerate(word, start) for _ in character.encode("utf-8")]
    return [(places[first - start], places[last - start - 1] + 1) for first, last in pairwise(stops)]
