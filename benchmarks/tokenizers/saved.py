"""See what other libraries make of saved tokenizers: `python -m benchmarks.tokenizers.saved`, beside any transformers.

A vocabulary is trained here; it, the published one and one with added tokens are saved by both tokenizers, whole and in
either form. transformers' classes and the `tokenizers` library load each folder and must give the same ids. The exit
status is 1 if one does not.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer

from benchmarks.tokenizers.texts import DATA, VOCABULARY, files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer

AWKWARD = ["", " a", "a <mask> b", "<s>x</s>", "naïve 日本 🤗\n\n x", "fromage <x> fromages", "it's 3.14", "a  <mask>"]
NEWER = int(transformers.__version__.split(".")[0]) >= 5
LOADERS: dict[str, Callable[[Path], Callable[[str], list[int]]]] = {
    "AutoTokenizer": lambda folder: transformers.AutoTokenizer.from_pretrained(folder).encode,
    "RobertaTokenizer": lambda folder: transformers.RobertaTokenizer.from_pretrained(folder).encode,
    "RobertaTokenizerFast": lambda folder: transformers.RobertaTokenizerFast.from_pretrained(folder).encode,
}


def folders(scratch: Path) -> Iterator[tuple[str, Path, Any]]:
    """(description, folder, tokenizer) of everything saved."""
    novel = next(path for _, path, _ in files())
    train_tokenizer([novel], 2000, scratch / "trained", model_max_length=64)
    sources = {"trained": scratch / "trained", "published": DATA / Path(VOCABULARY[0]).parent}
    for name, source in sources.items():
        for kind in (RobertaTokenizerFast, RobertaTokenizer):
            for added in (False, True):
                tokenizer = kind.from_pretrained(source)
                if added:
                    tokenizer.add_tokens(["fromage", AddedToken("<x>", lstrip=True)])
                for form, legacy in {
                    "all files": None,
                    "vocab.json and merges.txt": True,
                    "tokenizer.json": False,
                }.items():
                    folder = scratch / f"{name}-{kind.__name__}-{added}-{legacy}"
                    tokenizer.save_pretrained(folder, legacy)
                    yield f"{name}, {kind.__name__}{', tokens added' * added}, {form}", folder, tokenizer


def readers(folder: Path, legacy: bool, whole: bool) -> Iterator[tuple[str, Callable[[str], list[int]] | str]]:
    """(library's class, what encodes a text, or why it cannot)."""
    for name, load in LOADERS.items():
        if name == "RobertaTokenizer" and not NEWER and not legacy:
            continue  # transformers 4 reads its slow one from the two files alone
        try:
            yield name, load(folder)
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"
    if whole:
        engine = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yield "tokenizers", lambda text: engine.encode(text).ids


def main() -> int:
    """Compare all; 1 if anything differs."""
    print(f"transformers {transformers.__version__}")
    lines = next(texts for _, _, texts in files())[:2000]
    texts = [*AWKWARD, *(line for line in lines if isinstance(line, str))]
    wrong = compared = 0
    with tempfile.TemporaryDirectory() as scratch:
        for description, folder, tokenizer in folders(Path(scratch)):
            wanted = tokenizer(texts)["input_ids"]
            for name, encode in readers(folder, (folder / "vocab.json").exists(), (folder / "tokenizer.json").exists()):
                compared += 1
                bad = (
                    encode
                    if isinstance(encode, str)
                    else [t for t, ids in zip(texts, wanted, strict=True) if encode(t) != ids]
                )
                if bad:
                    wrong += 1
                    print(f"{description}: {name}: {bad if isinstance(bad, str) else (len(bad), bad[:3])}")
    print(f"{compared} loads of {len(texts):,} texts each, {wrong} with other ids")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
