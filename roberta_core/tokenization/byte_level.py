"""What RoBERTa's two tokenizers share besides the call surface: a byte-level vocabulary, prefix spaces, spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, models

from roberta_core.tokenization import files
from roberta_core.tokenization.assembly import make_whole
from roberta_core.tokenization.base import TokenizerBase
from roberta_core.tokenization.byte_alphabet import BLANKS, BYTE_TO_CHARACTER, token_to_bytes
from roberta_core.tokenization.inputs import Text
from roberta_core.tokenization.options import Options
from roberta_core.tokenization.rows import Frame, Pieces, published
from roberta_core.tokenization.spans import join_words, settle
from roberta_core.tokenization.vocabulary import Merge


class ByteLevelTokenizer(TokenizerBase):
    """RoBERTa's tokenizer but for the splitting of a text, which a child adds with `_pieces`."""

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

    # What the call surface asks for ---------------------------------------------------------------------------------

    def _frame(self) -> Frame:
        return published(self.cls_token_id, self.sep_token_id, self.pad_token_id)

    def _split(self, texts: list[Text], options: Options, *, traced: bool) -> list[Pieces]:
        if not options.words:
            return self._spaced(texts, options, spaced=bool(options.spaced), traced=traced)  # pyright: ignore[reportArgumentType]
        once = list(dict.fromkeys(word for words in texts for word in words))  # most words come again and again
        known = dict(zip(once, self._spaced(once, options, spaced=True, traced=traced), strict=True))
        return [join_words([known[word] for word in words], traced=traced) for words in texts]

    def _spaced(self, texts: list[str], options: Options, *, spaced: bool, traced: bool) -> list[Pieces]:
        """Texts with a blank put before each that begins with none, if `spaced`: the spans leave it out."""
        if not spaced and not traced:
            return self._pieces(texts, traced=False, literal=options.literal)
        moved = [1 if spaced and text and text[0] not in BLANKS else 0 for text in texts]
        prepared = [" " + text if by else text for text, by in zip(texts, moved, strict=True)] if spaced else texts
        found = self._pieces(prepared, traced=traced, literal=options.literal)
        if not traced:
            return found
        return [
            settle(text, one, by, self.trim_offsets, self._added)
            for text, one, by in zip(prepared, found, moved, strict=True)
        ]

    def _vocabulary_texts(self) -> dict[str, str]:
        return files.vocabulary_texts(self.vocabulary(), self.merges())

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

    def _id_of_unknown_bytes(self) -> int | None:
        """The unknown token's id, for a vocabulary that does not have every byte; None for one that does."""
        if all(self._vocab_id(character) is not None for character in BYTE_TO_CHARACTER.values()):
            return None
        index = self._vocab_id(self.unk_token)
        if index is None:
            raise ValueError(f"the vocabulary lacks some bytes, and {self.unk_token!r} that would stand for them")
        return index

    # Text -----------------------------------------------------------------------------------------------------------

    def _text_of(self, ids: list[int]) -> str:
        known = self._bytes
        return b"".join([known.get(index) or self._bytes_of(index) for index in ids]).decode("utf-8", self.errors)

    def _bytes_of(self, index: int) -> bytes:
        token = self._token_of(index)
        text = token.encode("utf-8") if index in self._added else token_to_bytes(token)
        self._bytes[index] = text
        return text

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text that tokens stand for. Bytes that are no UTF-8 are treated as `errors` says."""
        added = self._added_ids
        parts = [token.encode("utf-8") if token in added else token_to_bytes(token) for token in tokens]
        return b"".join(parts).decode("utf-8", self.errors)

    def _tokens_changed(self) -> None:
        self._bytes.clear()
