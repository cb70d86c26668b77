"""Check the offsets of every token of every text: `python -m benchmarks.tokenizers.offsets`.

The span of a token must cover exactly the characters that its bytes belong to, without whitespace at both ends if
offsets are trimmed, and without prefix spaces. The expected spans of the fast tokenizer are computed only from the
bytes of the tokens; the pure-Python tokenizer must return the same spans. Exits with 1 if a span is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.tokenizers.texts import DATA, VOCABULARY, iterate_files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast
from roberta_core.tokenization.byte_level_bpe import WHITESPACE, token_to_bytes

BATCH = 2000
MODES = [
    *({"trim_offsets": trim, "add_prefix_space": spaced} for trim, spaced in product((True, False), repeat=2)),
    *({"trim_offsets": trim, "is_split_into_words": True} for trim in (True, False)),
]
Span = tuple[int, int]


class ExpectedSpans:
    """Expected spans of tokens, computed from their bytes."""

    def __init__(self, tokenizer: Any) -> None:
        self.added = tokenizer.added_tokens_decoder
        self.bytes = {
            index: (self.added[index].content.encode() if index in self.added else token_to_bytes(token))
            for token, index in tokenizer.get_vocab().items()
        }

    def compute(self, text: str, ids: Sequence[int], *, spaced: bool, trim: bool) -> list[Span]:
        """Return one span for each id. Raises `ValueError` if the bytes of the ids are not those of the text."""
        encoded = text.encode("utf-8")
        places = [at for at, character in enumerate(text) for _ in character.encode()] + [len(text)]
        found, done, part_starts = [], 0, True
        for index in ids:
            start, piece = done, self.bytes[index]
            if spaced and part_starts and index not in self.added and encoded[start : start + 1] != b" ":
                if piece[:1] != b" ":
                    raise ValueError(f"{text!r:.80}: {piece!r} has no prefix space")
                piece = piece[1:]
            part_starts = index in self.added
            if index not in self.added and encoded.startswith(piece, start):
                done = start + len(piece)
            else:
                done = self.find_end(encoded, start, index, piece)
            first, last = places[start], places[done - 1] + 1 if done > start else places[start]
            if trim:
                part = text[first:last]
                whitespace = WHITESPACE if index in self.added else " "
                first += len(part) - len(part.lstrip(whitespace))
                last = first + len(part.strip(whitespace))
            found.append((first, last))
        if done != len(encoded):
            raise ValueError(f"{text!r:.80}: the tokens end at byte {done} of {len(encoded)}")
        return found

    def find_end(self, encoded: bytes, start: int, index: int, piece: bytes) -> int:
        """Return the end of a token's bytes, including the whitespace that it absorbs."""
        token = self.added.get(index)
        if token is not None and token.lstrip:
            start = len(encoded) - len(strip_left(encoded[start:]))
        if not encoded.startswith(piece, start):
            raise ValueError(f"expected {piece!r}, got {encoded[start : start + 20]!r}")
        end = start + len(piece)
        if token is not None and token.rstrip:
            end = len(encoded) - len(strip_left(encoded[end:]))
        return end


def strip_left(encoded: bytes) -> bytes:
    """Return the bytes without leading whitespace."""
    return encoded.decode("utf-8").lstrip(WHITESPACE).encode("utf-8")


def count_violations(
    expected: ExpectedSpans, text: str | list[str], encoding: Any, row: int, mode: dict[str, Any]
) -> int:
    """Count the tokens of a row with a wrong span."""
    ids, spans = encoding["input_ids"][row], encoding["offset_mapping"][row]
    trim = mode["trim_offsets"]
    if isinstance(text, str):
        right = expected.compute(text, ids, spaced=mode["add_prefix_space"], trim=trim)
    else:
        parts: list[list[int]] = [[] for _ in text]
        for index, word in zip(ids, encoding.word_ids(row), strict=True):
            parts[word].append(index)
        pairs = zip(text, parts, strict=True)
        right = [span for word, part in pairs for span in expected.compute(word, part, spaced=True, trim=trim)]
    return sum(one != other for one, other in zip(spans, right, strict=True))


def check_batch(texts: list[Any], pair: tuple[Any, Any], expected: ExpectedSpans, mode: dict[str, Any]) -> Counter[str]:
    """Check one batch; return the counts."""
    words = mode.get("is_split_into_words", False)
    for tokenizer in pair:
        tokenizer.trim_offsets, tokenizer.add_prefix_space = mode["trim_offsets"], mode.get("add_prefix_space", False)
    settings = {"return_offsets_mapping": True, "add_special_tokens": False, "is_split_into_words": words}
    encoding, other = (tokenizer(texts, **settings) for tokenizer in pair)
    counts = Counter(texts=len(texts), tokens=sum(map(len, encoding["input_ids"])))
    for row, text in enumerate(texts):
        counts["violations"] += count_violations(expected, text, encoding, row, mode)
        counts["python differs"] += encoding["offset_mapping"][row] != other["offset_mapping"][row]
    return counts


def iterate_batches(data: Path, words: bool) -> Iterator[tuple[str, list[Any]]]:
    """Yield (collection, texts); with `words`, texts are lists of words, split at whitespace if they are strings."""
    for collection, _, texts in iterate_files(data):
        if not words:
            texts = [text for text in texts if isinstance(text, str)]
        else:
            texts = [text.split() if isinstance(text, str) else list(text) for text in texts]
        for start in range(0, len(texts), BATCH):
            yield collection, texts[start : start + BATCH]


def main() -> int:
    """Check every mode; return 1 if a span is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the texts (%(default)s)")
    parser.add_argument(
        "--modes", type=int, nargs="*", default=range(len(MODES)), help="numbers of the modes to check, from 0"
    )
    options = parser.parse_args()
    vocabulary = [options.data / name for name in VOCABULARY]
    pair = RobertaTokenizerFast(*vocabulary), RobertaTokenizer(*vocabulary)
    expected = ExpectedSpans(pair[0])
    wrong = 0
    for mode in [MODES[number] for number in options.modes]:
        sums: dict[str, Counter[str]] = {}
        for collection, texts in iterate_batches(options.data, mode.get("is_split_into_words", False)):
            sums.setdefault(collection, Counter()).update(check_batch(texts, pair, expected, mode))
        print(", ".join(f"{name}={value}" for name, value in mode.items()))
        for collection, counts in sums.items():
            line = ", ".join(f"{counts[name]:,} {name}" for name in ("texts", "tokens", "violations", "python differs"))
            print(f"  {collection:10}{line}", flush=True)
            wrong += counts["violations"] + counts["python differs"]
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
