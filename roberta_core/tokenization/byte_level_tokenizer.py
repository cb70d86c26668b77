"""What RoBERTa's two tokenizers share besides the call surface: a byte-level vocabulary, prefix spaces, spans."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER, WHITESPACE, token_to_bytes
from roberta_core.tokenization.call_arguments import Options, Text
from roberta_core.tokenization.rows import Frame, Pieces, Span, build_roberta_frame
from roberta_core.tokenization.tokenizer_base import TokenizerBase
from roberta_core.tokenization.tokenizer_files import build_vocabulary_files
from roberta_core.tokenization.tokenizer_json import build_roberta_engine
from roberta_core.tokenization.vocabulary_files import Merge


class ByteLevelTokenizer(TokenizerBase):
    """RoBERTa's tokenizer but for the splitting of a text, which a child adds with `_encode_texts`."""

    tokenizer_class = "RobertaTokenizer"

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
        super().__init__(roles, additional, added, **settings)
        self._unknown = self._find_unknown_byte_id()

    # What a child supplies ------------------------------------------------------------------------------------------

    def _encode_texts(self, texts: list[str], *, traced: bool, literal: bool) -> list[Pieces]:
        """The tokens of each text, with untrimmed spans and words when traced; `literal`: special tokens are text."""
        raise NotImplementedError

    def merges(self) -> list[Merge]:
        """The merges in order of rank."""
        raise NotImplementedError

    def _build_bpe(self) -> models.BPE:
        """The library's model of the vocabulary."""
        raise NotImplementedError

    # What the call surface asks for ---------------------------------------------------------------------------------

    def _build_frame(self) -> Frame:
        return build_roberta_frame(self.cls_token_id, self.sep_token_id, self.pad_token_id)

    def _split(self, texts: list[Text], options: Options, *, traced: bool) -> list[Pieces]:
        if not options.words:
            return self._encode_spaced(texts, options, spaced=bool(options.spaced), traced=traced)  # pyright: ignore[reportArgumentType]
        once = list(dict.fromkeys(word for words in texts for word in words))  # most words come again and again
        known = dict(zip(once, self._encode_spaced(once, options, spaced=True, traced=traced), strict=True))
        return [join_word_pieces([known[word] for word in words], traced=traced) for words in texts]

    def _encode_spaced(self, texts: list[str], options: Options, *, spaced: bool, traced: bool) -> list[Pieces]:
        """Texts with a blank put before each that begins with none, if `spaced`: the spans leave it out."""
        if not spaced and not traced:
            return self._encode_texts(texts, traced=False, literal=options.literal)
        moved = [1 if spaced and text and text[0] not in WHITESPACE else 0 for text in texts]
        prepared = [" " + text if by else text for text, by in zip(texts, moved, strict=True)] if spaced else texts
        found = self._encode_texts(prepared, traced=traced, literal=options.literal)
        if not traced:
            return found
        return [
            trim_spans(text, one, by, self.trim_offsets, self._added)
            for text, one, by in zip(prepared, found, moved, strict=True)
        ]

    def _build_vocabulary_files(self) -> dict[str, str]:
        return build_vocabulary_files(self.vocabulary(), self.merges())

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """A `tokenizers.Tokenizer` as published, made of the present tokens and settings."""
        return build_roberta_engine(
            self._build_bpe(),
            self._added,
            (self.cls_token, self.cls_token_id),
            (self.sep_token, self.sep_token_id),
            add_prefix_space=self.add_prefix_space,
            trim_offsets=self.trim_offsets,
        )

    def _find_unknown_byte_id(self) -> int | None:
        """The unknown token's id, for a vocabulary that does not have every byte; None for one that does."""
        if all(self._vocab_id(character) is not None for character in BYTE_TO_CHARACTER.values()):
            return None
        index = self._vocab_id(self.unk_token)
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
        """The text that tokens stand for. Bytes that are no UTF-8 are treated as `errors` says."""
        added = self._added_ids
        parts = [token.encode("utf-8") if token in added else token_to_bytes(token) for token in tokens]
        return b"".join(parts).decode("utf-8", self.errors)

    def _update_tokens(self) -> None:
        self._bytes.clear()


def trim_spans(text: str, pieces: Pieces, moved: int, trim: bool, added: Container[int]) -> Pieces:
    """Tokens of a text that had `moved` blanks put before it, with spans of the text as it was.

    `trim` leaves out the blanks that a token begins or ends with: of a token of the vocabulary the spaces, of an added
    token every kind of blank. A token of blanks alone gets the empty span at its end.
    """
    spans = pieces.spans or []
    if trim:
        spans = [
            # Most tokens have one space before them, or none around them.
            span
            if text[span[0] : span[0] + 1] != " " != text[span[1] - 1 : span[1]] and index not in added
            else strip(text, *span, WHITESPACE if index in added else " ")
            for index, span in zip(pieces.ids, spans, strict=True)
        ]
    if moved:
        spans = [(max(start - moved, 0), max(stop - moved, 0)) for start, stop in spans]
    return Pieces(pieces.ids, spans, pieces.words)


def strip(text: str, start: int, stop: int, blanks: str) -> Span:
    """The span without the blanks at its ends."""
    part = text[start:stop].lstrip(blanks)
    start = stop - len(part)
    return start, start + len(part.rstrip(blanks))


def join_word_pieces(words: list[Pieces], *, traced: bool) -> Pieces:
    """The words of one text as one: spans stay relative to their word, as published."""
    ids = [index for word in words for index in word.ids]
    if not traced:
        return Pieces(ids)
    spans: list[Span] = [span for word in words for span in word.spans or ()]
    return Pieces(ids, spans, [number for number, word in enumerate(words) for _ in word.ids])
