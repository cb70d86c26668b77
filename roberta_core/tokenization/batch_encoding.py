"""The result of a tokenizer call: the columns of a batch, and the characters and words that each token comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import numpy as np

from roberta_core.tokenization.call_arguments import TENSORS, choose
from roberta_core.tokenization.rows import COLUMNS, Row, Span

LONGEST_REPR = 300  # characters of a column

Trace = Callable[[], tuple[list[Row], list[list[str]]]]  # returns rows with spans and words, and their tokens


class CharSpan(NamedTuple):
    """Characters of a text, from `start` up to `end`."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row, from `start` up to `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row with everything that is known of its tokens, in lists of the row's length."""

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
    """Columns such as `input_ids` by name, also as attributes: `model(**encoding)` accepts it directly.

    `encoding[0]` is the first row with everything that is known of it. The origin of tokens (`tokens`, `word_ids`,
    `char_to_token`, ...) is computed at the first request. A pickled or copied encoding does not have it.

    Args:
        data: The columns by name.
        encoding: Returns the rows with their origin; or the `Encoding` of one row or a list of them, from this module
            or the `tokenizers` library.
        tensor_type: The type of tensors to convert the columns into, as in `convert_to_tensors`.
        prepend_batch_axis: Whether the columns are those of one row, and become [1, S].
        n_sequences: What the property of this name returns; None counts the texts of the rows.

    Example:
        >>> from roberta_core import RobertaTokenizerFast
        >>> encoding = RobertaTokenizerFast.from_pretrained("roberta-tiny")("The cat")
        >>> encoding.tokens()
        ['<s>', 'The', 'Ġcat', '</s>']
        >>> encoding.token_to_chars(2)
        CharSpan(start=4, end=7)
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Any = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data or {})
        traced = encoding is None or callable(encoding)
        self._trace: Any = encoding if traced else partial(to_rows, encoding)
        self._n_sequences = n_sequences
        self._traced: tuple[list[Row], list[list[str]]] | None = None
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name}={describe_column(column)}" for name, column in self.items())
        return f"{type(self).__name__}({columns})"

    def __getitem__(self, name: Any) -> Any:
        """Return a column by its name, or rows by their place."""
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
        """Move every tensor that can be moved to a device; return the encoding itself."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device, **settings)
        return self

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Convert every column into a tensor ("np", "pt", "tf", "jax"), of one row [1, S] if `prepend_batch_axis`.

        Returns the encoding itself. Raises ValueError if a column is no array, because its rows differ in length.
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
        """Every row with everything that is known of it."""
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
        if self._n_sequences is not None:
            return self._n_sequences
        return 2 if any(row.second is not None for row in self._rows()) else 1

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row as the vocabulary writes them."""
        self._rows()
        assert self._traced is not None
        return self._traced[1][batch_index]

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the word of each token of a row, counted in its text; None for special tokens and padding."""
        return self._rows()[batch_index].word_ids()

    words = word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return 0 or 1 for the text of each token of a row; None for special tokens and padding."""
        return self._rows()[batch_index].sequence_ids()

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters (start, end) of a token in its text; None for a special token."""
        row, token = self._place(batch_or_token_index, token_index)
        token = range(row.count_padded())[token]
        return None if row.sequence_ids()[token] is None else CharSpan(*row.offsets()[token])

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the word of a token."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.word_ids()[token]

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the text of a token: 0 or 1."""
        row, token = self._place(batch_or_token_index, token_index)
        return row.sequence_ids()[token]

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the first token whose characters include this one; None if there is none, as for a trimmed space."""
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
        """Return the tokens (start, end) of a word; None if truncation removed it."""
        row, word = self._place(batch_or_word_index, word_index)
        pairs = enumerate(zip(row.word_ids(), row.sequence_ids(), strict=True))
        found = [token for token, place in pairs if place == (word, sequence_index)]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters (start, end) of a word in its text; None if truncation removed it."""
        row, _ = self._place(batch_or_word_index, word_index)
        tokens = self.word_to_tokens(batch_or_word_index, word_index, sequence_index)
        if tokens is None:
            return None
        spans = row.offsets()[slice(*tokens)]
        return CharSpan(spans[0][0], spans[-1][1])

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word that a character is in."""
        token = self.char_to_token(batch_or_char_index, char_index, sequence_index)
        row, _ = self._place(batch_or_char_index, char_index)
        return None if token is None else row.word_ids()[token]

    def _rows(self) -> list[Row]:
        if self._traced is None:
            if self._trace is None:
                raise ValueError(
                    "the origin of these tokens is unknown, because the encoding was copied or made without its text: "
                    "encode the text again"
                )
            self._traced = self._trace()
        assert self._traced is not None
        return self._traced[0]

    def _place(self, batch_or_index: int, index: int | None) -> tuple[Row, int]:
        """Return the row and the index: the published calls give the row first, or omit it for row 0."""
        row, index = (0, batch_or_index) if index is None else (batch_or_index, index)
        return self._rows()[row], index


