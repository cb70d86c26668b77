"""tokenizer.json: read it safely, and build the `tokenizers` library's own objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from roberta_core.tokenization.special_tokens import read_token
from roberta_core.tokenization.vocabulary_files import (
    MAX_TOKENS,
    FilePath,
    Merge,
    check_id,
    check_ids,
    parse_json,
    read_text,
)

# The library builds its index of added tokens again for every run of special or of ordinary ones.
MAX_ADDED_TOKENS = 100_000
MAX_ADDED_WORK = 2_000_000  # runs times tokens; the limits keep loading under two seconds or so


@contextmanager
def convert_errors(message: str) -> Iterator[None]:
    """Turn the library's bare Exception and its PanicException, a BaseException, into a ValueError."""
    try:
        yield
    except (ValueError, TypeError, OSError, MemoryError):
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ValueError(f"{message}: {str(error)[:300]}".replace("\n", " ")) from None
        raise


# From Python to the library --------------------------------------------------------------------------------------


def build_bpe(
    vocab: Mapping[str, int],
    merges: Sequence[Merge],
    *,
    unk_token: str | None = None,
    ignore_merges: bool = False,
) -> models.BPE:
    """Build a byte-level BPE model. Raises ValueError if a merge has a token that the vocabulary lacks."""
    with convert_errors("the merges do not fit the vocabulary"):
        return models.BPE(
            vocab=dict(vocab),
            merges=list(merges),
            unk_token=unk_token,
            ignore_merges=ignore_merges,
            continuing_subword_prefix="",
            end_of_word_suffix="",
        )


def add_tokens(engine: Tokenizer, added: Mapping[int, AddedToken]) -> None:
    """Add tokens in the order of their ids, in as few calls as their kinds allow."""
    in_order = [added[index] for index in sorted(added)]
    for special, tokens in groupby(in_order, key=lambda token: token.special):
        (engine.add_special_tokens if special else engine.add_tokens)(list(tokens))


def check_added_tokens(added: Mapping[int, AddedToken]) -> None:
    """Raise ValueError if there are more added tokens than can be indexed in about two seconds."""
    runs = sum(1 for _ in groupby(added[index].special for index in sorted(added)))
    if len(added) > MAX_ADDED_TOKENS:
        raise ValueError(f"{len(added)} added tokens; at most {MAX_ADDED_TOKENS} are supported")
    if runs > 2 and runs * len(added) > MAX_ADDED_WORK:
        raise ValueError(
            f"{len(added)} added tokens alternate {runs} times between special and ordinary ones, which takes too long "
            f"to index: their product may be {MAX_ADDED_WORK}. Give all special tokens the lower ids."
        )


def build_engine(
    model: models.BPE,
    added: Mapping[int, AddedToken],
    *,
    prefix_space: bool = False,
    split_special: bool = False,
) -> Tokenizer:
    """Build a tokenizer that shares the model and only encodes: no special tokens around texts, no trimming.

    With `split_special`, special tokens in a text are encoded as text.
    """
    check_added_tokens(added)
    engine = Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    engine.encode_special_tokens = split_special
    add_tokens(engine, added)
    check_added_ids(engine, added)
    return engine


def check_added_ids(engine: Tokenizer, added: Mapping[int, AddedToken]) -> None:
    """Raise ValueError if the library gave an added token another id than it has."""
    for index, token in sorted(added.items()):
        found = engine.token_to_id(token.content)
        if found != index:
            raise ValueError(
                f"the added token {token.content!r:.60} has the id {index}, but the next free id is {found}: the "
                "`tokenizers` library cannot leave ids out, RobertaTokenizer (the pure-Python tokenizer) can"
            )


def build_finder(added: Mapping[int, AddedToken], *, split_special: bool) -> tuple[Tokenizer, list[int]]:
    """Build a tokenizer that only finds added tokens in a text, and the list that turns its ids into those of `added`.

    Its model is empty, so that it gives no token for the text in between.
    """
    finder = Tokenizer(models.BPE(vocab={}, merges=[]))
    finder.encode_special_tokens = split_special
    add_tokens(finder, added)
    numbers = {finder.token_to_id(token.content): index for index, token in added.items()}
    return finder, [numbers[number] for number in range(len(numbers))]


