"""Everything of a RoBERTa tokenizer but the splitting of a text into byte-level pieces, which its children add."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization import files
from roberta_core.tokenization.assembly import make_whole
from roberta_core.tokenization.batch_encoding import BatchEncoding, as_array, as_tensor
from roberta_core.tokenization.byte_alphabet import BLANKS
from roberta_core.tokenization.inputs import Samples, Text, read_samples
from roberta_core.tokenization.options import SIDES, TENSORS, UNLIMITED, Options, choose, lengths
from roberta_core.tokenization.padding import pad_batch, pad_columns
from roberta_core.tokenization.rows import COLUMNS, Ends, Pieces, Row, frame, frame_size
from roberta_core.tokenization.spans import join_words, settle
from roberta_core.tokenization.tokens import TokenTable
from roberta_core.tokenization.truncation import cut
from roberta_core.tokenization.vocabulary import Merge


class TokenizerBase(TokenTable):
    """The call surface of both tokenizers. A child supplies the vocabulary and `_pieces`."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    is_fast: bool

    def __init__(
        self,
        roles: Mapping[str, Any],
        additional: Iterable[Any],
        added: Mapping[int, AddedToken],
        *,
        errors: str = "replace",
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_input_names: Sequence[str] | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        name_or_path: str = "",
    ) -> None:
        self.errors = errors
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self.model_max_length = UNLIMITED if model_max_length is None else model_max_length
        self.padding_side = choose("padding_side", padding_side, SIDES)
        self.truncation_side = choose("truncation_side", truncation_side, SIDES)
        self.model_input_names = list(model_input_names or self.model_input_names)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.name_or_path = name_or_path
        super().__init__(roles, additional, added)
        self._unknown = self._id_of_unknown_bytes()

    # What a child supplies ------------------------------------------------------------------------------------------

    def _pieces(self, texts: list[str], *, traced: bool, literal: bool) -> list[Pieces]:
        """The tokens of each text, with untrimmed spans and words when traced; `literal`: special tokens are text."""
        raise NotImplementedError

    def merges(self) -> list[Merge]:
        """The merges in order of rank."""
        raise NotImplementedError

    def _bpe(self) -> models.BPE:
        """The library's model of the vocabulary."""
        raise NotImplementedError

    # Loading and saving ---------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], **settings: Any) -> Self:
        """The tokenizer of a checkpoint: a folder, or the name of an embedded model. `settings` replace its own."""
        from roberta_core.checkpoints.source import resolve

        return cls(**{**files.read_settings(resolve(source)), "name_or_path": os.fspath(source), **settings})

    def save_vocabulary(self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None) -> tuple:
        """Write vocab.json and merges.txt, their names after a prefix and a dash if there is one; returns the paths."""
        texts = files.vocabulary_texts(self.vocabulary(), self.merges())
        return files.write(Path(save_directory), files.prefixed(texts, filename_prefix))

    def save_pretrained(self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None) -> tuple:
        """Write every file that `from_pretrained` and other libraries read; returns the paths."""
        texts = files.texts(self)
        return files.write(Path(save_directory), files.prefixed(texts, filename_prefix))

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A `tokenizers.Tokenizer` as published, made of the present tokens and settings."""
        return make_whole(
            self._bpe(),
            self._added,
            (self.cls_token, self.cls_token_id),
            (self.sep_token, self.sep_token_id),
            add_prefix_space=self.add_prefix_space,
            trim_offsets=self.trim_offsets,
        )

    # Encoding -------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        *,
        add_prefix_space: bool | None = None,
        split_special_tokens: bool | None = None,
    ) -> BatchEncoding:
        """Encode a text, a pair, or a batch of either (lists), each split into words or not.

        Returns lists [S], or [B, S] for a batch, or tensors [B, S] of int64 with `return_tensors`. A text that is
        longer than the model takes is returned whole unless `truncation` is asked for. With
        `return_overflowing_tokens` what was cut off follows as rows of its own, and `overflow_to_sample_mapping`
        says whose they are. Raises ValueError for anything that cannot be done as asked. `verbose` has no effect.
        """
        pad, strategy, length, multiple = lengths(
            padding, truncation, max_length, pad_to_multiple_of, self.model_max_length
        )
        wanted = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        asked = {name: name in self.model_input_names if value is None else value for name, value in wanted.items()}
        if stride < 0:
            raise ValueError(f"stride must be 0 or more, not {stride}")
        options = Options(
            padding=pad,
            padding_side=choose("padding_side", padding_side or self.padding_side, SIDES),
            multiple=multiple,
            truncation=strategy,
            truncation_side=choose("truncation_side", self.truncation_side, SIDES),
            length=length,
            stride=stride,
            framed=add_special_tokens,
            words=is_split_into_words,
            spaced=self.add_prefix_space if add_prefix_space is None else add_prefix_space,
            literal=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            overflow=return_overflowing_tokens,
            columns=tuple(name for name in COLUMNS if asked.get(name, True)),
            tensors=None if return_tensors is None else choose("return_tensors", return_tensors, TENSORS),
        )
        samples = read_samples(text, text_pair, is_split_into_words)
        return self._encode(samples, options)

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> Any:
        """The ids of a text or a pair: a list [S], or a tensor [1, S]; `options` as in a call."""
        return self(text, text_pair, add_special_tokens, **options)["input_ids"]

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """The tokens of a text or a pair, as the vocabulary writes them; `options` as in a call."""
        return self.convert_ids_to_tokens(self(text, pair, add_special_tokens, **options)["input_ids"])

    def encode_plus(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> Any:
        """The same as a call, for one text or pair."""
        return self(text, text_pair, add_special_tokens, **options)

    def batch_encode_plus(self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, **options: Any) -> Any:
        """The same as a call, for a list of texts or of pairs."""
        return self(list(batch_text_or_text_pairs), None, add_special_tokens, **options)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str | None = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Fill encoded texts up to one length: a dictionary of columns (of one text or a batch), or a list of such.

        Columns that are not a tokenizer's, such as labels, stay as they are. `verbose` has no effect.
        """
        mode, _, length, multiple = lengths(padding, False, max_length, pad_to_multiple_of, self.model_max_length)
        side = choose("padding_side", padding_side or self.padding_side, SIDES)
        masked = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        columns = pad_columns(encoded_inputs, self.pad_token_id, mode, length, multiple, side, masked=masked)
        if return_tensors is None:
            return BatchEncoding(columns)
        kind = choose("return_tensors", return_tensors, TENSORS)
        arrays = {name: as_array(name, values) if name in COLUMNS else values for name, values in columns.items()}
        return BatchEncoding({name: as_tensor(np.asarray(values), kind) for name, values in arrays.items()})

    # Special tokens around texts ------------------------------------------------------------------------------------

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """`<s> A </s>` or `<s> A </s></s> B </s>` from the ids of one or two texts."""
        return frame(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens, else 0: for ids that `build_inputs_with_special_tokens` is to frame, or has framed.

        Of ids that are framed already every special token counts, the mask and paddings too.
        """
        if not already_has_special_tokens:
            return frame([0] * len(token_ids_0), None if token_ids_1 is None else [0] * len(token_ids_1), 1, 1)
        if token_ids_1 is not None:
            raise ValueError("ids that have their special tokens already are one sequence: leave token_ids_1 out")
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids_0]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Zeros, one for each token of the framed texts: RoBERTa knows one token type."""
        return [0] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens stand around one text, or around a pair."""
        return frame_size(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The longest text in tokens that the model takes, without its special tokens."""
        return self.model_max_length - frame_size(False)

    @property
    def max_len_sentences_pair(self) -> int:
        """The longest pair in tokens that the model takes, without its special tokens."""
        return self.model_max_length - frame_size(True)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )

    # The way of a text ----------------------------------------------------------------------------------------------

    def _encode(self, samples: Samples, options: Options) -> BatchEncoding:
        ends = Ends(self.cls_token_id, self.sep_token_id, self.pad_token_id)
        rows = self._rows(samples, options, ends, traced=options.traced)

        def trace() -> tuple[list[Row], list[list[str]]]:
            traced = rows if options.traced else self._rows(samples, options, ends, traced=True)
            return traced, [self.convert_ids_to_tokens(row.ids()) for row in traced]

        columns: dict[str, Any] = {name: [COLUMNS[name](row) for row in rows] for name in options.columns}
        if options.overflow:
            columns["overflow_to_sample_mapping"] = [row.sample for row in rows]
        if options.tensors:
            columns = {name: as_tensor(as_array(name, column), options.tensors) for name, column in columns.items()}
        elif not samples.batch and not options.overflow:
            columns = {name: column[0] for name, column in columns.items()}
        return BatchEncoding(columns, trace)

    def _rows(self, samples: Samples, options: Options, ends: Ends, *, traced: bool) -> list[Row]:
        """The rows of a batch: tokenised, cut and padded."""
        pairs = [text for text in samples.second if text is not None]
        pieces = self._tokenize([*samples.first, *pairs], options, traced=traced)
        seconds = iter(pieces[len(samples.first) :])
        rows = []
        for sample, (first, text) in enumerate(zip(pieces, samples.second, strict=False)):
            second = next(seconds) if text is not None else None
            for texts in self._cut((first, second), options):
                rows.append(Row(sample, *texts, ends, options.framed))
        return pad_batch(rows, options)

    def _cut(self, texts: tuple[Pieces, Pieces | None], options: Options) -> list[tuple[Pieces, Pieces | None]]:
        if options.truncation is None or options.length is None:
            return [texts]
        room = options.length - (frame_size(texts[1] is not None) if options.framed else 0)
        if room < 0:
            raise ValueError(f"max_length {options.length} has no room for {options.length - room} special tokens")
        left = options.truncation_side == "left"
        return cut(texts, options.truncation, room, options.stride, left=left, overflow=options.overflow)

    def _tokenize(self, texts: list[Text], options: Options, *, traced: bool) -> list[Pieces]:
        """The tokens of each text or list of words, spans trimmed."""
        if not options.words:
            return self._spaced(texts, options, spaced=options.spaced, traced=traced)  # pyright: ignore[reportArgumentType]
        flat = iter(self._spaced([w for words in texts for w in words], options, spaced=True, traced=traced))
        return [join_words([next(flat) for _ in words], traced=traced) for words in texts]

    def _spaced(self, texts: list[str], options: Options, *, spaced: bool, traced: bool) -> list[Pieces]:
        """Texts with a blank put before each that begins with none, if `spaced`: the spans leave it out."""
        moved = [1 if spaced and text and text[0] not in BLANKS else 0 for text in texts]
        prepared = [" " + text if by else text for text, by in zip(texts, moved, strict=True)] if spaced else texts
        found = self._pieces(prepared, traced=traced, literal=options.literal)
        if not traced:
            return found
        return [
            settle(text, one, by, self.trim_offsets, self._added)
            for text, one, by in zip(prepared, found, moved, strict=True)
        ]
