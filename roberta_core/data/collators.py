"""Data collators: a list of tokenized examples becomes a batch of any framework's tensors, for your own training loop.

Names and arguments are those of transformers 4.57.6. All values are computed in NumPy, so that the frameworks get the
same batches; a framework is imported when the first of its tensors is made.

Shapes: B batch, S sequence, C choices.
"""

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.tokenization.batch_encoding import to_tensor
from roberta_core.tokenization.call_arguments import TENSORS, choose

IGNORED = -100
LABELS = ("label", "label_ids", "labels")  # the names that examples use; a batch has "labels"

Features = Sequence[Mapping[str, Any]]
Columns = dict[str, list[Any]]


class PaddingCollator:
    """What the collators that only pad have in common."""

    tokenizer: Any
    padding: bool | str
    max_length: int | None
    pad_to_multiple_of: int | None
    return_tensors: str

    def __call__(self, features: Features, return_tensors: str | None = None) -> dict[str, Any]:
        """Return a batch of examples.

        Args:
            features: columns by name for each example, such as those of a tokenizer's call and `labels`.
            return_tensors: the type of tensors; by default as given to the collator.

        Raises:
            ValueError: the columns of the examples do not fit together, or the framework is not installed.
        """
        kind = choose("return_tensors", return_tensors or self.return_tensors, TENSORS)
        return _convert(self.collate(read_features(features)), kind)

    def collate(self, features: list[dict[str, Any]]) -> Mapping[str, Any]:
        """Return the columns of a batch as lists or arrays; the labels of an example are under `labels`."""
        return self.pad(features)

    def pad(self, features: list[dict[str, Any]]) -> Columns:
        """Return the padded columns of examples."""
        return dict(
            self.tokenizer.pad(
                features,
                padding=self.padding,
                max_length=self.max_length,
                pad_to_multiple_of=self.pad_to_multiple_of,
            )
        )


@dataclass
class DataCollatorWithPadding(PaddingCollator):
    """Pads examples to one length; a column `label` or `label_ids` becomes `labels`.

    Args:
        tokenizer: a tokenizer of this library or of transformers.
        padding: True or "longest", "max_length", or False for examples that have one length already.
        max_length: the length for "max_length".
        pad_to_multiple_of: pad to a multiple of this length.
        return_tensors: "pt", "tf", "jax" or "np".

    Example:
        >>> from roberta_core import DataCollatorWithPadding, load_tokenizer
        >>> tokenizer = load_tokenizer("roberta-tiny")
        >>> collate = DataCollatorWithPadding(tokenizer, return_tensors="np")
        >>> batch = collate([{**tokenizer("a door"), "label": 1}, {**tokenizer("a"), "label": 0}])
        >>> batch["input_ids"].shape, batch["labels"].tolist()
        ((2, 4), [1, 0])
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"


@dataclass
class DataCollatorForTokenClassification(PaddingCollator):
    """Pads examples and their labels, one for each token, to one length.

    Args:
        tokenizer: a tokenizer of this library or of transformers.
        padding: True or "longest", "max_length", or False for examples that have one length already.
        max_length: the length for "max_length".
        pad_to_multiple_of: pad to a multiple of this length.
        label_pad_token_id: the label of padding; -100 is ignored by the loss.
        return_tensors: "pt", "tf", "jax" or "np".
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    label_pad_token_id: int = IGNORED
    return_tensors: str = "pt"

    def collate(self, features: list[dict[str, Any]]) -> Mapping[str, Any]:
        """Return the columns of a batch, with `labels` [B, S]."""
        labels = _take_labels(features)
        batch = self.pad(features)
        if labels is None:
            return batch
        width, left = len(batch["input_ids"][0]), self.tokenizer.padding_side == "left"
        for number, row in enumerate(labels):
            tokens = len(features[number]["input_ids"])
            if not isinstance(row, list) or len(row) != tokens:
                count = len(row) if isinstance(row, list) else "no list of"
                raise ValueError(f"example {number} has {count} labels, but {tokens} tokens")
        rows = [_pad_row(row, width, self.label_pad_token_id, left) for row in labels]
        return {**batch, "labels": rows}


@dataclass
class DataCollatorForMultipleChoice(PaddingCollator):
    """Pads the choices of all examples to one length: `input_ids` [B, C, S], and `labels` [B] if there are any.

    Args:
        tokenizer: a tokenizer of this library or of transformers.
        padding: True or "longest", "max_length", or False for choices that have one length already.
        max_length: the length for "max_length".
        pad_to_multiple_of: pad to a multiple of this length.
        return_tensors: "pt", "tf", "jax" or "np".
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def collate(self, features: list[dict[str, Any]]) -> Mapping[str, Any]:
        """Return the columns of a batch, each [B, C, S], and `labels` [B]."""
        labels = _take_labels(features)
        counts = {len(feature["input_ids"]) for feature in features}
        if len(counts) > 1:
            raise ValueError(f"the examples of a batch have {min(counts)} to {max(counts)} choices; they need as many")
        (choices,) = counts
        flat = [{name: rows[choice] for name, rows in one.items()} for one in features for choice in range(choices)]
        columns = {name: np.array(rows) for name, rows in self.pad(flat).items()}
        batch = {name: rows.reshape(len(features), choices, -1) for name, rows in columns.items()}
        return batch if labels is None else {**batch, "labels": labels}


@dataclass
class DataCollatorForLanguageModeling:
    """Pads examples and masks tokens (masked language modeling), or copies the tokens as labels (causal).

    The masks of a seed are those of transformers 4.57.6 with `return_tensors="np"`, in every framework. A worker
    process draws from the seed and its own number.

    Args:
        tokenizer: a tokenizer of this library or of transformers.
        mlm: mask tokens; False is for causal models.
        whole_word_mask: choose words instead of tokens. The examples need the column `offset_mapping`.
        mlm_probability: the probability of each token, or word, to be chosen.
        mask_replace_prob: the share of the chosen tokens that become `<mask>`.
        random_replace_prob: the share of the chosen tokens that become a random token; the rest stays as it is.
        pad_to_multiple_of: pad to a multiple of this length.
        tf_experimental_compile: accepted for compatibility, no effect.
        return_tensors: "pt", "tf", "jax" or "np".
        seed: seed of the masks; None draws other masks in every process.

    Raises:
        ValueError: the tokenizer has no mask token, or the probabilities do not fit together.
    """

    tokenizer: Any
    mlm: bool = True
    whole_word_mask: bool = False
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    pad_to_multiple_of: int | None = None
    tf_experimental_compile: bool = False
    return_tensors: str = "pt"
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.mlm and self.tokenizer.mask_token is None:
            raise ValueError("the tokenizer has no mask token, which masked language modeling needs: pass mlm=False")
        if self.whole_word_mask and not self.mlm:
            raise ValueError("whole_word_mask needs mlm=True")
        for name in ("mlm_probability", "mask_replace_prob", "random_replace_prob"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it must be between 0 and 1")
        if self.mask_replace_prob + self.random_replace_prob > 1:
            total = self.mask_replace_prob + self.random_replace_prob
            raise ValueError(f"mask_replace_prob and random_replace_prob add up to {total}; at most 1 is possible")
        self._generator: tuple[int, np.random.Generator] | None = None

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> dict[str, Any]:
        """Return a batch of examples, with `labels` that are -100 for the tokens that are not predicted.

        Args:
            features: columns by name for each example, or the ids of each.
            return_tensors: the type of tensors; by default as given to the collator.

        Raises:
            ValueError: the columns of the examples do not fit together, or the framework is not installed.
        """
        kind = choose("return_tensors", return_tensors or self.return_tensors, TENSORS)
        rows = [one if isinstance(one, Mapping) else {"input_ids": one} for one in features]
        examples = read_features(rows)
        offsets = [one.pop("offset_mapping", None) for one in examples]
        padded = self.tokenizer.pad(examples, padding=True, pad_to_multiple_of=self.pad_to_multiple_of)
        batch = {name: np.array(rows) for name, rows in padded.items()}
        special = batch.pop("special_tokens_mask", None)
        ids = batch["input_ids"]
        if not self.mlm:
            return _convert({**batch, "labels": np.where(ids == self.tokenizer.pad_token_id, IGNORED, ids)}, kind)
        if special is None:
            find = self.tokenizer.get_special_tokens_mask
            special = np.array([find(row, already_has_special_tokens=True) for row in ids.tolist()])
        chosen = self._choose(special.astype(bool), offsets)
        return _convert(
            {**batch, "input_ids": self._replace(ids, chosen), "labels": np.where(chosen, ids, IGNORED)}, kind
        )

    def _choose(self, special: np.ndarray, offsets: list[Any]) -> np.ndarray:
        """Return which tokens [B, S] are predicted."""
        if not self.whole_word_mask:
            return self._draw(np.where(special, 0, self.mlm_probability), special.shape)
        words = _count_words(special, self._pad_offsets(offsets, special.shape[1]))
        begins = (words > 0) & (np.diff(words, axis=1, prepend=0) != 0)
        drawn = self._draw(np.where(begins, self.mlm_probability, 0), special.shape)
        chosen = np.zeros_like(special)
        for row, numbers in enumerate(words):
            chosen[row] = np.isin(numbers, numbers[drawn[row]]) & (numbers > 0)
        return chosen

    def _pad_offsets(self, offsets: list[Any], width: int) -> np.ndarray:
        """Return the offsets [B, S, 2] of padded rows."""
        if any(spans is None for spans in offsets):
            raise ValueError(
                "whole_word_mask needs the column offset_mapping: tokenize with return_offsets_mapping=True"
            )
        left = self.tokenizer.padding_side == "left"
        return np.array([_pad_row(spans, width, (0, 0), left) for spans in offsets])

    def _replace(self, ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return ids [B, S] with the chosen ones masked, replaced by random ones, or kept."""
        made = ids.copy()
        masked = self._draw(self.mask_replace_prob, ids.shape) & chosen
        made[masked] = self.tokenizer.mask_token_id
        if self.mask_replace_prob == 1 or self.random_replace_prob == 0:
            return made
        share = self.random_replace_prob / (1 - self.mask_replace_prob)
        random = self._draw(share, ids.shape) & chosen & ~masked
        made[random] = self._find_generator().integers(0, len(self.tokenizer), np.count_nonzero(random))
        return made

    def _draw(self, probability: Any, shape: tuple[int, ...]) -> np.ndarray:
        return self._find_generator().binomial(1, probability, size=shape).astype(bool)

    def _find_generator(self) -> np.random.Generator:
        """Return the generator of this process: a copied one would draw the same masks in each worker."""
        if self._generator is None or self._generator[0] != os.getpid():
            worker = multiprocessing.current_process()._identity  # empty in the main process
            seed = self.seed if self.seed is None or not worker else [self.seed, *worker]
            self._generator = os.getpid(), np.random.default_rng(seed)
        return self._generator[1]


