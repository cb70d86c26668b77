"""The characters that the `tokenizers` library treats as letters, numbers, whitespace and parts of words.

Python's own tables are of another version of Unicode, which depends on the version of Python; the pure-Python tokenizer
needs those of the library. They are in unicode_classes.txt, which `python -m
roberta_core.tokenization.unicode_classes` writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

FILE = Path(__file__).with_suffix(".txt")
WIDTH = 100
SURROGATES = range(0xD800, 0xE000)
BATCH = 8192

# name -> the class in the splitter's pattern
CLASSES = {"letters": r"\p{L}", "numbers": r"\p{N}", "whitespace": r"\s"}


@cache
def read_classes() -> dict[str, str]:
    """Return name -> the characters of a class, as ranges for the brackets of a regular expression."""
    found = {}
    for block in FILE.read_text(encoding="ascii").split("\n\n"):
        name, *lines = block.strip().split("\n")
        ends = [entry.split("-") for line in lines for entry in line.split()]
        found[name] = "".join(f"\\U{int(pair[0], 16):08x}-\\U{int(pair[-1], 16):08x}" for pair in ends)
    return found


def list_characters() -> list[str]:
    """Return every character that UTF-8 can encode."""
    return [chr(code) for code in range(0x110000) if code not in SURROGATES]


def measure_class(pattern: str) -> set[str]:
    """Return the characters of a class of the library's regular expressions."""
    splitter = pre_tokenizers.Split(Regex(f"{pattern}+"), "removed")
    members: set[str] = set()
    everything = list_characters()
    for start in range(0, len(everything), BATCH):
        characters = everything[start : start + BATCH]
        others = "".join(piece for piece, _ in splitter.pre_tokenize_str("".join(characters)))
        members |= {*characters} - {*others}
    return members


def measure_word_characters(characters: Iterable[str]) -> set[str]:
    """Return those characters next to which the library does not find an added token with `single_word`."""
    tokenizer = Tokenizer(models.BPE(vocab={}, merges=[]))
    tokenizer.add_tokens([AddedToken("T", single_word=True)])
    characters = list(characters)
    encodings = tokenizer.encode_batch_fast([f"{character}T" for character in characters])
    return {character for character, encoding in zip(characters, encodings, strict=True) if not encoding.ids}


def format_classes(classes: dict[str, set[str]]) -> str:
    """Return the content of the file: for each class its name, then its ranges."""
    blocks = []
    for name, members in classes.items():
        lines = [""]
        for entry in join_ranges(members):
            if len(lines[-1]) + len(entry) >= WIDTH:
                lines.append("")
            lines[-1] += f" {entry}" if lines[-1] else entry
        blocks.append("\n".join([name, *lines]))
    return "\n\n".join(blocks) + "\n"


def join_ranges(characters: Iterable[str]) -> list[str]:
    """Return code points in hexadecimal, consecutive ones as ranges: `41-5A`."""
    spans: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return [f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in spans]


if __name__ == "__main__":
    measured = {name: measure_class(pattern) for name, pattern in CLASSES.items()}
    FILE.write_text(format_classes({**measured, "words": measure_word_characters(list_characters())}), encoding="ascii")
