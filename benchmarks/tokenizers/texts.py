"""The texts on which tokenizers are compared: every line of the files in a folder of data, as texts or as words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from roberta_core.tokenization.call_arguments import Text

DATA = Path(os.environ.get("ROBERTA_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"
VOCABULARY = ("roberta-base/vocab.json", "roberta-base/merges.txt")


def lines(path: Path) -> list[str]:
    """Return every line, also empty ones, without byte order mark."""
    return path.read_text(encoding="utf-8-sig").split("\n")


def squad(path: Path) -> list[str]:
    """Return the contexts and the questions of a SQuAD file."""
    found = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            found += [paragraph["context"], *(question["question"] for question in paragraph["qas"])]
    return found


def conll(path: Path) -> list[list[str]]:
    """Return the sentences of a file with one word and its label a line, as words."""
    sentences: list[list[str]] = [[]]
    for line in lines(path):
        if line.strip():
            sentences[-1].append(line.split("\t")[0])
        else:
            sentences.append([])
    return [words for words in sentences if words]


# collection -> (files below the data's folder, how one is read)
COLLECTIONS: dict[str, tuple[str, Callable[[Path], list]]] = {
    "novels": ("corpus/english_novels/*", lines),
    "PEPs": ("corpus/peps/*", lines),
    "wikitext": ("corpus/wikitext2raw/*", lines),
    "SQuAD": ("squad/*.json", squad),
    "WNUT": ("wnut17/emerging.* wnut17/*.conll", conll),
    "SST-2": ("sst2/*.tsv", lines),
    "CODAH": ("codah/*.tsv", lines),
}


def files(data: Path = DATA) -> Iterator[tuple[str, Path, list[Text]]]:
    """Yield (collection, path, texts) of every file; a file of words twice, as words and joined by spaces."""
    for collection, (patterns, read) in COLLECTIONS.items():
        paths = sorted({path for pattern in patterns.split() for path in data.glob(pattern)})
        if not paths:
            raise FileNotFoundError(f"{data}: no files of {collection} ({patterns})")
        for path in paths:
            texts = read(path)
            yield collection, path, texts
            if read is conll:
                yield collection, path, [" ".join(words) for words in texts]
