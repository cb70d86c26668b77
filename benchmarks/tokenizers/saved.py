"""Check that other libraries load saved tokenizers: `python -m benchmarks.tokenizers.saved`, with any transformers.

Both tokenizers save a vocabulary that is trained here and the published one, each with and without added tokens, as all
files and in either form alone. The classes of transformers and the `tokenizers` library load each folder and must
return the same ids. Exits with 1 if one does not.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer

from benchmarks.tokenizers.texts import DATA, VOCABULARY, iterate_files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer

AWKWARD = ["", " a", "a <mask> b", "<s>x</s>", "naïve 日本 🤗\n\n x", "fromage <x> fromages", "it's 3.14", "a  <mask>"]
NEWER = int(transformers.__version__.split(".")[0]) >= 5
LOADERS: dict[str, Callable[[Path], Callable[[str], list[int]]]] = {
    "AutoTokenizer": lambda folder: transformers.AutoTokenizer.from_pretrained(folder).encode,
    "RobertaTokenizer": lambda folder: transformers.RobertaTokenizer.from_pretrained(folder).encode,
    "RobertaTokenizerFast": lambda folder: transformers.RobertaTokenizerFast.from_pretrained(folder).encode,
}


def save_folders(scratch: Path) -> Iterator[tuple[str, Path, Any]]:
    """Save every tokenizer in every form; yield (description, folder, tokenizer)."""
    novel = next(path for _, path, _ in iterate_files())
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


def load_readers(folder: Path, legacy: bool, whole: bool) -> Iterator[tuple[str, Callable[[str], list[int]] | str]]:
    """Yield (class, function that encodes a text, or the error of loading).

    Args:
        folder: A folder with a tokenizer.
        legacy: Whether it has vocab.json and merges.txt.
        whole: Whether it has tokenizer.json.
    """
    for name, load in LOADERS.items():
        if name == "RobertaTokenizer" and not NEWER and not legacy:
            continue  # transformers 4 loads its slow tokenizer only from the two files
        try:
            yield name, load(folder)
        except Exception as error:
            yield name, f"{type(error).__name__}: {error}"
    if whole:
        engine = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yield "tokenizers", lambda text: engine.encode(text).ids


def main() -> int:
    """Compare all; return 1 if anything differs."""
    print(f"transformers {transformers.__version__}")
    lines = next(texts for _, _, texts in iterate_files())[:2000]
    texts = [*AWKWARD, *(line for line in lines if isinstance(line, str))]
    wrong = compared = 0
    with tempfile.TemporaryDirectory() as scratch:
        for description, folder, tokenizer in save_folders(Path(scratch)):
            expected = tokenizer(texts)["input_ids"]
            for name, encode in load_readers(
                folder, (folder / "vocab.json").exists(), (folder / "tokenizer.json").exists()
            ):
                compared += 1
                bad = (
                    encode
                    if isinstance(encode, str)
                    else [t for t, ids in zip(texts, expected, strict=True) if encode(t) != ids]
                )
                if bad:
                    wrong += 1
                    print(f"{description}: {name}: {bad if isinstance(bad, str) else (len(bad), bad[:3])}")
    print(f"{compared} loads with {len(texts):,} texts each: {wrong} failed or returned different ids")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
