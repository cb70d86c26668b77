"""The call surface of every tokenizer: encoding, padding, the special tokens around texts, loading and saving."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer

from roberta_core.tokenization.batch_encoding import BatchEncoding
from roberta_core.tokenization.call_arguments import (
    SIDES,
    UNLIMITED,
    Options,
    Text,
    build_options,
    choose,
    resolve_lengths,
    sort_samples,
)
from roberta_core.tokenization.encoding import encode, pad_columns
from roberta_core.tokenization.rows import Frame, Pieces, Row
from roberta_core.tokenization.token_table import TokenTable
from roberta_core.tokenization.tokenizer_files import (
    add_prefix,
    build_files,
    read_settings,
    resolve_folder,
    write_files,
)


class TokenizerBase(TokenTable):
    """What a caller sees of a tokenizer. A child supplies the vocabulary, the pieces of texts, and what is saved."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    tokenizer_class: str  # what tokenizer_config.json calls it
    is_fast: bool
    add_prefix_space: Any

    def __init__(
        self,
        roles: Mapping[str, Any],
        additional: Iterable[Any],
        added: Mapping[int, AddedToken],
        *,
        model_max_length: int | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_input_names: Sequence[str] | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        name_or_path: str = "",
    ) -> None:
        self.model_max_length = UNLIMITED if model_max_length is None else model_max_length
        self.padding_side = choose("padding_side", padding_side, SIDES)
        self.truncation_side = choose("truncation_side", truncation_side, SIDES)
        self.model_input_names = list(model_input_names or self.model_input_names)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.name_or_path = name_or_path
        super().__init__(roles, additional, added)

    # What a child supplies ------------------------------------------------------------------------------------------

    def _split(self, texts: list[Text], options: Options, *, traced: bool) -> list[Pieces]:
        """The pieces of each text or list of words; when traced, with the spans and words that a caller sees."""
        raise NotImplementedError

    def _build_frame(self) -> Frame:
        """The special tokens around texts."""
        raise NotImplementedError

    def _build_vocabulary_files(self) -> dict[str, str]:
        """File name -> text of the vocabulary's own files."""
        raise NotImplementedError

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A `tokenizers.Tokenizer` that encodes alike, made of the present tokens and settings."""
        raise NotImplementedError

    # Loading and saving ---------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **settings: Any) -> Self:
        """The tokenizer of a checkpoint: a folder, the name of an embedded model, or one on the Hub.

        `revision`, `token` and the like say how to come by a repository, as in `checkpoints.resolve`; other `settings`
        replace the tokenizer's own.
        """
        found = cls._select_arguments(read_settings(resolve_folder(pretrained_model_name_or_path, settings)))
        return cls(**{**found, "name_or_path": os.fspath(pretrained_model_name_or_path), **settings})

    @classmethod
    def _select_arguments(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a folder's settings that the constructor takes."""
        return {name: value for name, value in settings.items() if name != "tokenizer_class"}

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write vocab.json and merges.txt, their names after a prefix and a dash if there is one; returns the paths."""
        return write_files(Path(save_directory), add_prefix(self._build_vocabulary_files(), filename_prefix))

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        """Write every file that `from_pretrained` and other libraries read; returns the paths.

        With `legacy_format` True tokenizer.json is left out, with False the vocabulary's own files are.
        """
        texts = build_files(self, self._build_vocabulary_files(), legacy_format)
        return write_files(Path(save_directory), add_prefix(texts, filename_prefix))

    # Encoding -------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
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

        Returns lists [S], or [B, S] for a batch, or tensors [B, S] with `return_tensors`: "np", or "pt", "tf" or "jax"
        where that framework is installed, of int64 (int32 in TensorFlow and JAX). A text that is
        longer than the model takes is returned whole unless `truncation` is asked for. With
        `return_overflowing_tokens` what was cut off follows as rows of its own, and `overflow_to_sample_mapping`
        says whose they are. `text_target` is encoded alike and stands beside as `labels`, or alone where there is no
        `text`. Raises ValueError for anything that cannot be done as asked. `verbose` has no effect.
        """
        options = build_options(
            self,
            resolve_lengths(padding, truncation, max_length, pad_to_multiple_of, self.model_max_length),
            {
                "token_type_ids": return_token_type_ids,
                "attention_mask": return_attention_mask,
                "special_tokens_mask": return_special_tokens_mask,
                "offset_mapping": return_offsets_mapping,
                "length": return_length,
            },
            padding_side=padding_side,
            stride=stride,
            framed=add_special_tokens,
            words=is_split_into_words,
            spaced=add_prefix_space,
            literal=split_special_tokens,
            overflow=return_overflowing_tokens,
            tensors=return_tensors,
        )
        if text_target is None and text_pair_target is None:
            return self._encode(text, text_pair, options)
        targets = self._encode(text_target, text_pair_target, options)
        if text is None and text_pair is None:
            return targets
        encoding = self._encode(text, text_pair, options)
        encoding["labels"] = targets["input_ids"]
        return encoding

    def _encode(self, text: Any, pair: Any, options: Options) -> BatchEncoding:
        samples = sort_samples(text, pair, options.words)
        return encode(samples, options, self._build_frame(), self._split, self.convert_ids_to_tokens)

    def encode(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, padding: bool | str | None = False,
        truncation: bool | str | None = None, max_length: int | None = None, stride: int = 0,
        padding_side: str | None = None, return_tensors: str | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """The ids of a text or a pair: a list [S], or a tensor [1, S]; `options` as in a call."""
        return self(
            text, text_pair, None, None, add_special_tokens, padding, truncation, max_length, stride,
            padding_side=padding_side, return_tensors=return_tensors, **options,
        )["input_ids"]  # fmt: skip

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """The tokens of a text or a pair, as the vocabulary writes them; `options` as in a call."""
        ids = self(text, pair, None, None, add_special_tokens, **options)["input_ids"]
        return self.convert_ids_to_tokens(ids)

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, *more: Any, **options: Any
    ) -> BatchEncoding:
        """The same as a call, for one text or pair: after `add_special_tokens` come the arguments that follow there."""
        return self(text, text_pair, None, None, add_special_tokens, *more, **options)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, *more: Any, **options: Any
    ) -> BatchEncoding:
        """The same as a call, for a list of texts or of pairs."""
        return self(list(batch_text_or_text_pairs), None, None, None, add_special_tokens, *more, **options)

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
        mode, _, length, multiple = resolve_lengths(
            padding, False, max_length, pad_to_multiple_of, self.model_max_length
        )
        side = choose("padding_side", padding_side or self.padding_side, SIDES)
        masked = "attention_mask" in self.model_input_names if return_attention_mask is None else return_attention_mask
        columns = pad_columns(encoded_inputs, self.pad_token_id, mode, length, multiple, side, masked=masked)
        return BatchEncoding(columns, tensor_type=return_tensors)

    # Special tokens around texts ------------------------------------------------------------------------------------

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """`<s> A </s>` or `<s> A </s></s> B </s>` from the ids of one or two texts."""
        return self._build_frame().join(token_ids_0, token_ids_1)

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
            return self._row(token_ids_0, token_ids_1).special_tokens_mask()
        if token_ids_1 is not None:
            raise ValueError("ids that have their special tokens already are one sequence: leave token_ids_1 out")
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids_0]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The types of the framed texts' tokens: zeros, for RoBERTa knows one token type."""
        return self._row(token_ids_0, token_ids_1).type_ids()

    def _row(self, first: Sequence[int], second: Sequence[int] | None) -> Row:
        return Row(0, Pieces([*first]), None if second is None else Pieces([*second]), self._build_frame(), framed=True)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens stand around one text, or around a pair."""
        return self._build_frame().count_special(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The longest text in tokens that the model takes, without its special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The longest pair in tokens that the model takes, without its special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )
