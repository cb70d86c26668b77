"""From a vocabulary to the `tokenizers` library's own objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from roberta_core.tokenization.vocabulary_files import FilePath, Merge


def build_bpe(vocab: Mapping[str, int], merges: Iterable[Merge]) -> models.BPE:
    """The byte-level BPE model. Raises ValueError when a merge is of tokens that the vocabulary lacks."""
    try:
        return models.BPE(vocab=dict(vocab), merges=list(merges), continuing_subword_prefix="", end_of_word_suffix="")
    except Exception as error:  # the library raises a bare Exception
        raise ValueError(f"the merges do not fit the vocabulary: {error}") from None


def build_engine(model: models.BPE, added: Mapping[int, AddedToken]) -> Tokenizer:
    """A tokenizer that shares the model and splits texts, nothing else: no special tokens around them, no trimming."""
    engine = Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for index, token in sorted(added.items()):
        (engine.add_special_tokens if token.special else engine.add_tokens)([token])
        if engine.token_to_id(token.content) != index:
            raise ValueError(f"{token.content!r} cannot have the id {index}: the ids before it have holes")
    return engine


def build_roberta_engine(
    model: models.BPE,
    added: Mapping[int, AddedToken],
    cls: tuple[str, int],
    sep: tuple[str, int],
    *,
    add_prefix_space: bool,
    trim_offsets: bool,
) -> Tokenizer:
    """The tokenizer as published: `<s> A </s>` and `<s> A </s></s> B </s>`, without normaliser."""
    whole = build_engine(model, added)
    whole.decoder = decoders.ByteLevel()
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
    whole.post_processor = processors.RobertaProcessing(
        sep, cls, trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    return whole


def open_tokenizer_json(file: FilePath | Tokenizer) -> Tokenizer:
    """The tokenizer of a tokenizer.json, or the one given. Raises ValueError if the file is no tokenizer."""
    if isinstance(file, Tokenizer):
        return file
    path = os.fspath(file)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the library raises a bare Exception
        raise ValueError(f"{path}: not a tokenizer ({error})") from None


def is_byte_level(whole: Tokenizer) -> bool:
    """Whether it splits texts as RoBERTa's does: byte-level BPE on GPT-2's words, without a normaliser."""
    splitter = whole.pre_tokenizer
    known = isinstance(splitter, pre_tokenizers.ByteLevel) and splitter.use_regex and whole.normalizer is None
    return known and isinstance(whole.model, models.BPE)


def is_roberta_tokenizer(whole: Tokenizer) -> bool:
    """Whether it is RoBERTa's tokenizer, with its special tokens around texts."""
    return is_byte_level(whole) and isinstance(whole.post_processor, processors.RobertaProcessing)


def read_byte_level_bpe(file: FilePath | Tokenizer) -> tuple[models.BPE, dict[int, AddedToken]]:
    """The model and the added tokens of a tokenizer.json. Raises ValueError if it is no byte-level BPE."""
    whole = open_tokenizer_json(file)
    if not is_byte_level(whole):
        parts = whole.model, whole.pre_tokenizer, whole.normalizer
        found = " ".join(type(part).__name__ for part in parts if part is not None)
        raise ValueError(f"{file}: not RoBERTa's byte-level BPE, but {found}; load_tokenizer() reads it")
    return whole.model, whole.get_added_tokens_decoder()  # pyright: ignore[reportReturnType]


def read_bpe_content(model: models.BPE) -> tuple[dict[str, int], list[Merge]]:
    """The vocabulary (token -> id) and the merges of a model."""
    found = json.loads(Tokenizer(model).to_str())["model"]
    return found["vocab"], [(left, right) for left, right in found["merges"]]
