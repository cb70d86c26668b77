"""The pure-Python tokenizer: the same ids, offsets and rows as the fast tokenizer's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_bpe import Finder, merge_pairs, select_word_pattern, to_byte_letters
from roberta_core.tokenization.byte_level_tokenizer import ByteLevelTokenizer
from roberta_core.tokenization.call_arguments import check_unicode, is_word_list
from roberta_core.tokenization.published_methods import PlainTokenizerMethods
from roberta_core.tokenization.rows import Pieces, Span
from roberta_core.tokenization.special_tokens import ROLES
from roberta_core.tokenization.tokenizer_json import build_bpe, read_bpe_content, read_byte_level_bpe
from roberta_core.tokenization.vocabulary_files import (
    FilePath,
    Merge,
    check_merges,
    check_vocab,
    read_merges,
    read_vocab,
)

CACHED_WORDS = 1 << 16
LONGEST_CACHED_WORD = 64  # characters

Word = tuple[list[int], list[int]]  # the ids of a word's tokens, and the number of bytes of each


class RobertaTokenizer(PlainTokenizerMethods, ByteLevelTokenizer):
    """The pure-Python tokenizer: byte-level BPE with RoBERTa's special tokens.

    Args:
        vocab_file: Path of vocab.json, or the vocabulary itself (token -> id).
        merges_file: Path of merges.txt, or the merges themselves (pairs, best first).
        errors: How to decode bytes that are not UTF-8, as in `bytes.decode`.
        bos_token: Special token by role, as a string or an `AddedToken`; None for no such token. Likewise `eos_token`,
            `sep_token`, `cls_token`, `unk_token`, `pad_token` and `mask_token`.
        add_prefix_space: Whether to treat the first word like any other, as after a space.
        tokenizer_file: Path of tokenizer.json, instead of the first two.
        trim_offsets: Whether the offsets of a token exclude the space before it.
        additional_special_tokens: More special tokens.
        added: Added tokens by id.
        **settings: `model_max_length`, `padding_side`, `truncation_side`, `model_input_names`,
            `clean_up_tokenization_spaces`, `split_special_tokens`, `extra_special_tokens`.

    Raises:
        ValueError: If the files are damaged or do not fit each other.

    Example:
        >>> from roberta_core import RobertaTokenizer
        >>> tokenizer = RobertaTokenizer.from_pretrained("roberta-tiny")
        >>> tokenizer.tokenize("The cat")
        ['The', 'Ġcat']
        >>> tokenizer.decode(tokenizer("The cat").input_ids)
        '<s>The cat</s>'
    """

    is_fast = False

    def __init__(
        self,
        vocab_file: FilePath | Mapping[str, int] | None = None,
        merges_file: FilePath | Iterable[Merge] | None = None,
        errors: str = "replace",
        bos_token: str | AddedToken | None = ROLES["bos_token"],
        eos_token: str | AddedToken | None = ROLES["eos_token"],
        sep_token: str | AddedToken | None = ROLES["sep_token"],
        cls_token: str | AddedToken | None = ROLES["cls_token"],
        unk_token: str | AddedToken | None = ROLES["unk_token"],
        pad_token: str | AddedToken | None = ROLES["pad_token"],
        mask_token: str | AddedToken | None = ROLES["mask_token"],
        add_prefix_space: bool = False,
        *,
        tokenizer_file: FilePath | Tokenizer | None = None,
        trim_offsets: bool = True,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added: Mapping[int, AddedToken] | None = None,
        **settings: Any,
    ) -> None:
        self._ignore_merges = False
        if tokenizer_file is not None:
            model, added = read_byte_level_bpe(tokenizer_file)
            if model.dropout:
                raise ValueError(
                    f"tokenizer.json sets the BPE dropout {model.dropout}: RobertaTokenizer (the pure-Python "
                    "tokenizer) has none; set it to null, or use RobertaTokenizerFast"
                )
            self._ignore_merges = bool(model.ignore_merges)
            self._ids, merges = read_bpe_content(model)
        elif vocab_file is not None and merges_file is not None:
            self._ids = dict(vocab_file) if isinstance(vocab_file, Mapping) else read_vocab(vocab_file)
            merges = read_merges(merges_file) if isinstance(merges_file, str | os.PathLike) else merges_file
        else:
            raise ValueError("a tokenizer needs vocab_file and merges_file, or tokenizer_file")
        check_vocab(self._ids, "vocab_file")
        self._ranks = {pair: rank for rank, pair in enumerate(check_merges(self._ids, merges))}
        self._tokens = {index: token for token, index in self._ids.items()}
        self._last = max(self._tokens, default=-1)
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
        """Return token -> id, without the added tokens."""
        return dict(self._ids)

    def merges(self) -> list[Merge]:
        """Return the merges in order of rank."""
        return sorted(self._ranks, key=self._ranks.__getitem__)

    def _build_bpe(self) -> models.BPE:
        unknown = None if self._unknown is None else self._tokens[self._unknown]
        return build_bpe(self._ids, self.merges(), unk_token=unknown, ignore_merges=self._ignore_merges)

    def _vocab_size(self) -> int:
        return len(self._ids)

    def _last_vocab_id(self) -> int:
        return self._last

    def _vocab_id(self, token: str) -> int | None:
        return self._ids.get(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._tokens.get(index)

    def _update_tokens(self) -> None:
        super()._update_tokens()
        self._finders = {}

    def encode(self, text: Any, text_pair: Any = None, *more: Any, **options: Any) -> Any:
        """Return the ids of a text or a pair, as `TokenizerBase.encode`; here a list of strings is a list of tokens.

        Args:
            text: A text, or its tokens as the vocabulary writes them; with `is_split_into_words` its words.
            text_pair: The second text or its tokens.
            *more: The arguments that follow in `TokenizerBase.encode`.
            **options: Those of a call.
        """
        if not is_word_list(text) or options.get("is_split_into_words"):
            return super().encode(text, text_pair, *more, **options)
        if text_pair is not None and not is_word_list(text_pair):
            raise ValueError(f"text is a list of tokens, so text_pair must be one too, not {text_pair!r:.60}")
        pair = None if text_pair is None else self.convert_tokens_to_ids(text_pair)
        names = "add_special_tokens", "padding", "truncation", "max_length", "stride", "padding_side", "return_tensors"
        options |= dict(zip(names, more, strict=False))
        options["prepend_batch_axis"] = options.get("return_tensors") is not None
        return self.prepare_for_model(self.convert_tokens_to_ids(text), pair, **options)["input_ids"]

    def _encode_texts(
        self, texts: list[str], *, prefix_space: bool, split_special: bool, with_spans: bool
    ) -> list[Pieces]:
        finders = self._finders
        if split_special not in finders:
            finders[split_special] = Finder(self._added, split_special=split_special)
        finder = finders[split_special]
        encode = self._encode_with_spans if with_spans else self._encode_ids
        try:
            return [encode(text, finder, prefix_space) for text in texts]
        except UnicodeEncodeError:
            check_unicode(texts)
            raise

    def _encode_ids(self, text: str, finder: Finder, prefix_space: bool) -> Pieces:
        ids: list[int] = []
        for start, stop, index in finder.find_parts(text):
            if index is not None:
                ids.append(index)
                continue
            part = text[start:stop]
            if prefix_space and part[0] != " ":
                part = " " + part
            for word in select_word_pattern(part).findall(part):
                ids += (self._words.get(word) or self._encode_word(word))[0]
        return Pieces(ids)

    def _encode_with_spans(self, text: str, finder: Finder, prefix_space: bool) -> Pieces:
        """Return the tokens with the characters and the word (or added token) that each comes from."""
        ids: list[int] = []
        spans: list[Span] = []
        words: list[int] = []
        number = 0
        for start, stop, index in finder.find_parts(text):
            if index is not None:
                ids.append(index)
                spans.append((start, stop))
                words.append(number)
                number += 1
                continue
            part = text[start:stop]
            prefix = int(prefix_space and part[0] != " ")
            part = " " * prefix + part
            first = len(spans)
            for found in select_word_pattern(part).finditer(part):
                word_ids, sizes = self._words.get(found[0]) or self._encode_word(found[0])
                ids += word_ids
                spans += locate_spans(found[0], sizes, start - prefix + found.start())
                words += [number] * len(word_ids)
                number += 1
            if prefix:
                spans[first:] = [(max(one, start), max(other, start)) for one, other in spans[first:]]
        return Pieces(ids, spans, words)

    def _encode_word(self, word: str) -> Word:
        letters = to_byte_letters(word)
        parts = self._merge_word(letters)
        unknown = self._unknown or 0
        encoded = [self._ids.get(part, unknown) for part in parts], [len(part) for part in parts]
        if len(word) <= LONGEST_CACHED_WORD:
            if len(self._words) >= CACHED_WORDS:
                self._words = {}
            self._words[word] = encoded
        return encoded

    def _merge_word(self, letters: str) -> list[str]:
        """Return the pieces of a word in byte letters."""
        return [letters] if self._ignore_merges and letters in self._ids else list(merge_pairs(letters, self._ranks))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_words": {}, "_finders": {}}


def locate_spans(word: str, sizes: list[int], start: int) -> list[Span]:
    """Return the characters of each token of a word that begins at `start`.

    A token's characters are those that any of its bytes is part of; `sizes` are the tokens' numbers of bytes.
    """
    stops = list(accumulate(sizes, initial=start))
    if word.isascii():
        return list(pairwise(stops))
    places = [place for place, character in enumerate(word, start) for _ in character.encode("utf-8")]
    return [(places[first - start], places[last - start - 1] + 1) for first, last in pairwise(stops)]
