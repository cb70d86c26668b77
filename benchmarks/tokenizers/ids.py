"""Compare token ids with those of transformers on every text: `python -m benchmarks.tokenizers.ids`.

Compares both tokenizers with both tokenizers of transformers 4.57.6, on the published vocabulary. Prints, for each
collection (and with --files for each file), how many texts have different ids. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tokenizers.texts import DATA, VOCABULARY, iterate_files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast
from roberta_core.tokenization.call_arguments import Text

Encode = Callable[[list[Text]], list[list[int]]]
PAIRS = {"python, slow": ("python", "slow"), "fast, fast": ("ours", "fast"), "python, fast": ("python", "ours")}
HEAD = f"{'file':44}{'texts':>10}{'tokens':>12}" + "".join(f"{name:>16}" for name in PAIRS)
ROW = "{:44}{:>10,}{:>12,}" + "{:>16,}" * len(PAIRS)


def load_encoders(data: Path) -> dict[str, Encode]:
    """Return a function from texts or lists of words to ids, by the name of the tokenizer, for all four tokenizers."""
    import transformers

    print(f"transformers {transformers.__version__}; number of texts with different ids per pair of tokenizers:")
    vocabulary = [str(data / name) for name in VOCABULARY]
    reference: dict[str, Any] = {
        "slow": [transformers.RobertaTokenizer(*vocabulary)] * 2,
        # It accepts split words only if it is constructed with add_prefix_space.
        "fast": [transformers.RobertaTokenizerFast(*vocabulary, add_prefix_space=words) for words in (False, True)],
    }
    ours = {
        name: [kind(*vocabulary)] * 2 for name, kind in (("python", RobertaTokenizer), ("ours", RobertaTokenizerFast))
    }

    def build_encoder(kinds: list[Any]) -> Encode:
        def encode(texts: list[Text]) -> list[list[int]]:
            words = bool(texts) and isinstance(texts[0], list)
            return kinds[words](texts, is_split_into_words=words)["input_ids"]

        return encode

    return {name: build_encoder(kinds) for name, kinds in {**reference, **ours}.items()}


def compare(texts: list[Text], encode: dict[str, Encode]) -> tuple[Counter[str], list[Text]]:
    """Return the counts of texts, tokens and differences, and the texts that differ."""
    found = {name: one(texts) for name, one in encode.items()}
    counts = Counter(texts=len(texts), tokens=sum(map(len, found["ours"])))
    differing = []
    for name, (first, second) in PAIRS.items():
        rows = [text for text, a, b in zip(texts, found[first], found[second], strict=True) if a != b]
        counts[name] = len(rows)
        differing += rows
    return counts, differing


def print_row(name: str, counts: Counter[str]) -> None:
    """Print one row of the table."""
    print(ROW.format(name, counts["texts"], counts["tokens"], *(counts[pair] for pair in PAIRS)), flush=True)


def main() -> int:
    """Compare all files; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the texts (%(default)s)")
    parser.add_argument("--files", action="store_true", help="print a row for each file")
    options = parser.parse_args()
    encode = load_encoders(options.data)
    print(HEAD)
    sums: dict[str, Counter[str]] = {}
    examples: list[Text] = []
    for collection, path, texts in iterate_files(options.data):
        counts, differing = compare(texts, encode)
        sums.setdefault(collection, Counter()).update(counts)
        examples += differing[:3]
        if options.files:
            print_row(f"  {path.name}", counts)
    for collection, counts in sums.items():
        print_row(collection, counts)
    total = sum(sums.values(), Counter())
    print_row("all", total)
    for text in examples[:20]:
        print(f"differs: {text!r:.200}")
    return int(bool(examples))


if __name__ == "__main__":
    sys.exit(main())
