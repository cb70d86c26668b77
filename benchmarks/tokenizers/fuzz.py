"""Feed random strings and options to both tokenizers: `python -m benchmarks.tokenizers.fuzz --strings 1000000`.

The fast and the pure-Python tokenizer must return the same columns, the same word and sequence of each token and the
same errors, and every offset must follow from the bytes of the tokens. Strings are drawn from all of Unicode, including
lone surrogates, and from pieces that are known to be difficult; options are drawn for each batch. There are two pairs
of tokenizers: one without and one with added tokens of every kind.
Differences are printed with their input. Exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from typing import Any

from tokenizers import AddedToken

from benchmarks.tokenizers.offsets import ExpectedSpans
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast

BATCH = 20
SHOWN = 20  # differences to print
SLOW = 60  # maximum number of seconds for a long text
ADDED = [
    AddedToken("naïve", single_word=True), AddedToken("[L]", lstrip=True, rstrip=True), AddedToken("ab"),
    AddedToken("[LL]", rstrip=True, normalized=False), AddedToken("abc", single_word=True, normalized=False),
    AddedToken("\n\n"), AddedToken("<a>", special=True, normalized=False),
]  # fmt: skip
PIECES = [
    *("hello", " world", "\n", "\n\n", "\t", " ", "  ", "é", "日本", "🤗", "👍🏽", "🇩🇪", "<mask>", " <mask>", "<s>"),
    *("<unk>", "<pad>", "'S", "'s", "'ll", "n't", "'", "123", "٣", "²", "½", "...", "\xa0", "\u200b", "\u200d"),
    *("\u0301", "e\u0301", "ﬁ", "\r\n", "\r", "\0", "\x1c", "\x1c<mask>", "\x1f", "\x85", "\ufeff", "\ufffd", "न"),
    *("</s>", "_", "naïve", "[L]", "[LL]", "ab", "abc", "<a>", "<", "mask>", "ก", "\U00010d40", "ꟋƩ", "ᲊ", "‿", "Ġ"),
    *("Ċ", "ß", "ǅ", "\u2003", "\u3000", "👩\u200d👩\u200d👧\u200d👦"),
]  # fmt: skip
BLOCKS = [
    (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0xE00), (0x2000, 0x2100), (0x3040, 0xA000),
    (0x1F300, 0x1FB00), (0xE0000, 0xE0200),
]  # fmt: skip
# Texts of lengths at which tokenizers have failed.
LONG = {
    "1 MB without a space": "x" * (1 << 20),
    "1 MB of one Chinese character": "日" * (1 << 18),
    "25,651 spaces": " " * 25_651,
    "25,651 line ends": "\n" * 25_651,
    "100,000 masks": "<mask>" * 100_000,
    "spaces before masks": (" " * 50 + "<mask>") * 2_000,
    "1 MB of ab": "ab" * (1 << 19),
    "100,000 zero-width joiners": "\u200d" * 100_000,
    "100,000 combining marks": "e" + "\u0301" * 100_000,
    "100,000 NULs": "\0" * 100_000,
    "emoji in one sequence": "👩\u200d" * 20_000,
}


def draw_text(chance: random.Random) -> str:
    """Draw a string of random pieces, usually fewer than 15 and at most 40."""
    parts = []
    for _ in range(min(int(chance.expovariate(0.2)), 40)):
        kind = chance.random()
        if kind < 0.45:
            parts.append(chance.choice(PIECES))
        elif kind < 0.75:
            parts.append(chr(chance.randrange(*chance.choice(BLOCKS))))
        elif kind < 0.995:
            code = chance.randrange(0x110000 - 0x800)
            parts.append(chr(code if code < 0xD800 else code + 0x800))
        else:
            parts.append(chr(chance.randrange(0xD800, 0xE000)))
    return "".join(parts)


def draw_options(chance: random.Random) -> dict[str, Any]:
    """Draw the arguments of a call."""
    options: dict[str, Any] = {"return_offsets_mapping": True}
    for name, values in {
        "add_prefix_space": (True, False), "split_special_tokens": (True,), "add_special_tokens": (False,),
        "return_special_tokens_mask": (True,), "return_token_type_ids": (True,), "return_length": (True,),
        "return_overflowing_tokens": (True,), "truncation": (True, "only_first", "only_second"),
        "max_length": (3, 5, 8, 13, 30), "stride": (1, 2), "padding": (True, "max_length"),
        "padding_side": ("left", "right"), "pad_to_multiple_of": (4,), "is_split_into_words": (True,),
    }.items():  # fmt: skip
        if chance.random() < 0.2:
            options[name] = chance.choice(values)
    return options


def encode(tokenizer: Any, first: Any, second: Any, options: dict[str, Any]) -> Any:
    """Return everything that a call returns, or the message of its error."""
    try:
        encoding = tokenizer(first, second, **options)
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    rows = range(len(encoding["input_ids"]))
    return dict(encoding), [(encoding.tokens(row), encoding.word_ids(row), encoding.sequence_ids(row)) for row in rows]


class Fuzz:
    """A fuzzing run: the pairs of tokenizers, the counts and the differences found."""

    def __init__(self, vocabulary: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        plain, added = (
            tuple(kind.from_pretrained(vocabulary) for kind in (RobertaTokenizerFast, RobertaTokenizer)) for _ in "12"
        )
        for tokenizer in added:
            tokenizer.add_tokens(ADDED)
        self.pairs = [(pair, ExpectedSpans(pair[0])) for pair in (plain, added)]

    def run_batch(self) -> None:
        """Compare the tokenizers on a batch of strings with random options; if the batch is refused, on each string."""
        chance = self.chance
        pair, expected = chance.choice(self.pairs)
        side, trim, errors = (
            chance.choice(("left", "right")),
            chance.random() < 0.5,
            chance.choice(("replace", "ignore")),
        )
        for one in pair:
            one.truncation_side, one.trim_offsets, one.errors = side, trim, errors
        options = draw_options(chance)
        words = options.get("is_split_into_words", False)
        texts = [[draw_text(chance) for _ in range(2)] if words else draw_text(chance) for _ in range(BATCH)]
        pairs = [chance.choice(texts) for _ in texts] if chance.random() < 0.25 else None
        refused = self.compare(pair, texts, pairs, options)
        self.counts["strings"] += BATCH * (2 if words else 1)
        if refused:
            for at, text in enumerate(texts):
                self.compare(pair, [text], pairs and [pairs[at]], options)
        elif not words and pairs is None and not options.keys() & {"truncation", "max_length", "split_special_tokens"}:
            self.check_offsets(pair[0], expected, texts, spaced=options.get("add_prefix_space", False), trim=trim)

    def compare(self, pair: Any, texts: list[Any], pairs: list[Any] | None, options: dict[str, Any]) -> bool:
        """Compare the results of a pair of tokenizers; return whether they are errors."""
        fast, python = (encode(one, texts, pairs, options) for one in pair)
        refused = isinstance(fast, str)
        self.counts["refused calls" if refused else "answered calls"] += 1
        if fast != python:
            self.report(f"{texts!a} {pairs!a} {options}: {fast!a:.300} against {python!a:.300}")
        elif not refused:
            for ids in fast[0]["input_ids"]:
                if pair[0].decode(ids) != pair[1].decode(ids):
                    self.report(f"{ids} decode differently")
        return refused

    def check_offsets(
        self, tokenizer: Any, expected: ExpectedSpans, texts: list[str], *, spaced: bool, trim: bool
    ) -> None:
        """Compare the offsets with those computed from the bytes of the tokens."""
        encoding = tokenizer(texts, add_special_tokens=False, add_prefix_space=spaced, return_offsets_mapping=True)
        for text, ids, spans in zip(texts, encoding["input_ids"], encoding["offset_mapping"], strict=True):
            if "[L" in text:  # the whitespace that such a token absorbs may contain the next token and belong to both
                continue
            self.counts["strings with offsets checked"] += 1
            self.counts["offsets checked"] += len(ids)
            try:
                right = expected.compute(text, ids, spaced=spaced, trim=trim) == spans
            except ValueError:
                right = False
            if not right:
                self.report(f"{text!a} spaced={spaced} trim={trim}: offsets {spans}")

    def run_long(self) -> None:
        """Compare both pairs of tokenizers on the long texts, as texts and as words."""
        for name, text in LONG.items():
            for pair, _ in self.pairs:
                begin = time.perf_counter()
                self.compare(pair, [text], None, {"return_offsets_mapping": True})
                self.compare(pair, [[text]], None, {"is_split_into_words": True})
                self.compare(pair, [text], None, {"truncation": True, "max_length": 512, "padding": True})
                seconds = time.perf_counter() - begin
                if seconds > SLOW:
                    self.report(f"{name}: {seconds:.0f} seconds")
            self.counts["long texts"] += 1

    def report(self, difference: str) -> None:
        """Record a difference and print it."""
        self.findings.append(difference)
        if len(self.findings) <= SHOWN:
            print(f"difference: {difference:.2000}", flush=True)


def main() -> int:
    """Run until the requested number of strings is compared; return 1 if a difference was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strings", type=int, default=10_000, help="minimum number of strings (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random generator (%(default)s)")
    parser.add_argument("--long", action=argparse.BooleanOptionalAction, default=True, help="compare long texts too")
    parser.add_argument("--vocabulary", default="roberta-tiny", help="folder or embedded model (%(default)s)")
    options = parser.parse_args()
    run = Fuzz(options.vocabulary, options.seed)
    if options.long:
        run.run_long()
    while run.counts["strings"] < options.strings:
        run.run_batch()
    print(", ".join(f"{count:,} {name}" for name, count in run.counts.items()))
    print(f"{len(run.findings)} differences")
    return int(bool(run.findings))


if __name__ == "__main__":
    sys.exit(main())
