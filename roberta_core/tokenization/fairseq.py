"""fairseq's vocabulary: dict.txt, whose symbols are GPT-2's ids, with GPT-2's encoder.json and vocab.bpe.

fairseq's dictionary puts `<s> <pad> </s> <unk>` before the lines of dict.txt, and its masked_lm task `<mask>` after
them; the file has neither. The resulting numbers are the rows of the word embeddings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from roberta_core.interface import choose_advice
from roberta_core.tokenization.byte_level_tokenizer import ByteLevelTokenizer
from roberta_core.tokenization.roberta_tokenizer_fast import RobertaTokenizerFast
from roberta_core.tokenization.special_tokens import FIRST, LAST
from roberta_core.tokenization.tokenizer_files import write_files
from roberta_core.tokenization.vocabulary_files import FilePath, format_merges, read_merges, read_text, read_vocab

DICTIONARY, ENCODER, MERGES = "dict.txt", "encoder.json", "vocab.bpe"
OVERWRITE = "#fairseq:overwrite"  # a flag that may end a line


def read_fairseq(
    dictionary: FilePath, encoder: FilePath | None = None, merges: FilePath | None = None
) -> RobertaTokenizerFast:
    """Read the tokenizer of a dict.txt.

    Args:
        dictionary: Path of dict.txt, or its folder.
        encoder: Path of GPT-2's encoder.json; None for the one in the same folder.
        merges: Path of GPT-2's vocab.bpe; None for the one in the same folder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or the symbols are not GPT-2's ids (SentencePiece's, for example).
    """
    path = Path(dictionary)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder; specify {DICTIONARY}, or its folder")
    if path.is_dir():
        path = path / DICTIONARY
        if not path.is_file():
            raise FileNotFoundError(f"{path.parent} has no {DICTIONARY}")
    merges = merges or _find_beside(path, MERGES, "merges")
    encoder = encoder or _find_beside(path, ENCODER, "encoder")
    tokens = {index: token for token, index in read_vocab(encoder).items()}
    vocab = {token: index for index, token in enumerate(FIRST)}
    for number, symbol in enumerate(read_symbols(path), start=1):
        token = tokens.get(int(symbol)) if symbol.isdecimal() else symbol
        if token is None:
            raise ValueError(f"{path}: line {number} has the symbol {symbol}, which {ENCODER} does not have")
        if token in vocab:
            raise ValueError(f"{path}: line {number} has {token!r} a second time")
        vocab[token] = len(vocab)
    vocab[LAST] = len(vocab)
    return RobertaTokenizerFast(vocab, read_merges(merges))


def read_symbols(path: Path) -> list[str]:
    """Return the symbols of a dict.txt in order. Raises ValueError for a line that is not a symbol and a count."""
    symbols = []
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        symbol, _, count = line.rstrip().removesuffix(OVERWRITE).rstrip().rpartition(" ")
        if not symbol or not count.isdecimal():
            raise ValueError(f"{path}: line {number} is {line[:40]!r}, expected a symbol and a count")
        symbols.append(symbol)
    return symbols


def write_fairseq(tokenizer: ByteLevelTokenizer, folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Write dict.txt, encoder.json and vocab.bpe.

    dict.txt has a line for each id between the first four special tokens and the mask, so that the rows of the word
    embeddings keep their numbers. The counts are 0, because a tokenizer does not have them.

    Returns:
        The paths of the files.

    Raises:
        ValueError: If fairseq cannot have the ids: special tokens differ from the published ones, tokens were added
            after the mask, or ids are missing in between.
    """
    vocab = tokenizer.get_vocab()
    in_order = sorted(vocab, key=vocab.__getitem__)
    if [vocab[token] for token in in_order] != list(range(len(vocab))):
        raise ValueError("fairseq numbers its symbols consecutively, but some ids of this tokenizer are missing")
    if tuple(in_order[: len(FIRST)]) != FIRST or in_order[-1] != LAST:
        raise ValueError(f"fairseq's ids begin with {' '.join(FIRST)} and end with {LAST}; these do not")
    numbers = {token: number for number, token in enumerate(in_order[len(FIRST) : -1])}
    texts = {
        DICTIONARY: "".join(f"{number} 0\n" for number in numbers.values()),
        ENCODER: _format_json(numbers),
        MERGES: format_merges(tokenizer.merges()),
    }
    return write_files(Path(folder), texts)


def _format_json(numbers: Mapping[str, int]) -> str:
    return json.dumps(numbers)  # in ASCII, as GPT-2's


def _find_beside(path: Path, name: str, argument: str) -> Path:
    """Return GPT-2's file in the folder of dict.txt; the argument is the one that names a file elsewhere."""
    found = path.parent / name
    if not found.is_file():
        advice = choose_advice(python=f"pass {argument}=", command=f"specify --{argument}")
        raise FileNotFoundError(
            f"{found}: there is no such file, which {path.name} needs; if it is elsewhere, {advice}"
        )
    return found