def build_roberta_engine(
    model: models.BPE,
    added: Mapping[int, AddedToken],
    cls: tuple[str, int],
    sep: tuple[str, int],
    *,
    add_prefix_space: bool,
    trim_offsets: bool,
) -> Tokenizer:
    """Build the tokenizer as published: `<s> A </s>` and `<s> A </s></s> B </s>`, without a normaliser."""
    engine = build_engine(model, added)
    engine.decoder = decoders.ByteLevel()
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
    engine.post_processor = processors.RobertaProcessing(
        sep, cls, trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    return engine


# From the file to Python -----------------------------------------------------------------------------------------


def open_tokenizer_json(file: FilePath | Tokenizer) -> Tokenizer:
    """Return the tokenizer of a tokenizer.json, or the one given.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a tokenizer, or its sizes exceed the limits.
    """
    if isinstance(file, Tokenizer):
        return file
    path = os.fspath(file)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: there is no such file")
    text = read_text(path)
    check_tokenizer_json(parse_json(text, path), path)
    with convert_errors(f"{path}: not a tokenizer"):
        return Tokenizer.from_str(text)


def check_tokenizer_json(content: Mapping[str, Any], path: str) -> None:
    """Raise ValueError for content that would exhaust memory or time, or that the library panics on."""
    model = content.get("model")
    if not isinstance(model, Mapping):
        raise ValueError(f'{path}: not a tokenizer: "model" must be an object, not {type(model).__name__}')
    vocab = model.get("vocab")
    if isinstance(vocab, Mapping):
        check_ids(vocab, f"{path}: model.vocab")
    elif not isinstance(vocab, list) or len(vocab) > MAX_TOKENS:
        raise ValueError(f"{path}: not a tokenizer: model.vocab must be an object, or a list of up to {MAX_TOKENS}")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get("type", "BPE") == "BPE" and model.get(name):
            raise ValueError(f"{path}: a BPE model with {name} {model[name]!r:.40} is not supported")
    added = content.get("added_tokens") or []
    if not isinstance(added, list):
        raise ValueError(f"{path}: added_tokens must be a list, not {type(added).__name__}")
    tokens = {}
    for entry in added:
        token = read_token(entry, f"{path}: an entry of added_tokens")
        check_id(token.content, entry.get("id"), f"{path}: added_tokens")
        tokens[entry["id"]] = token
    check_added_tokens(tokens)


def is_byte_level(engine: Tokenizer) -> bool:
    """Whether a tokenizer splits texts as RoBERTa's does: byte-level BPE on GPT-2's words, without a normaliser."""
    splitter, model = engine.pre_tokenizer, engine.model
    if not isinstance(splitter, pre_tokenizers.ByteLevel) or not isinstance(model, models.BPE):
        return False
    return bool(splitter.use_regex) and engine.normalizer is None and not (model.byte_fallback or model.fuse_unk)


def is_roberta_tokenizer(engine: Tokenizer) -> bool:
    """Whether a tokenizer is RoBERTa's, with RoBERTa's special tokens around texts."""
    return is_byte_level(engine) and isinstance(engine.post_processor, processors.RobertaProcessing)


def read_byte_level_bpe(file: FilePath | Tokenizer) -> tuple[models.BPE, dict[int, AddedToken]]:
    """Return the model and the added tokens of a tokenizer.json. Raises ValueError if it is not byte-level BPE."""
    engine = open_tokenizer_json(file)
    if not is_byte_level(engine):
        parts = engine.model, engine.pre_tokenizer, engine.normalizer
        found = " ".join(type(part).__name__ for part in parts if part is not None)
        raise ValueError(f"{file}: not RoBERTa's byte-level BPE, but {found}; load_tokenizer() reads it")
    return engine.model, engine.get_added_tokens_decoder()  # pyright: ignore[reportReturnType]


def read_bpe_content(model: models.BPE) -> tuple[dict[str, int], list[Merge]]:
    """Return the vocabulary (token -> id) and the merges of a model."""
    found = json.loads(Tokenizer(model).to_str())["model"]
    return found["vocab"], [(left, right) for left, right in found["merges"]]
