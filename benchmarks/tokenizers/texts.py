"""Texts to compare tokenizers on: every line of the files in the data folder, as texts or as words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from roberta_core.tokenization.call_arguments import Text

DATA = Path(os.environ.get("ROBERTA_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"
VOCABULARY = ("roberta-base/vocab.json", "roberta-base/merges.txt")


def read_lines(path: Path) -> list[str]:
    """Return every line, including empty ones, without byte order mark."""
    return path.read_text(encoding="utf-8-sig").split("\n")


def read_squad(path: Path) -> list[str]:
    """Return the contexts and the questions of a SQuAD file."""
    found = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            found += [paragraph["context"], *(question["question"] for question in paragraph["qas"])]
    return found


def read_conll(path: Path) -> list[list[str]]:
    """Return the sentences of a file with one word and its label per line, as lists of words."""
    sentences: list[list[str]] = [[]]
    for line in read_lines(path):
        if line.strip():
            sentences[-1].append(line.split("\t")[0])
        else:
            sentences.append([])
    return [words for words in sentences if words]


# collection -> (patterns below the data folder, function that reads a file)
COLLECTIONS: dict[str, tuple[str, Callable[[Path], list]]] = {
    "novels": ("corpus/english_novels/*", read_lines),
    "PEPs": ("corpus/peps/*", read_lines),
    "wikitext": ("corpus/wikitext2raw/*", read_lines),
    "SQuAD": ("squad/*.json", read_squad),
    "WNUT": ("wnut17/emerging.* wnut17/*.conll", read_conll),
    "SST-2": ("sst2/*.tsv", read_lines),
    "CODAH": ("codah/*.tsv", read_lines),
}


def iterate_files(data: Path = DATA) -> Iterator[tuple[str, Path, list[Text]]]:
    """Yield (collection, path, texts) of every file; files of words twice, as words and as texts joined by spaces."""
    for collection, (patterns, read) in COLLECTIONS.items():
        paths = sorted({path for pattern in patterns.split() for path in data.glob(pattern)})
        if not paths:
            raise FileNotFoundError(f"{data}: no files of {collection} ({patterns})")
        for path in paths:
            texts = read(path)
            yield collection, path, texts
            if read is read_conll:
                yield collection, path, [" ".join(words) for words in texts]