class GivenRow:
    """A row that was made elsewhere, with the methods of `rows.Row` that trace the origin of its tokens."""

    def __init__(self, made: Any):
        self.made = made
        self.second = None if made.n_sequences < 2 else made
        self.count_padded = lambda: len(made.ids)
        for method, field in (
            ("input_ids", "ids"),
            ("type_ids", "type_ids"),
            ("offsets", "offsets"),
            ("attention_mask", "attention_mask"),
            ("special_tokens_mask", "special_tokens_mask"),
            ("word_ids", "word_ids"),
            ("sequence_ids", "sequence_ids"),
        ):
            setattr(self, method, partial(getattr, made, field))


def to_rows(encoding: Any) -> tuple[list[Any], list[list[str]]]:
    """Return the rows of one encoding or of a list of them, and their tokens."""
    made = list(encoding) if isinstance(encoding, list | tuple) else [encoding]
    return [GivenRow(one) for one in made], [one.tokens for one in made]


# return_tensors -> the entry point of the backend that makes the tensors, and the published type of their integers.
BACKENDS = {"pt": ("pt", np.int64), "tf": ("tf", np.int32), "jax": ("flax", np.int32)}


def to_array(name: str, column: list) -> np.ndarray:
    """Return a column as int64 [B, S] (offsets [B, S, 2]). Raises ValueError if its rows differ in length."""
    sizes = {len(row) for row in column if isinstance(row, list)}
    if len(sizes) > 1:
        raise ValueError(
            f"{name} cannot become one array: its rows have {min(sizes)} to {max(sizes)} tokens; "
            "pass padding=True, and truncation=True for a common limit"
        )
    return np.array(column, dtype=np.int64) if column else np.zeros((0, 0), np.int64)


def to_tensor(array: np.ndarray, kind: str) -> Any:
    """Return the array as a tensor of the framework that `kind` names, with integers of the published type.

    The tensors are made by the framework's package, which is found by its entry point, as `roberta_core.backend` does.

    Raises:
        ValueError: If the framework is not installed.
    """
    if kind == "np":
        return array
    name, integers = BACKENDS[kind]
    converted = array.astype(integers, copy=False) if array.dtype == np.int64 else array
    return load_backend(kind, name).tensor(converted)


@cache
def load_backend(kind: str, name: str) -> Any:
    """Load the package of a framework. Raises ValueError if it is not installed."""
    try:
        for point in entry_points(group="roberta.backends", name=name):
            return point.load()
        missing = "no package offers it"
    except ModuleNotFoundError as error:
        missing = str(error)
    raise ValueError(f"return_tensors={kind!r} needs pip install 'triberta[{name}]' ({missing})")


def describe_column(column: Any) -> str:
    """Return a column as text: its values if they are few, otherwise its type and sizes."""
    shape = getattr(column, "shape", None)
    if shape is not None:
        return f"{type(column).__name__} {getattr(column, 'dtype', '')} {[*shape]}"
    text = repr(column)
    if len(text) <= LONGEST_REPR or not isinstance(column, list):
        return text if len(text) <= LONGEST_REPR else f"{text[:LONGEST_REPR]}..."
    sizes = {len(row) for row in column if isinstance(row, list)}
    return f"list of {len(column)}" + (f" lists of {min(sizes)} to {max(sizes)}" if sizes else "")
