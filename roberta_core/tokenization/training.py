"""Train a byte-level BPE vocabulary in the published order: `<s> <pad> </s> <unk>` first, `<mask>` last."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from roberta_core.tokenization.roberta_tokenizer_fast import RobertaTokenizerFast
from roberta_core.tokenization.special_tokens import FIRST, LAST
from roberta_core.tokenization.vocabulary_files import Merge

Progress = Callable[[int, int], None]

ROWS = (".jsonl", ".ndjson", ".parquet")  # would be read as text, with the names of their fields
BLOCK = 1 << 16  # bytes; the library keeps several hundred pieces in memory
# A text may be split after a line end without whitespace on either side: there the byte-level splitter ends a word, so
# the words are counted as in the whole text.
CUT = re.compile(r"(?s).*\S\n(?=\S)")
# A text without such a place is split after this many characters, so that memory is bounded.
LONGEST_PIECE = 16 << 20
SMALLEST = len(FIRST) + 256 + 1  # the special tokens and one token for each byte


def train_tokenizer(
    files: Iterable[str | Path],
    vocab_size: int,
    folder: str | Path,
    *,
    min_frequency: int = 2,
    model_max_length: int | None = None,
    progress: Progress | None = None,
) -> int:
    r"""Train a vocabulary on text files and write it into a folder for `from_pretrained`.

    The result does not depend on the order of the files.

    Args:
        files: Text files in UTF-8, of any size.
        vocab_size: Number of entries, including the five special tokens.
        folder: Where to write the tokenizer's files.
        min_frequency: How often a pair must occur to be merged.
        model_max_length: Maximum length of a row in tokens, for the settings.
        progress: Called with the number of bytes read so far and the total.

    Returns:
        The number of entries. It is below `vocab_size` only if no more pairs occur `min_frequency` times.

    Raises:
        ValueError: If the size is too small for the 256 bytes, there are no files, or a text is not UTF-8 or has rows
            of JSON lines.

    Example:
        >>> import pathlib, tempfile
        >>> from roberta_core.tokenization import train_tokenizer
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = pathlib.Path(folder, "text.txt")
        ...     _ = text.write_text("the cat sat on the mat, the dog on the log\n" * 9)
        ...     train_tokenizer([text], 270, folder)
        270
    """
    paths = [Path(file) for file in files]
    if vocab_size < SMALLEST:
        raise ValueError(f"vocab_size {vocab_size} is too small: the bytes and special tokens alone need {SMALLEST}")
    if not paths:
        raise ValueError("no files to train on")
    if rows := [path for path in paths if path.suffix.lower() in ROWS]:
        raise ValueError(
            f"{rows[0]} has rows, not text: write the texts of its rows into a text file, and train on that"
        )
    vocab, merges = learn(read_pieces(paths, progress), vocab_size, min_frequency)
    RobertaTokenizerFast(vocab, merges, model_max_length=model_max_length).save_pretrained(folder)
    return len(vocab)


def learn(pieces: Iterable[str], vocab_size: int, min_frequency: int) -> tuple[dict[str, int], list[Merge]]:
    """Return the vocabulary (token -> id) and the merges in order of rank, in the published order of ids."""
    # The trainer numbers special tokens from 0, so the mask is added afterwards.
    vocab, merges = learn_from_texts(pieces, vocab_size - 1, FIRST, min_frequency=min_frequency, show_progress=False)
    return {**vocab, LAST: len(vocab)}, merges


def learn_from_texts(
    texts: Iterable[str | list[str]],
    vocab_size: int,
    special_tokens: Iterable[str | AddedToken],
    *,
    length: int | None = None,
    **options: Any,
) -> tuple[dict[str, int], list[Merge]]:
    """Return the vocabulary (token -> id) and the merges in order of rank; special tokens have the lowest ids."""
    tokens = list(special_tokens)
    smallest = len(tokens) + 256
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < smallest:
        raise ValueError(
            f"vocab_size {vocab_size!r:.60} is too small: the bytes and special tokens alone need {smallest}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=tokens, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options
    )
    tokenizer.train_from_iterator(texts, trainer, length)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def read_pieces(paths: Iterable[Path], progress: Progress | None = None, block: int = BLOCK) -> Iterator[str]:
    """Yield the texts of the files in pieces of bounded length, split between words."""
    paths = list(paths)
    total = sum(path.stat().st_size for path in paths)
    done = 0
    for path in paths:
        rest = ""
        for text, size in read_blocks(path, block):
            rest += text
            cut = CUT.match(rest)
            end = cut.end() if cut else len(rest) if len(rest) > LONGEST_PIECE else 0
            if end:
                yield rest[:end]
                rest = rest[end:]
            done += size
            if progress:
                progress(done, total)
        if rest:
            yield rest


def read_blocks(path: Path, block: int = BLOCK) -> Iterator[tuple[str, int]]:
    """Yield (text, number of bytes) of a file, block by block, without byte order mark and with LF line ends."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    held = ""  # a carriage return whose line feed may be the next block's first character
    with path.open("rb") as file:
        while True:
            data = file.read(block)
            try:
                text = held + decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}: not UTF-8 text ({error.reason})") from None
            held = "\r" if text.endswith("\r") and data else ""
            yield text.removesuffix(held).replace("\r\n", "\n"), len(data)
            if not data:
                return
