"""The public methods of every tokenizer: encoding, padding, the special tokens around texts, loading and saving."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer

from roberta_core.checkpoints.save_options import UPLOAD
from roberta_core.tokenization.batch_encoding import BatchEncoding
from roberta_core.tokenization.call_arguments import (
    SIDES,
    UNLIMITED,
    Options,
    Samples,
    Text,
    build_options,
    choose,
    resolve_lengths,
    sort_samples,
)
from roberta_core.tokenization.encoding import encode, pad_columns
from roberta_core.tokenization.published_methods import TokenizerMethods
from roberta_core.tokenization.rows import Frame, Pieces, Row
from roberta_core.tokenization.special_tokens import ADDITIONAL, EXTRA, ROLES
from roberta_core.tokenization.token_table import TokenTable, check_list, to_ids
from roberta_core.tokenization.tokenizer_files import (
    PLAIN,
    add_prefix,
    build_files,
    check_max_length,
    read_consistently,
    read_settings,
    resolve_folder,
    write_files,
)
from roberta_core.transformers_types import TransformersType

NO_FRAME = ([], []), ([], [], [])
# Arguments of transformers' tokenizers that have no effect here, or none on RoBERTa's tokenizer there.
IGNORED = (
    "use_fast", "from_slow", "do_lower_case", "trust_remote_code", "verbose", "legacy", "config", "tokenizer_type",
    "_from_auto", "_commit_hash", "_is_local",
)  # fmt: skip
# Arguments of `save_pretrained` there that concern models only.
IGNORED_WHEN_SAVING = (
    "safe_serialization", "is_main_process", "max_shard_size", "save_function", "variant", "state_dict",
    "save_jinja_files",
)  # fmt: skip


class TokenizerBase(TransformersType, TokenizerMethods, TokenTable):
    """The public methods of a tokenizer. A subclass supplies the vocabulary, the pieces of texts, and its files."""

    _transformers_type = ("transformers.tokenization_utils_base", "PreTrainedTokenizerBase")
    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    tokenizer_class: str  # the name in tokenizer_config.json
    is_fast: bool
    add_prefix_space: Any
    default_roles: tuple[str, ...] = ()  # the roles that have a token unless None is given

    def __init__(
        self,
        roles: Mapping[str, Any],
        additional: Iterable[Any],
        added: Mapping[int, AddedToken],
        *,
        model_max_length: float | None = None,
        max_len: float | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_input_names: Sequence[str] | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        extra_special_tokens: Mapping[str, Any] | Sequence[Any] | None = None,
        name_or_path: str = "",
        **ignored: Any,
    ) -> None:
        unknown = ignored.keys() - {*IGNORED}
        if unknown:
            raise TypeError(f"{type(self).__name__} has no argument {', '.join(map(repr, sorted(unknown)))}")
        limit = max_len if model_max_length is None else model_max_length
        self.model_max_length = check_max_length(limit, "model_max_length")
        self.padding_side = choose("padding_side", padding_side, SIDES)
        self.truncation_side = choose("truncation_side", truncation_side, SIDES)
        self.model_input_names = list(model_input_names or self.model_input_names)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.name_or_path = name_or_path
        check_errors(getattr(self, "errors", "replace"))
        named = extra_special_tokens if isinstance(extra_special_tokens, Mapping) else {}
        more = [] if named or not extra_special_tokens else check_list(EXTRA, extra_special_tokens)
        super().__init__(roles, [*check_list(ADDITIONAL, additional), *more], added, named)

    # What a subclass supplies ---------------------------------------------------------------------------------------

    def _split(self, texts: list[Text], options: Options, *, with_spans: bool) -> list[Pieces]:
        """Return the pieces of each text or list of words, with their final spans and words if `with_spans`."""
        raise NotImplementedError

    def _build_frame(self) -> Frame:
        """Return the special tokens around texts."""
        raise NotImplementedError

    def _build_vocabulary_files(self) -> dict[str, str]:
        """Return file name -> content of the vocabulary's own files."""
        raise NotImplementedError

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A new `tokenizers.Tokenizer` that gives the same ids, made of the present tokens and settings."""
        raise NotImplementedError

    # Loading and saving ---------------------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **settings: Any) -> Self:
        """Load the tokenizer of a checkpoint.

        Args:
            pretrained_model_name_or_path: A folder, the name of an embedded model, or a repository on the Hub.
            **settings: How to download a repository (`revision`, `token`, ...; see `checkpoints.resolve`), and
                arguments of the constructor, which replace the checkpoint's own.

        Raises:
            FileNotFoundError: If the folder has no tokenizer.
            ValueError: If a file is damaged or has a value that is not supported.
        """
        folder = resolve_folder(pretrained_model_name_or_path, settings)

        def read() -> Self:
            found = cls._select_arguments(read_settings(folder))
            if found.get("model_max_length") is not None:
                settings.pop("max_len", None)  # as published: only a default
            return cls(**{**found, "name_or_path": os.fspath(pretrained_model_name_or_path), **settings})

        return read_consistently(folder, read)

    @classmethod
    def _select_arguments(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a folder's settings that the constructor accepts."""
        return {name: value for name, value in settings.items() if name != "tokenizer_class"}

    def save_vocabulary(
        self, save_directory: str | os.PathLike[str], filename_prefix: str | None = None
    ) -> tuple[str, ...]:
        """Write vocab.json and merges.txt, with a prefix and a dash before their names if given; return the paths."""
        return write_files(Path(save_directory), add_prefix(self._build_vocabulary_files(), filename_prefix))

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **options: Any,
    ) -> tuple[str, ...]:
        """Write every file that `from_pretrained` and other libraries read.

        Args:
            save_directory: The folder, which is created if needed.
            legacy_format: True to omit tokenizer.json, False to omit the vocabulary's own files.
            filename_prefix: Put before the names of the files, with a dash.
            push_to_hub: Also upload the files, to `repo_id` or a repository with the name of the folder.
            **options: `repo_id` and the options of `push_to_hub`; arguments that concern models only have no effect.

        Returns:
            The paths of the files.

        Raises:
            TypeError: If an option does not exist.
        """
        unknown = sorted(options.keys() - {*IGNORED_WHEN_SAVING, *UPLOAD, "repo_id", "use_auth_token"})
        if unknown:
            raise TypeError(f"save_pretrained has no argument {', '.join(map(repr, unknown))}")
        texts = build_files(self, self._build_vocabulary_files(), legacy_format)
        paths = write_files(Path(save_directory), add_prefix(texts, filename_prefix))
        if push_to_hub:
            repo_id = options.get("repo_id") or Path(save_directory).resolve().name
            upload = {name: options[name] for name in (*UPLOAD, "use_auth_token") if name in options}
            self.push_to_hub(repo_id, **upload)
        return paths

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of the constructor that describe the tokenizer, without its vocabulary."""
        roles = {role: self._roles.get(role) for role in self.default_roles or ROLES}
        more = {ADDITIONAL: list(self._additional)} if self._additional else {}
        named = {EXTRA: dict(self._named)} if self._named else {}
        settings = {name: getattr(self, name) for name in PLAIN if getattr(self, name, None) is not None}
        limit = {"model_max_length": self.model_max_length, "name_or_path": self.name_or_path}
        return {**settings, **roles, **more, **named, **limit}

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
        """Encode a text, a pair, or a batch of either.

        Args:
            text: A string, or a list of strings or of pairs; with `is_split_into_words` lists of words.
            text_pair: The second text, or as many second texts as there are first ones.
            text_target: A text that is encoded in the same way and returned as `labels`, or alone if `text` is None.
            text_pair_target: Its second text.
            add_special_tokens: Whether to put `<s>` and `</s>` around texts.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. Without truncation a text that
                exceeds `model_max_length` is returned in full.
            max_length: Maximum length of a row in tokens; None for `model_max_length`.
            stride: Number of tokens that overflowing rows share.
            is_split_into_words: Whether texts are lists of words.
            pad_to_multiple_of: Pad to a multiple of this length.
            padding_side: "right" or "left"; None for the tokenizer's own.
            return_tensors: "np", "pt", "tf" or "jax" for tensors [B, S] of int64 (int32 in TensorFlow and JAX); None
                for lists.
            return_token_type_ids: Whether to return `token_type_ids`; None as `model_input_names` says.
            return_attention_mask: Whether to return `attention_mask`; None as `model_input_names` says.
            return_overflowing_tokens: Whether to return what truncation cuts off, as rows of their own with
                `overflow_to_sample_mapping`.
            return_special_tokens_mask: Whether to return `special_tokens_mask`.
            return_offsets_mapping: Whether to return `offset_mapping`: the characters (start, end) of each token.
            return_length: Whether to return `length`.
            verbose: Accepted for compatibility, no effect.
            add_prefix_space: Whether the first word is treated as after a space; None for the tokenizer's own setting.
            split_special_tokens: Whether special tokens in a text are encoded as text; None for the tokenizer's own.

        Returns:
            Lists [S], or [B, S] for a batch, or tensors [B, S].

        Raises:
            ValueError: If an argument is invalid or the request cannot be met; the message has the numbers.
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
            add_special=add_special_tokens,
            words=is_split_into_words,
            prefix_space=add_prefix_space,
            split_special=split_special_tokens,
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
        return encode(samples, options, self._build_padded_frame(options), self._split, self.convert_ids_to_tokens)

    def _build_padded_frame(self, options: Options) -> Frame:
        """Return the special tokens around texts, none if the options do not request them."""
        pad = self.pad_token_id
        if options.padding and pad is None:
            raise ValueError("there is no pad token to pad with; set one with add_special_tokens({'pad_token': ...})")
        return self._build_frame() if options.add_special else Frame(*NO_FRAME, 0 if pad is None else pad)

    def encode(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, padding: bool | str | None = False,
        truncation: bool | str | None = None, max_length: int | None = None, stride: int = 0,
        padding_side: str | None = None, return_tensors: str | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Return the ids of a text or a pair: a list [S], or a tensor [1, S]; `options` are those of a call."""
        return self(
            text, text_pair, None, None, add_special_tokens, padding, truncation, max_length, stride,
            padding_side=padding_side, return_tensors=return_tensors, **options,
        )["input_ids"]  # fmt: skip

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **options: Any) -> list[str]:
        """Return the tokens of a text or a pair as the vocabulary writes them; `options` are those of a call."""
        ids = self(text, pair, None, None, add_special_tokens, **options)["input_ids"]
        return self.convert_ids_to_tokens(ids)

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, *more: Any, **options: Any
    ) -> BatchEncoding:
        """Encode one text or pair, as a call does; `more` are the arguments after `add_special_tokens`."""
        return self(text, text_pair, None, None, add_special_tokens, *more, **options)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Any, add_special_tokens: bool = True, *more: Any, **options: Any
    ) -> BatchEncoding:
        """Encode a list of texts or of pairs, as a call does; `more` are the arguments after `add_special_tokens`."""
        return self(list(batch_text_or_text_pairs), None, None, None, add_special_tokens, *more, **options)

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
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
        prepend_batch_axis: bool = False,
    ) -> BatchEncoding:
        """Return the columns for the ids of one or two texts, as a call does for the texts themselves.

        `ids` and `pair_ids` have no special tokens. With `prepend_batch_axis` tensors are [1, S] instead of [S]. The
        other arguments are those of a call.

        Raises:
            ValueError: If the request cannot be met; offsets and overflowing tokens need the text, so they cannot.
        """
        if return_offsets_mapping or return_overflowing_tokens:
            raise ValueError("prepare_for_model has only ids: call the tokenizer with the text for offsets or overflow")
        options = build_options(
            self,
            resolve_lengths(padding, truncation, max_length, pad_to_multiple_of, self.model_max_length),
            {
                "token_type_ids": return_token_type_ids,
                "attention_mask": return_attention_mask,
                "special_tokens_mask": return_special_tokens_mask,
                "offset_mapping": False,
                "length": return_length,
            },
            padding_side=padding_side,
            stride=stride,
            add_special=add_special_tokens,
            words=False,
            prefix_space=None,
            split_special=False,
            overflow=False,
            tensors=None,
        )
        texts = [to_ids(ids), *([] if pair_ids is None else [to_ids(pair_ids)])]
        samples = Samples([""], ["" if len(texts) > 1 else None], batch=False)
        pieces = [Pieces(text) for text in texts]
        columns = dict(encode(samples, options, self._build_padded_frame(options), lambda *_, **__: pieces, list))
        if return_length:
            columns["length"] = columns["length"][0]
        return BatchEncoding(columns, tensor_type=return_tensors, prepend_batch_axis=prepend_batch_axis)

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
        """Pad encoded texts to one length.

        Columns that a tokenizer does not return, such as labels, stay unchanged.

        Args:
            encoded_inputs: A dictionary of columns (of one text or a batch), or a list of such dictionaries.
            padding: True or "longest", "max_length", or False.
            max_length: The length for "max_length"; None for `model_max_length`.
            pad_to_multiple_of: Pad to a multiple of this length.
            padding_side: "right" or "left"; None for the tokenizer's own.
            return_attention_mask: Whether to add `attention_mask`; None as `model_input_names` says.
            return_tensors: "np", "pt", "tf" or "jax"; None for lists.
            verbose: Accepted for compatibility, no effect.

        Raises:
            ValueError: If the columns differ in length, or there is no pad token.
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
        """Return `<s> A </s>` or `<s> A </s></s> B </s>` from the ids of one or two texts."""
        return self._build_frame().join(token_ids_0, token_ids_1)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for special tokens, otherwise 0.

        Args:
            token_ids_0: Ids of a text, to which `build_inputs_with_special_tokens` has still to be applied.
            token_ids_1: Ids of its second text.
            already_has_special_tokens: Whether it was applied already. Then every special token counts, also mask and
                pad.
        """
        if not already_has_special_tokens:
            return self._row(token_ids_0, token_ids_1).special_tokens_mask()
        if token_ids_1 is not None:
            raise ValueError("with already_has_special_tokens the ids are one sequence: omit token_ids_1")
        special = set(self.all_special_ids)
        return [int(index in special) for index in token_ids_0]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Return the token types of one or two texts with special tokens: zeros, because RoBERTa has one token type."""
        return self._row(token_ids_0, token_ids_1).type_ids()

    def _row(self, first: Sequence[int], second: Sequence[int] | None) -> Row:
        return Row(
            0, Pieces([*first]), None if second is None else Pieces([*second]), self._build_frame(), add_special=True
        )

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of special tokens around one text, or around a pair."""
        return self._build_frame().count_special(pair)

    @property
    def max_len_single_sentence(self) -> int:
        """The maximum length of a text in tokens, without its special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The maximum length of a pair in tokens, without its special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def __repr__(self) -> str:
        limit = "None" if self.model_max_length >= UNLIMITED else self.model_max_length
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"length={len(self)}, model_max_length={limit}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map})"
        )


def check_errors(errors: Any) -> None:
    """Raise ValueError unless `errors` is a way to handle bytes that are not UTF-8."""
    try:
        codecs.lookup_error(errors)
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"errors {errors!r:.60} is unknown; it may be 'replace', 'ignore', 'strict', ...") from None