def read_features(features: Features) -> list[dict[str, Any]]:
    """Return examples as plain dictionaries of lists and numbers, their labels under `labels`.

    Raises:
        ValueError: there are no examples, or they have different columns.
    """
    if not features:
        raise ValueError("there are no examples to collate")
    rows = [{_rename(name): _to_list(value) for name, value in one.items() if value is not None} for one in features]
    for number, row in enumerate(rows):
        if set(row) != set(rows[0]):
            raise ValueError(f"example {number} has the columns {', '.join(row)}, but the first {', '.join(rows[0])}")
    return rows


def _rename(name: str) -> str:
    return "labels" if name in LABELS else name


def _to_list(value: Any) -> Any:
    """Return an array or a tensor of any framework as a list or a number."""
    if isinstance(value, list):
        return [_to_list(one) for one in value] if value and hasattr(value[0], "__array__") else value
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def _take_labels(features: list[dict[str, Any]]) -> list[Any] | None:
    """Remove and return the labels of examples; None if they have none."""
    found = [one.pop("labels", None) for one in features]
    return None if found[0] is None else found


def _pad_row(row: Sequence[Any], width: int, value: Any, left: bool) -> list[Any]:
    padding = [value] * (width - len(row))
    return [*padding, *row] if left else [*row, *padding]


def _count_words(special: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the number of the word of each token [B, S], from 1; 0 for special tokens.

    A word begins where its characters do not adjoin those of the token before, or after a special token.
    """
    ends = np.roll(offsets[..., 1], 1, axis=1)
    ends[:, 0] = -1
    after = np.roll(special, 1, axis=1)
    after[:, 0] = False
    begins = ~special & ((offsets[..., 0] != ends) | after)
    return np.where(special, 0, np.cumsum(begins, axis=1))


def _convert(columns: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return columns as tensors: integers of the framework's usual type, other numbers as float32 (NumPy: float64)."""
    batch = {}
    for name, rows in columns.items():
        try:
            array = np.array(rows)
        except ValueError:
            raise ValueError(f"{name} cannot become one array: its rows differ in length") from None
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds {array.dtype}, not numbers: remove the column")
        if array.dtype == np.float64 and kind != "np":
            array = array.astype(np.float32)
        batch[name] = to_tensor(array.astype(np.int64) if array.dtype.kind in "iu" else array, kind)
    return batch
