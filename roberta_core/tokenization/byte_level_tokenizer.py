"""Base class of RoBERTa's two tokenizers: a byte-level vocabulary, prefix spaces, spans of characters."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, Self

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER, WHITESPACE, token_to_bytes
from roberta_core.tokenization.call_arguments import Options, Text
from roberta_core.tokenization.rows import Frame, Pieces, Span, build_roberta_frame
from roberta_core.tokenization.special_tokens import ADDITIONAL, ROLES, describe_token, to_added_token
from roberta_core.tokenization.tokenizer_base import TokenizerBase
from roberta_core.tokenization.tokenizer_files import build_vocabulary_files
from roberta_core.tokenization.tokenizer_json import build_roberta_engine
from roberta_core.tokenization.vocabulary_files import Merge


class ByteLevelTokenizer(TokenizerBase):
    """RoBERTa's tokenizer without the encoding of a text, which a subclass adds with `_encode_texts`."""

    tokenizer_class = "RobertaTokenizer"
    default_roles = tuple(ROLES)

    def __init__(
        self,
        roles: Mapping[str, Any],
        additional: Iterable[Any],
        added: Mapping[int, AddedToken],
        *,
        errors: str = "replace",
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        **settings: Any,
    ) -> None:
        self.errors = errors
        self.add_prefix_space = add_prefix_space
        self.trim_offsets = trim_offsets
        self._bytes: dict[int, bytes] = {}
        self._unknown: int | None = None
        super().__init__(roles, additional, added, **settings)
        self._unknown = self._find_unknown_byte_id()

    # What a subclass supplies ---------------------------------------------------------------------------------------

    def _encode_texts(
        self, texts: list[str], *, prefix_space: bool, split_special: bool, with_spans: bool
    ) -> list[Pieces]:
        """Return the tokens of each text, with untrimmed spans and word numbers if `with_spans`.

        `prefix_space` puts a space before each part between added tokens that does not begin with one.
        """
        raise NotImplementedError

    def merges(self) -> list[Merge]:
        """Return the merges in order of rank."""
        raise NotImplementedError

    def _build_bpe(self) -> models.BPE:
        """Return the library's model of the vocabulary."""
        raise NotImplementedError

    # What the base class needs --------------------------------------------------------------------------------------

    def _build_frame(self) -> Frame:
        cls, sep = self._get_required_id("cls_token"), self._get_required_id("sep_token")
        pad = self.pad_token_id
        return build_roberta_frame(cls, sep, 0 if pad is None else pad)

    def _split(self, texts: list[Text], options: Options, *, with_spans: bool) -> list[Pieces]:
        if not options.words:
            return self._encode_trimmed(texts, options, bool(options.prefix_space), with_spans)  # pyright: ignore[reportArgumentType]
        once = list(dict.fromkeys(word for words in texts for word in words))  # most words occur again and again
        known = dict(zip(once, self._encode_trimmed(once, options, True, with_spans), strict=True))
        return [join_word_pieces([known[word] for word in words], with_spans=with_spans) for words in texts]

    def _encode_trimmed(self, texts: list[str], options: Options, prefix_space: bool, with_spans: bool) -> list[Pieces]:
        found = self._encode_texts(
            texts, prefix_space=prefix_space, split_special=options.split_special, with_spans=with_spans
        )
        if not (with_spans and self.trim_offsets):
            return found
        return [trim_spans(text, one, self._added) for text, one in zip(texts, found, strict=True)]

    def train_new_from_iterator(
        self,
        text_iterator: Iterable[str | list[str]],
        vocab_size: int,
        length: int | None = None,
        new_special_tokens: Iterable[str | AddedToken] | None = None,
        special_tokens_map: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Self:
        """Train a vocabulary on texts, and return a tokenizer with it and with this one's settings.

        As published, special tokens get the lowest ids, in the order of their ids here.

        Args:
            text_iterator: Texts, or lists of texts.
            vocab_size: Number of entries, including special tokens.
            length: Number of texts, for the progress bar.
            new_special_tokens: More special tokens.
            special_tokens_map: Special token here -> its text in the new tokenizer.
            **options: Arguments of `tokenizers.trainers.BpeTrainer`, such as `min_frequency` and `show_progress`.
        """
        from roberta_core.tokenization.training import learn_from_texts

        renamed = dict(special_tokens_map or {})
        tokens = [
            AddedToken(**{**describe_token(token), "content": renamed.get(token.content, token.content)}, special=True)  # pyright: ignore[reportArgumentType]
            for _, token in sorted(self._added.items())
            if token.special
        ]
        new = [to_added_token(token) for token in new_special_tokens or ()]
        vocab, merges = learn_from_texts(text_iterator, vocab_size, [*tokens, *new], length=length, **options)
        arguments = self.init_kwargs
        for role, token in self._roles.items():
            arguments[role] = next(one for one in tokens if one.content == renamed.get(token.content, token.content))
        texts = {renamed.get(token.content, token.content) for token in self._additional}
        arguments[ADDITIONAL] = [token for token in tokens if token.content in texts] + new
        return type(self)(vocab, merges, added={vocab[token.content]: token for token in [*tokens, *new]}, **arguments)

    def _build_vocabulary_files(self) -> dict[str, str]:
        return build_vocabulary_files(self.vocabulary(), self.merges())

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A new `tokenizers.Tokenizer` with the present tokens and settings, as published."""
        return build_roberta_engine(
            self._build_bpe(),
            self._added,
            (str(self.cls_token), self._get_required_id("cls_token")),
            (str(self.sep_token), self._get_required_id("sep_token")),
            add_prefix_space=self.add_prefix_space,
            trim_offsets=self.trim_offsets,
        )

    def _find_unknown_byte_id(self) -> int | None:
        """Return the unknown token's id if the vocabulary lacks some bytes, None if it has them all."""
        if all(self._vocab_id(character) is not None for character in BYTE_TO_CHARACTER.values()):
            return None
        index = None if self.unk_token is None else self._vocab_id(self.unk_token)
        if index is None:
            raise ValueError(f"the vocabulary lacks some bytes, and {self.unk_token!r} that would stand for them")
        return index

    # Text -----------------------------------------------------------------------------------------------------------

    def _decode_ids(self, ids: list[int]) -> str:
        known = self._bytes
        return b"".join([known.get(index) or self._get_bytes(index) for index in ids]).decode("utf-8", self.errors)

    def _get_bytes(self, index: int) -> bytes:
        token = self._get_token(index)
        text = token.encode("utf-8") if index in self._added else token_to_bytes(token)
        self._bytes[index] = text
        return text

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """Return the text of tokens. Bytes that are not UTF-8 are handled as `errors` says."""
        added = self._added_ids
        parts = [token.encode("utf-8") if token in added else token_to_bytes(token) for token in tokens]
        return b"".join(parts).decode("utf-8", self.errors)

    def _update_tokens(self) -> None:
        self._bytes = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without caches, so that equal tokenizers pickle to equal bytes."""
        return {**self.__dict__, "_bytes": {}}


def trim_spans(text: str, pieces: Pieces, added: Container[int]) -> Pieces:
    """Return the tokens of a text with spans that exclude whitespace at their ends.

    Of a token of the vocabulary the spaces are excluded, of an added token all whitespace. A token of whitespace alone
    gets the empty span at its end.
    """
    spans = [
        # Most tokens have one space before them, or none around them.
        span
        if text[span[0] : span[0] + 1] != " " != text[span[1] - 1 : span[1]] and index not in added
        else trim_span(text, *span, WHITESPACE if index in added else " ")
        for index, span in zip(pieces.ids, pieces.spans or (), strict=True)
    ]
    return Pieces(pieces.ids, spans, pieces.words)


def trim_span(text: str, start: int, stop: int, whitespace: str) -> Span:
    """Return the span without the whitespace at its ends."""
    part = text[start:stop].lstrip(whitespace)
    start = stop - len(part)
    return start, start + len(part.rstrip(whitespace))


def join_word_pieces(words: list[Pieces], *, with_spans: bool) -> Pieces:
    """Return the tokens of a list of words; as published, spans stay relative to their word."""
    ids = [index for word in words for index in word.ids]
    if not with_spans:
        return Pieces(ids)
    spans: list[Span] = [span for word in words for span in word.spans or ()]
    return Pieces(ids, spans, [number for number, word in enumerate(words) for _ in word.ids])
