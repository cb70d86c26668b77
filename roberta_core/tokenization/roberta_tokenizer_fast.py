"""The fast tokenizer: RoBERTa's tokenizer on the `tokenizers` library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_bpe import OVERLAP
from roberta_core.tokenization.byte_level_tokenizer import ByteLevelTokenizer
from roberta_core.tokenization.call_arguments import check_unicode
from roberta_core.tokenization.published_methods import FastTokenizerMethods
from roberta_core.tokenization.roberta_tokenizer import RobertaTokenizer
from roberta_core.tokenization.rows import Pieces, Span
from roberta_core.tokenization.special_tokens import ROLES
from roberta_core.tokenization.tokenizer_json import (
    build_bpe,
    build_engine,
    build_finder,
    convert_errors,
    read_bpe_content,
    read_byte_level_bpe,
)
from roberta_core.tokenization.vocabulary_files import (
    FilePath,
    Merge,
    check_merges,
    check_vocab,
    read_merges,
    read_vocab,
)


class RobertaTokenizerFast(FastTokenizerMethods, ByteLevelTokenizer):
    """The fast tokenizer: byte-level BPE with RoBERTa's special tokens, on the `tokenizers` library.

    Args:
        vocab_file: Path of vocab.json, or the vocabulary itself (token -> id).
        merges_file: Path of merges.txt, or the merges themselves (pairs, best first).
        tokenizer_file: Path of tokenizer.json, instead of the first two.
        errors: How to decode bytes that are not UTF-8, as in `bytes.decode`.
        bos_token: Special token by role, as a string or an `AddedToken`; None for no such token. Likewise `eos_token`,
            `sep_token`, `cls_token`, `unk_token`, `pad_token` and `mask_token`.
        add_prefix_space: Whether to treat the first word like any other, as after a space.
        trim_offsets: Whether the offsets of a token exclude the space before it.
        additional_special_tokens: More special tokens.
        added: Added tokens by id.
        tokenizer_object: A `tokenizers.Tokenizer`, instead of tokenizer_file.
        **settings: `model_max_length`, `padding_side`, `truncation_side`, `model_input_names`,
            `clean_up_tokenization_spaces`, `split_special_tokens`, `extra_special_tokens`.

    Raises:
        ValueError: If the files are damaged or do not fit each other.

    Example:
        >>> from roberta_core import RobertaTokenizerFast
        >>> tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
        >>> batch = tokenizer(["The cat sat.", "No."], padding=True, return_tensors="np")
        >>> batch.input_ids.shape
        (2, 6)
        >>> tokenizer.decode(batch.input_ids[1], skip_special_tokens=True)
        'No.'
    """

    is_fast = True
    slow_tokenizer_class = RobertaTokenizer
    vocab_files_names: ClassVar[dict[str, str]] = {
        **RobertaTokenizer.vocab_files_names,
        "tokenizer_file": "tokenizer.json",
    }

    def __init__(
        self,
        vocab_file: FilePath | Mapping[str, int] | None = None,
        merges_file: FilePath | Iterable[Merge] | None = None,
        tokenizer_file: FilePath | Tokenizer | None = None,
        errors: str = "replace",
        bos_token: str | AddedToken | None = ROLES["bos_token"],
        eos_token: str | AddedToken | None = ROLES["eos_token"],
        sep_token: str | AddedToken | None = ROLES["sep_token"],
        cls_token: str | AddedToken | None = ROLES["cls_token"],
        unk_token: str | AddedToken | None = ROLES["unk_token"],
        pad_token: str | AddedToken | None = ROLES["pad_token"],
        mask_token: str | AddedToken | None = ROLES["mask_token"],
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        *,
        additional_special_tokens: Iterable[str | AddedToken] = (),
        added: Mapping[int, AddedToken] | None = None,
        tokenizer_object: Tokenizer | None = None,
        **settings: Any,
    ) -> None:
        tokenizer_file = tokenizer_object if tokenizer_file is None else tokenizer_file
        self._engines: dict[tuple[bool, bool], Tokenizer] = {}
        self._finders: dict[bool, tuple[Tokenizer, list[int]]] = {}
        if tokenizer_file is not None:
            self._model, added = read_byte_level_bpe(tokenizer_file)
        elif vocab_file is not None and merges_file is not None:
            vocab = vocab_file if isinstance(vocab_file, Mapping) else read_vocab(vocab_file)
            check_vocab(vocab, "vocab_file")
            merges = read_merges(merges_file) if isinstance(merges_file, str | os.PathLike) else merges_file
            self._model = build_bpe(vocab, check_merges(vocab, merges))
        else:
            raise ValueError("a tokenizer needs vocab_file and merges_file, or tokenizer_file")
        self._bare = Tokenizer(self._model)
        self._last: int | None = None
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
        if self._unknown is not None:
            self._model.unk_token = self._get_token(self._unknown)
        self._get_engine(bool(self.add_prefix_space), bool(self.split_special_tokens))  # refuses ids with holes

    def vocabulary(self) -> dict[str, int]:
        """Return token -> id, without the added tokens."""
        return self._bare.get_vocab(with_added_tokens=False)

    def merges(self) -> list[Merge]:
        """Return the merges in order of rank."""
        return read_bpe_content(self._model)[1]

    def _build_bpe(self) -> models.BPE:
        return self._model

    def _vocab_size(self) -> int:
        return self._bare.get_vocab_size(with_added_tokens=False)

    def _last_vocab_id(self) -> int:
        if self._last is None:
            self._last = max(self.vocabulary().values(), default=-1)
        return self._last

    def _vocab_id(self, token: str) -> int | None:
        return self._model.token_to_id(token)

    def _vocab_token(self, index: int) -> str | None:
        return self._model.id_to_token(index)

    def _update_tokens(self) -> None:
        super()._update_tokens()
        self._engines, self._finders = {}, {}

    def _get_engine(self, prefix_space: bool, split_special: bool) -> Tokenizer:
        """Return the tokenizer for a kind of call. None is changed after it is built, so that threads share them."""
        engines, kind = self._engines, (prefix_space, split_special)
        if kind not in engines:
            engines[kind] = build_engine(
                self._model, self._added, prefix_space=prefix_space, split_special=split_special
            )
        return engines[kind]

    def _encode_texts(
        self, texts: list[str], *, prefix_space: bool, split_special: bool, with_spans: bool
    ) -> list[Pieces]:
        engine = self._get_engine(prefix_space and not with_spans, split_special)
        try:
            with convert_errors("the `tokenizers` library cannot encode the text"):
                if not with_spans:
                    return [Pieces(found.ids) for found in engine.encode_batch_fast(texts, add_special_tokens=False)]
                if prefix_space:
                    return self._encode_prefixed(texts, split_special)
                encodings = engine.encode_batch(texts, add_special_tokens=False)
        except ValueError as error:
            raise ValueError(OVERLAP) if "bad split" in str(error) else error from None
        except TypeError:  # what the library raises for a text that is not Unicode
            check_unicode(texts)
            raise
        return [Pieces(found.ids, found.offsets, found.word_ids) for found in encodings]

    def _encode_prefixed(self, texts: list[str], split_special: bool) -> list[Pieces]:
        """Encode texts with prefix spaces, with spans that exclude these.

        The library gives a prefix space the character behind it. So the parts between added tokens are encoded one by
        one, each with a space put before it.
        """
        finders = self._finders
        if split_special not in finders:
            finders[split_special] = build_finder(self._added, split_special=split_special)
        finder, numbers = finders[split_special]
        parts = [
            split_at(text, found.offsets, [numbers[index] for index in found.ids])
            for text, found in zip(texts, finder.encode_batch(texts, add_special_tokens=False), strict=True)
        ]
        plain = [
            text[start:stop] for text, row in zip(texts, parts, strict=True) for start, stop, i in row if i is None
        ]
        prefixed = [part if part[0] == " " else " " + part for part in plain]
        bare = Tokenizer(self._model)
        bare.pre_tokenizer = self._get_engine(False, split_special).pre_tokenizer
        encodings = iter(zip(bare.encode_batch(prefixed, add_special_tokens=False), plain, strict=True))
        joined = []
        for row in parts:
            whole = Pieces([], [], [])
            for start, stop, index in row:
                if index is not None:
                    append_pieces(whole, [index], [(start, stop)], [0])
                    continue
                found, part = next(encodings)
                before = start - (part[0] != " ")
                spans = [(max(one + before, start), max(other + before, start)) for one, other in found.offsets]
                append_pieces(whole, found.ids, spans, found.word_ids)
            joined.append(whole)
        return joined

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without what shares the model: a copy or another process builds it again."""
        left_behind = ("_engines", "_finders", "_bare")
        state = {**super().__getstate__(), "_last": None}
        return {name: value for name, value in state.items() if name not in left_behind}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _engines={}, _finders={}, _bare=Tokenizer(state["_model"]))


def split_at(text: str, spans: list[Span], ids: list[int]) -> list[tuple[int, int, int | None]]:
    """Return the parts of a text in order: added tokens with their ids, and what is in between with None."""
    parts: list[tuple[int, int, int | None]] = []
    done = 0
    for (start, stop), index in zip(spans, ids, strict=True):
        if done < start:
            parts.append((done, start, None))
        parts.append((start, stop, index))
        done = stop
    return [*parts, (done, len(text), None)] if done < len(text) else parts


def append_pieces(whole: Pieces, ids: list[int], spans: list[Span], words: list[int | None]) -> None:
    """Append tokens to those of the same text; their words are counted on."""
    assert isinstance(whole.words, list)
    assert whole.spans is not None
    first = (whole.words[-1] or 0) + 1 if whole.words else 0
    whole.ids += ids
    whole.spans += spans
    whole.words += [None if word is None else word + first for word in words]
