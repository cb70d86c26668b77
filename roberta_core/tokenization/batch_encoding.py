"""What a tokenizer returns: the columns of a batch as a dictionary, which also knows where every token comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from roberta_core.tokenization.call_arguments import TENSORS, choose
from roberta_core.tokenization.rows import COLUMNS, Row, Span

Trace = Callable[[], tuple[list[Row], list[list[str]]]]  # the rows with spans and words, and the tokens of each


class CharSpan(NamedTuple):
    """Characters of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row with all that is known of its tokens, in lists of the row's length."""

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    attention_mask: list[int]
    special_tokens_mask: list[int]
    word_ids: list[int | None]
    sequence_ids: list[int | None]
    n_sequences: int

    def __len__(self) -> int:
        return len(self.ids)


class BatchEncoding(dict[str, Any]):
    """Columns such as `input_ids` by name, also as attributes: `model(**encoding)` takes them as they are.

    `encoding[0]` is the first row with all that is known of it. The origin of tokens (`tokens`, `word_ids`,
    `char_to_token`, ...) is worked out when it is first asked for. It does not travel with a pickled or copied
    encoding. `tensor_type` turns the columns into tensors, as `convert_to_tensors` does.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        trace: Trace | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
    ) -> None:
        super().__init__(data or {})
        self._trace = trace
        self._traced: tuple[list[Row], list[list[str]]] | None = None
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, name: Any) -> Any:
        """A column by its name, else rows by their place."""
        return self.encodings[name] if isinstance(name, int | slice) else super().__getitem__(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self:
            raise AttributeError(f"{type(self).__name__} has no {name!r}; it holds {', '.join(self) or 'nothing'}")
        return self[name]

    def __reduce__(self) -> tuple[type[BatchEncoding], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a plain dictionary."""
        return dict(self)

    @property
    def is_fast(self) -> bool:
        """Whether the origin of tokens is known."""
        return self._trace is not None

    def to(self, device: Any, **settings: Any) -> BatchEncoding:
        """Move every tensor that can be moved to a device; returns the encoding itself."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device, **settings)
        return self

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn every column into a tensor ("np", "pt", "tf", "jax"), of one row [1, S] if `prepend_batch_axis`.

        Returns the encoding itself. Raises ValueError for a column that is no array, such as rows of several lengths.
        """
        if tensor_type is None:
            return self
        kind = choose("tensor_type", tensor_type, TENSORS)
        for name, values in self.items():
            column = [values] if prepend_batch_axis else values
            array = to_array(name, column) if name in COLUMNS and isinstance(column, list) else np.asarray(column)
            self[name] = to_tensor(array, kind)
        return self

    @property
    def encodings(self) -> list[Encoding]:
        """Every row with all that is known of it."""
        rows, tokens = self._rows(), (self._traced or ([], []))[1]
        return [
            Encoding(
                row.input_ids(), row.type_ids(), texts, row.offsets(), row.attention_mask(), row.special_tokens_mask(),
                row.word_ids(), row.sequence_ids(), 1 if row.second is None else 2,
            )
            for row, texts in zip(rows, tokens, strict=True)
        ]  # fmt: skip

    @property
    def n_sequences(self) -> int:
        """1 for single texts, 2 for pairs."""
        return 2 if any(row.second is not None for row in self._rows()) else 1

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row as the vocabulary writes them."""
        self._rows()
        assert self._traced is not None
        return self._traced[1][batch_index]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The word of each token of a row, counted within its text; None for special tokens and padding."""
        return self._rows()[batch_index].word_ids()

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1 for the text of each token of a row; None for special tokens and padding."""
        return self._rows()[batch_index].sequence_ids()

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters (start, end) of a token in its text; None for a special token."""
        row, token = self._place(batch_or_token_index, token_index)
        token = range(row.count_padded())[token]
        return None if row.sequence_ids()[token] is None else CharSpan(*row.offsets()[token])

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The word of a token."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.word_ids()[token]

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The text of a token: 0 or 1."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.sequence_ids()[token]

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The first token whose characters include this one; None where there is none, as for a trimmed blank."""
        row, character = self._place(batch_or_char_index, char_index)
        for token, (start, stop), sequence in zip(
            range(row.count_padded()), row.offsets(), row.sequence_ids(), strict=True
        ):
            if sequence == sequence_index and start <= character < stop:
                return token
        return None

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens (start, end) of a word; None where none is left of it."""
        row, word = self._place(batch_or_word_index, word_index)
        pairs = enumerate(zip(row.word_ids(), row.sequence_ids(), strict=True))
        found = [token for token, place in pairs if place == (word, sequence_index)]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters (start, end) of a word in its text; None where none is left of it."""
        row, _ = self._place(batch_or_word_index, word_index)
        tokens = self.word_to_tokens(batch_or_word_index, word_index, sequence_index)
        if tokens is None:
            return None
        spans = row.offsets()[slice(*tokens)]
        return CharSpan(spans[0][0], spans[-1][1])

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The word that a character is in."""
        token = self.char_to_token(batch_or_char_index, char_index, sequence_index)
        row, _ = self._place(batch_or_char_index, char_index)
        return None if token is None else row.word_ids()[token]

    def _rows(self) -> list[Row]:
        if self._traced is None:
            if self._trace is None:
                raise ValueError("this encoding does not know where its tokens come from: encode the text again")
            self._traced = self._trace()
        return self._traced[0]

    def _place(self, batch_or_index: int, index: int | None) -> tuple[Row, int]:
        """The published calls name the row first, or leave it out for row 0."""
        row, index = (0, batch_or_index) if index is None else (batch_or_index, index)
        return self._rows()[row], index


# What return_tensors says -> the backend that makes the tensors, and the published width of their whole numbers.
BACKENDS = {"pt": ("pt", np.int64), "tf": ("tf", np.int32), "jax": ("flax", np.int32)}


def to_array(name: str, column: list) -> np.ndarray:
    """A column as int64 [B, S] (offsets [B, S, 2]). Raises ValueError when its rows differ in length."""
    sizes = {len(row) for row in column if isinstance(row, list)}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} cannot become one array: its rows have {min(sizes)} to {max(sizes)} tokens; "
            "ask for padding=True, and truncation=True for a common limit"
        )
    return np.array(column, dtype=np.int64) if column else np.zeros((0, 0), np.int64)


def to_tensor(array: np.ndarray, kind: str) -> Any:
    """The array as a tensor of the framework that `kind` names, whole numbers in its width; NumPy's stays as it is.

    Raises `BackendError` (a ValueError) if the framework is not installed.
    """
    if kind == "np":
        return array
    from roberta_core import backend

    name, width = BACKENDS[kind]
    return backend.load(name).tensor(array.astype(width, copy=False) if array.dtype == np.int64 else array)
